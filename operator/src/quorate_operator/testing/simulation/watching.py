"""What kopf does: a watch of each kind hands on what it is told, in the order of its happening.

It begins with a list and goes on from there. When its connection falls silent it is made anew from
where it was, and what happened meanwhile comes late. When that is gone by then (410), a list takes
its place: what is there is shown once more, and nobody tells of what has been deleted. And a watch
may end without anybody's noticing: then it says nothing any more for as long as its process lives.

Read next: `quorate_operator.news`, to which it is handed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from quorate_operator import model
from quorate_operator.kube import KubeError
from quorate_operator.names import CLUSTER_LABEL
from quorate_operator.news import WATCHED, News
from quorate_operator.testing.objects import Json, ObjectKey
from quorate_operator.testing.simulation import loop
from quorate_operator.testing.simulation.api import Api, slim
from quorate_operator.testing.simulation.cluster import Cluster, now_s

RETRY_S: Final = 1.0
MOST_LAG_S: Final = 0.2
PLURALS: Final = (model.PLURAL, *(plural for _, plural in WATCHED))
Event = tuple[str | None, Json]


class Watch:
    """Of one kind."""

    def __init__(self, plural: str, cluster: Cluster, api: Api, news: News) -> None:
        self._plural = plural
        self._cluster = cluster
        self._api = api
        self._news = news
        self._coming: list[Event] = []
        """What happened, and was not handed on yet."""
        self._something = asyncio.Event()
        self._silent_until_s = 0.0
        self._is_gone = False
        self.is_dead = False

    def fall_silent(self, for_s: float) -> None:
        self._silent_until_s = now_s() + for_s

    def gone(self) -> None:
        """410, as soon as it is connected again."""
        self._is_gone = True
        self._something.set()

    def happened(self, what: str, found: Json) -> None:
        self._coming.append((what, slim(found["metadata"])))
        self._something.set()

    async def run(self) -> None:
        while True:
            try:
                shown = await self._list()
            except KubeError:
                await asyncio.sleep(RETRY_S)
                continue
            self._hand_on([(None, one) for one in shown])
            await self._go_on()

    async def _list(self) -> list[Json]:
        await self._api.on_the_way()
        self._coming.clear()  # what happens from now on is not in the list
        self._is_gone = False
        selector = "" if self._plural == model.PLURAL else CLUSTER_LABEL
        found = self._cluster.store.some(self._plural, "", selector)
        shown = [slim(one["metadata"]) for one in found]
        await self._api.on_the_way_back()
        return shown

    async def _go_on(self) -> None:
        """Until a list has to be made again."""
        while not self._is_gone:
            await self._something.wait()
            await asyncio.sleep(self._cluster.random.uniform(0.005, MOST_LAG_S))
            while self._cluster.down or self._silent_until_s > now_s():
                await loop.pass_time(max(RETRY_S, self._silent_until_s - now_s()))
            self._something.clear()
            if not self._is_gone:
                coming, self._coming = self._coming, []
                self._hand_on(coming)

    def _hand_on(self, events: Sequence[Event]) -> None:
        for what, metadata in () if self.is_dead else events:
            self._news.deliver(self._plural, what, metadata)


class Watches:
    """Of all kinds, while one process lives."""

    def __init__(self, cluster: Cluster, api: Api, news: News) -> None:
        self._cluster = cluster
        self.by_plural = {plural: Watch(plural, cluster, api, news) for plural in PLURALS}
        cluster.store.watchers.append(self._happened)

    def close(self) -> None:
        self._cluster.store.watchers.remove(self._happened)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for watch in self.by_plural.values():
                group.create_task(watch.run())

    def some(self, dice: random.Random) -> list[Watch]:
        """One of them, or (they share what connects them) all."""
        every = list(self.by_plural.values())
        return every if dice.random() < 0.5 else [dice.choice(every)]

    def _happened(self, what: str, key: ObjectKey, found: Json) -> None:
        watch = self.by_plural.get(key[0])
        is_ours = key[0] == model.PLURAL or CLUSTER_LABEL in (found["metadata"].get("labels") or {})
        if watch is not None and is_ours:
            watch.happened(what, found)
