"""One operator's process, again and again: the real lease, workers, passes and plans.

What `__main__` puts together around kopf and HTTP is put together here around `api.py` and
`hearing.py`. It dies in the middle of anything, and is started again after a while.

Read next: `laws.py`, which watches it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import traceback
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from quorate_operator import handlers, model
from quorate_operator.admin import Admin
from quorate_operator.budget import Budget
from quorate_operator.facts import DefaultImage, Pod, View
from quorate_operator.kube import KubeError
from quorate_operator.lease import Lease, LeaseLost
from quorate_operator.names import Key
from quorate_operator.reconcile import Reconciler, Result
from quorate_operator.testing.simulation import loop
from quorate_operator.testing.simulation.api import Api, Life, Watches
from quorate_operator.testing.simulation.cluster import NAMESPACE, Cluster
from quorate_operator.workers import Limits, Sources, Workers

RESYNC_S: Final = 60.0
WATCHED: Final = frozenset({plural for _, plural in handlers.WATCHED} | {model.PLURAL})
LIMITS: Final = dataclasses.replace(Limits(), jitter=0.0)
"""The world is irregular enough, and dice of the product's own would not be this run's."""


class Brokers(Protocol):
    """How an operator reaches brokers: it makes itself a pair of these whenever it is started."""

    def connect(self, life: Life) -> tuple[Sources, Admin]: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told what an operator does."""

    saw: Callable[[str], None]
    note: Callable[[str], None]
    began: Callable[[Operator, Mapping[str, View]], None]
    """A pass begins, with these views."""
    written: Callable[[Operator, str], None]
    """A write is about to take effect."""
    broken: Callable[[str], None]
    """A pass failed of a bug."""


class Operator:
    """`name` is its identity in the lease."""

    def __init__(
        self, name: str, cluster: Cluster, brokers: Brokers, life: Life, watcher: Watcher
    ) -> None:
        self.name = name
        self.life = life
        self.api = Api(cluster, life, watcher.saw)
        self.watches: Watches | None = None
        self.heard_term = 0
        """The highest term that it was told when its last pass began."""
        self.is_on = True
        """Started again when it ends."""
        self._cluster = cluster
        self._brokers = brokers
        self._watcher = watcher
        self._task: asyncio.Task[None] | None = None
        life.kill = self.kill
        self.api.written = lambda text: watcher.written(self, text)

    def kill(self) -> None:
        if self._task is not None:
            self._watcher.saw("an operator was killed")
            self._task.cancel()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                if self.is_on:
                    self._task = group.create_task(self._process())
                    await asyncio.wait([self._task])
                    self._watcher.note(f"{self.name} ended")
                await asyncio.sleep(self.life.random.uniform(0.5, 10))

    async def _process(self) -> None:
        lease = Lease(self.api, (NAMESPACE, "quorate-operator"), self.name, loop.VirtualClock())
        self.api.may_write = lease.may_write
        await lease.acquire()
        self._watcher.note(f"{self.name} is active")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(lease.keep())
                group.create_task(self._active())
        except* LeaseLost:
            self._watcher.saw("a lease was lost")

    async def _active(self) -> None:
        sources, admin = self._brokers.connect(self.life)
        image = DefaultImage("quorate-broker", "0.1.0")
        budget = Budget()
        budget.begin_with(self._cluster.objects(model.PLURAL))
        reconciler = Reconciler(self.api, admin, image, loop.VirtualClock(), budget)
        async with asyncio.TaskGroup() as group:
            workers = Workers(group, _Told(self, reconciler), sources, loop.VirtualClock(), LIMITS)

            def wake(name: str) -> None:
                workers.wake(Key(NAMESPACE, name))

            with contextlib.closing(Watches(self._cluster, WATCHED, wake)) as self.watches:
                while True:
                    for one in self._cluster.objects(model.PLURAL):
                        wake(one["metadata"]["name"])
                    await asyncio.sleep(RESYNC_S)

    # What `_Told` hands on.

    def began(self, views: Mapping[str, View]) -> None:
        self._watcher.began(self, views)

    def failed(self, bug: str) -> None:
        self._watcher.saw("a pass failed")
        if bug:
            self._watcher.broken(f"a pass failed: {bug}")

    def ended(self, result: Result) -> None:
        for reason in sorted(result.blocked):
            self._watcher.saw(f"blocked: {reason}")
        self._watcher.saw(f"a pass: {result.outcome}")


class _Told:
    """The passes of an operator, and word of each."""

    def __init__(self, operator: Operator, reconciler: Reconciler) -> None:
        self._operator = operator
        self._reconciler = reconciler

    async def pods(self, key: Key) -> tuple[Pod, ...]:
        return await self._reconciler.pods(key)

    async def reconcile(self, key: Key, views: Mapping[str, View]) -> Result:
        self._operator.began(views)
        try:
            result = await self._reconciler.reconcile(key, views)
        except KubeError:
            self._operator.failed("")
            raise
        except Exception:
            self._operator.failed(traceback.format_exc())
            raise
        self._operator.ended(result)
        return result
