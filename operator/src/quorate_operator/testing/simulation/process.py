"""One operator's process, again and again: the real lease, workers, passes and plans.

What `__main__` puts together around kopf and HTTP is put together here around `api.py`,
`watching.py` and `hearing.py`. It dies in the middle of anything, or because the kubelet's probe
finds it deaf, and is started again after a while. `waking.py` tells what wakes it.

Read next: `laws.py`, which watches it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import traceback
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from quorate_operator.admin import Admin
from quorate_operator.budget import Budget
from quorate_operator.facts import DefaultImage, Pod, View
from quorate_operator.health import Pulse
from quorate_operator.kube import KubeError
from quorate_operator.lease import Lease, LeaseLost
from quorate_operator.names import Key
from quorate_operator.news import News
from quorate_operator.reconcile import Reconciler, Result
from quorate_operator.resync import Resync
from quorate_operator.testing.simulation import loop
from quorate_operator.testing.simulation.api import Api, Life
from quorate_operator.testing.simulation.cluster import NAMESPACE, Cluster
from quorate_operator.testing.simulation.waking import Patience, Wakers
from quorate_operator.testing.simulation.watching import Watches
from quorate_operator.workers import Limits, Sources, Workers

PROBE_S: Final = 10.0
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
                    self.watches = None
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
        clock = loop.VirtualClock()
        sources, admin = self._brokers.connect(self.life)
        budget, pulse, listed = Budget(), Pulse(clock), asyncio.Event()
        image = DefaultImage("quorate-broker", "0.1.0")
        reconciler = Reconciler(self.api, admin, image, clock, budget)
        async with asyncio.TaskGroup() as group:
            told = _Told(self, reconciler)
            workers = Workers(group, told, sources, clock, LIMITS)
            wakers = Wakers(workers, self._watcher.saw)
            resync = Resync(self.api, (), wakers, pulse, budget)
            group.create_task(resync.run(listed))
            group.create_task(self._probe(pulse))
            await listed.wait()
            watches = Watches(self._cluster, self.api, News(pulse, wakers.tell))
            with contextlib.closing(watches) as self.watches:
                await watches.run()

    async def _probe(self, pulse: Pulse) -> None:
        """The kubelet asks whether it is alive (`/livez`)."""
        while not pulse.trouble:
            await asyncio.sleep(PROBE_S)
            pulse.beat()
        self._watcher.saw("an operator was found deaf")
        self._watcher.note(f"{self.name}: {pulse.trouble}")
        self.kill()

    # What `_Told` hands on.

    def began(self, views: Mapping[str, View], due: str) -> None:
        if due:
            self._watcher.saw(due)
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
        self._patience = Patience(LIMITS)

    async def pods(self, key: Key) -> tuple[Pod, ...]:
        return await self._reconciler.pods(key)

    async def reconcile(self, key: Key, views: Mapping[str, View]) -> Result:
        self._operator.began(views, self._patience.ended(key))
        try:
            result = await self._reconciler.reconcile(key, views)
        except KubeError:
            self._operator.failed("")
            raise
        except Exception:
            self._operator.failed(traceback.format_exc())
            raise
        self._operator.ended(result)
        self._patience.begins(key, result)
        return result
