"""Finds what no event told of: none has to arrive for things to become right.

    list of all that is watched, every two minutes --version that no watch delivered--> wake
                                                   --cluster that nobody looks after--> look after

So nobody has to look at a whole cluster in which nothing happens: a dozen lists for all clusters
together, of metadata only, take the place of a dozen for each of them. What they show is noted, so
that a watch that stays silent is noticed (`health.py`), and so that what kopf lists when it begins
wakes nobody once more.

Read next: `workers.py`; `news.py`, for the events.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from quorate_operator import kube, model, news
from quorate_operator.budget import Budget
from quorate_operator.facts import Json
from quorate_operator.health import Pulse
from quorate_operator.kube import KubeError
from quorate_operator.names import CLUSTER_LABEL, Key

LOGGER: Final = logging.getLogger(__name__)
RESYNC_S: Final = 120.0
RETRY_S: Final = 2.0
PACE_S: Final = 0.05
"""Between two clusters that are looked at for the first time: an operator that begins asks no burst
of questions, and hears the brokers' answers in time."""
SPREAD_S: Final = 12.0
"""All of them within this, however many they are."""
KINDS: Final = {plural: kind for kind, (_, plural) in kube.KINDS.items()}
NO_DEFINITION: Final = (
    f"the definition {model.PLURAL}.{model.GROUP} is not installed: install the chart quorate-crds"
)


class Lister(Protocol):
    """What is asked of `kube.Kube`."""

    async def all(self, kind: str, namespace: str | None, selector: str = "") -> list[Json]: ...

    async def metadata(self, kind: str, namespace: str | None, selector: str) -> list[Json]: ...


class Looking(Protocol):
    """What is asked of `workers.Workers`."""

    def wake(self, key: Key) -> None: ...

    def look_after(self, key: Key) -> bool: ...


class Resync:
    """Lists, and compares with what was heard."""

    def __init__(
        self,
        talker: Lister,
        namespaces: tuple[str, ...],
        workers: Looking,
        pulse: Pulse,
        budget: Budget,
    ) -> None:
        self._kube = talker
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._workers = workers
        self._pulse = pulse
        self._budget = budget

    async def run(self, listed: asyncio.Event) -> None:
        """For ever; `listed` is set after the first time."""
        while True:
            first = not listed.is_set()
            try:
                clusters, missed = await self._look(first=first)
            except KubeError as error:
                what = NO_DEFINITION if error.status == 404 else error.message
                LOGGER.warning("cannot list clusters: %s", what)
                await asyncio.sleep(RETRY_S)
                continue
            listed.set()
            for key in () if first else sorted(missed, key=str):
                self._workers.wake(key)
            pause_s = min(PACE_S, SPREAD_S / max(1, len(clusters)))
            for key in clusters:
                if self._workers.look_after(key):
                    await asyncio.sleep(pause_s)
            await asyncio.sleep(RESYNC_S)

    async def _look(self, *, first: bool) -> tuple[list[Key], set[Key]]:
        """The clusters there are, and those of which something was not heard."""
        if first:
            for namespace in self._namespaces:
                self._budget.begin_with(await self._kube.all(model.KIND, namespace))
        clusters = await self._list(model.PLURAL)
        self._pulse.succeeded()
        missed = self._missed(model.PLURAL, clusters)
        for _, plural in news.WATCHED:
            try:
                missed |= self._missed(plural, await self._list(plural))
            except KubeError as error:
                LOGGER.warning("cannot list %s: %s", plural, error.message)
        return [news.thing(model.PLURAL, one).key for one in clusters], missed

    async def _list(self, plural: str) -> list[Json]:
        selector = "" if plural == model.PLURAL else CLUSTER_LABEL
        found: list[Json] = []
        for namespace in self._namespaces:
            self._pulse.tried()
            found += await self._kube.metadata(KINDS[plural], namespace, selector)
        return found

    def _missed(self, plural: str, found: list[Json]) -> set[Key]:
        versions = {news.thing(plural, one): str(one.get("resourceVersion", "")) for one in found}
        return {thing.key for thing in self._pulse.listed(plural, versions)}
