"""The API as one operator reaches it: `kube.Talker` over `cluster.py`, with all that can fail.

Each call takes its time, may be refused (429, 500, 503), may be lost on the way there or on the way
back (then its effect is there, and the operator does not know), and may be the last one before that
operator dies. `Life` is that part, shared with the calls to brokers (`hearing.py`).

Lists of what it decides by are as consistent as it asks for them: it asks for no stale ones. Those
of metadata only tell it where to look, and may be old.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final

from quorate_operator.facts import Survey
from quorate_operator.kube import KINDS, KubeError, Only
from quorate_operator.testing.objects import Json, ObjectKey, copied
from quorate_operator.testing.simulation.cluster import Cluster, now_s
from quorate_operator.testing.simulation.options import Trouble

REFUSALS: Final = (429, 500, 503)


class Life:
    """An operator's process as its calls meet it: it may stand still, or end, in each of them."""

    def __init__(self, trouble: Trouble, source: random.Random) -> None:
        self.trouble = trouble
        self.random = source
        self.paused_until_s = 0.0
        """The process is stopped until then; what it was about to send, it sends afterwards."""
        self.late = (0, 0.0)
        """Before which effect it stands still, and for how long: it is sent afterwards."""
        self.kill: Callable[[], None] = lambda: None
        self.asked: Survey | None = None
        """What the leader last answered."""
        self.asked_s = 0.0
        """When that was."""
        self.effects = 0
        """Calls that changed something: writes, and orders to brokers."""
        self.dies_after = 0
        """Die after that many of them, before the answer is heard; 0: do not."""

    async def pass_time(self) -> None:
        slow = self.happens(self.trouble.slow)
        await asyncio.sleep(self.random.uniform(0.001, 8.0 if slow else 0.02))
        if self.paused_until_s > now_s():
            await asyncio.sleep(self.paused_until_s - now_s())
        if self.happens(self.trouble.killed):
            await self._die()

    def stop_in_the_act(self) -> None:
        """It has decided, and sends it late."""
        number, seconds = self.late
        if number == self.effects + 1:
            self.paused_until_s = now_s() + seconds
            self.late = (0, 0.0)

    def answered(self, found: Survey) -> None:
        self.asked, self.asked_s = found, now_s()

    async def effect(self) -> None:
        """Something was changed just now."""
        self.effects += 1
        if self.effects == self.dies_after:
            await self._die()

    async def _die(self) -> None:
        self.kill()
        await asyncio.sleep(0)  # this is where it dies

    def happens(self, chance: float) -> bool:
        return chance > 0 and self.random.random() < chance


class Api:
    """What one operator sees."""

    def __init__(self, cluster: Cluster, life: Life, saw: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._life = life
        self._saw = saw
        self.may_write: Callable[[], bool] = lambda: True
        self.looked_s = 0.0
        """When it last asked for the pods: what it acts on is no older."""
        self._listed: dict[str, list[Json]] = {}
        """What lists of metadata showed last."""
        self.writes: list[str] = []
        self.written: Callable[[str], None] = lambda text: None
        """Called with each write before it takes effect."""

    async def get(self, kind: str, namespace: str, name: str) -> Json | None:
        await self.on_the_way()
        found = self._cluster.store.objects.get((KINDS[kind][1], namespace, name))
        answer = copied(found)
        await self.on_the_way_back()
        return answer

    async def all(self, kind: str, namespace: str | None, selector: str = "") -> list[Json]:
        await self.on_the_way()
        version, plural = KINDS[kind]
        if plural == "pods":
            self.looked_s = now_s()
        found = self._cluster.store.some(plural, namespace or "", selector)
        answer = [{"apiVersion": version, "kind": kind, **one} for one in copied(found)]
        await self.on_the_way_back()
        return answer

    async def metadata(self, kind: str, namespace: str | None, selector: str) -> list[Json]:
        """Page by page, and a page may be gone (410); or all as it was when last asked for."""
        await self.on_the_way((410, *REFUSALS))
        plural = KINDS[kind][1]
        found = self._cluster.store.some(plural, namespace or "", selector)
        answer = [slim(one["metadata"]) for one in found]
        if plural in self._listed and self._life.happens(self._life.trouble.stale):
            self._saw("a list was stale")
            answer = self._listed[plural]
        self._listed[plural] = answer
        await self.on_the_way_back()
        return answer

    async def apply(self, manifest: Json, manager: str, *, force: bool, part: str = "") -> Json:
        key = _key(manifest)
        await self._write(f"apply {key[0]}/{key[2]}{part}")
        if self._cluster.leaving and key not in self._cluster.store.objects:
            self._cluster.create(key[0], manifest)
        answer = copied(self._cluster.store.apply(key, copied(manifest), manager, force=force))
        await self._done()
        return answer

    async def merge(self, kind: str, namespace: str, name: str, body: Json) -> Json:
        plural = KINDS[kind][1]
        await self._write(f"merge {plural}/{name}", silent=kind == "Lease")
        answer = copied(self._cluster.store.merge((plural, namespace, name), copied(body)))
        await self._done(silent=kind == "Lease")
        return answer

    async def delete(self, kind: str, namespace: str, name: str, *, only: Only) -> None:
        plural = KINDS[kind][1]
        await self._write(f"delete {plural}/{name}")
        key = (plural, namespace, name)
        self._cluster.store.expect(key, only.uid, only.version)
        if only.alone:
            self._cluster.let_go(only.uid)
        self._cluster.remove("operator", key, now=only.now)
        await self._done()

    async def create(self, manifest: Json) -> Json:
        key, silent = _key(manifest), manifest["kind"] == "Lease"
        await self._write(f"create {key[0]}/{key[2]}", silent=silent)
        if silent:
            answer = copied(self._cluster.store.create(key[0], copied(manifest)))
        else:
            answer = copied(self._cluster.create(key[0], copied(manifest)))
        await self._done(silent=silent)
        return answer

    async def _write(self, text: str, *, silent: bool = False) -> None:
        """`silent`: the lease, which is written to also while nothing is to be done."""
        if not silent and not self.may_write():
            raise KubeError(0, "this operator is not the active one")
        self._life.stop_in_the_act()
        await self.on_the_way()
        if not silent:
            self.writes.append(text)
            self.written(text)

    async def _done(self, *, silent: bool = False) -> None:
        if not silent:
            await self._life.effect()
        await self.on_the_way_back()

    async def on_the_way(self, refusals: Sequence[int] = REFUSALS) -> None:
        life, trouble = self._life, self._life.trouble
        await life.pass_time()
        if self._cluster.down or life.happens(trouble.lost):
            self._saw("a request was lost")
            await asyncio.sleep(life.random.uniform(0.1, 2))
            raise KubeError(0, "no answer from the Kubernetes API")
        if life.happens(trouble.refused):
            self._saw("a request was refused")
            raise KubeError(life.random.choice(refusals), "not now")

    async def on_the_way_back(self) -> None:
        await self._life.pass_time()
        if self._life.happens(self._life.trouble.lost):
            self._saw("an answer was lost")
            raise KubeError(0, "the answer was lost")


def _key(manifest: Json) -> ObjectKey:
    metadata = manifest["metadata"]
    return KINDS[manifest["kind"]][1], metadata["namespace"], metadata["name"]


def slim(metadata: Json) -> Json:
    """What is asked of it where nothing but versions is."""
    wanted = ("name", "namespace", "labels", "resourceVersion")
    return {name: metadata[name] for name in wanted if name in metadata}
