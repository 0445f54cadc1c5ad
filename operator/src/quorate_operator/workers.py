"""Who works on which cluster when: one worker per cluster, one pass at a time.

    event, push of a broker, resync  ->  wake(key)  ->  pass  ->  follow the brokers  ->  wait

Waking a worker that is already awake costs nothing: a pass looks at everything anyway. Errors make
it look again with growing pauses; without news it looks again after a while, so that a lost event
never matters. Passes of all clusters share a semaphore.

Read next: `reconcile.py` for a pass, `brokers.py` for the pushes, `handlers.py` for the events.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import random
import types
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from quorate_operator.facts import Pod, View
from quorate_operator.kube import KubeError
from quorate_operator.metrics import BLOCKED, CLUSTERS, RECONCILE_SECONDS, RECONCILES
from quorate_operator.names import Key, Names
from quorate_operator.plan.blocked import Reason
from quorate_operator.reconcile import Result
from quorate_operator.seams import Clock

LOGGER: Final = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """Pauses in seconds, and how much goes on at once."""

    passes: int = 16
    resync_s: float = 1800.0
    """Nothing is under way and nothing waits: `resync.py` finds what an event did not tell, but for
    what nobody watches (monitors, kept specs)."""
    busy_s: float = 30.0
    soon_s: float = 2.0
    jitter: float = 0.2
    first_retry_s: float = 1.0
    last_retry_s: float = 300.0
    deaf_s: float = 5.0
    listen_s: float = 2.5
    settle_s: float = 0.05
    """News comes in bursts (a pod and its StatefulSet): one pass answers them all."""


class Passes(Protocol):
    """What a worker calls; the reconciler, or a stand-in."""

    async def pods(self, key: Key) -> tuple[Pod, ...]: ...

    async def reconcile(self, key: Key, views: Mapping[str, View]) -> Result: ...


class Book(Protocol):
    """Who is where."""

    def know(self, host: str, address: str) -> None: ...

    def forget(self, host: str) -> None: ...


class Sources(Protocol):
    """Where the brokers' news come from: `brokers.Brokers`, or a model of it."""

    @property
    def addresses(self) -> Book: ...

    async def follow(self, host: str, tell: Callable[[View | None], None]) -> None: ...

    def doubt(self, host: str) -> None: ...


class Workers:
    """Workers by cluster. They live in the given group and end with their cluster."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        passes: Passes,
        brokers: Sources,
        clock: Clock,
        limits: Limits | None = None,
    ) -> None:
        self._group = group
        self._passes = passes
        self._brokers = brokers
        self._clock = clock
        self.limits = limits or Limits()
        self._semaphore = asyncio.Semaphore(self.limits.passes)
        self._wakers: dict[Key, asyncio.Event] = {}
        self._workers: dict[Key, asyncio.Task[None]] = {}
        self._held: dict[Key, frozenset[str]] = {}

    @property
    def count(self) -> int:
        """Clusters that have a worker."""
        return len(self._workers)

    def look_after(self, key: Key) -> bool:
        """From now on; False: it is already."""
        is_new = key not in self._wakers
        if is_new:
            self.wake(key)
        return is_new

    def wake(self, key: Key) -> None:
        waker = self._wakers.get(key)
        if waker is None:
            waker = self._wakers[key] = asyncio.Event()
            CLUSTERS.set(len(self._wakers))
            self._workers[key] = self._group.create_task(self._work(key, waker))
        waker.set()

    def stop(self) -> None:
        """Ends all workers; a pass that is under way is cut short, the next start looks again."""
        for worker in self._workers.values():
            worker.cancel()

    async def _work(self, key: Key, waker: asyncio.Event) -> None:
        try:
            async with _Followers(key, self._brokers, waker.set) as followers:
                await self._until_gone(key, waker, followers)
        finally:
            del self._wakers[key], self._workers[key]
            self._held.pop(key, None)
            self._tell_held()
            CLUSTERS.set(len(self._wakers))
        if waker.is_set():  # made anew while its worker was on the way out
            self.wake(key)

    def _tell_held(self) -> None:
        for reason in Reason:
            count = sum(reason.value in held for held in self._held.values())
            BLOCKED.labels(reason.value).set(count)

    async def _until_gone(self, key: Key, waker: asyncio.Event, followers: _Followers) -> None:
        failures = 0
        await self._listen_first(key, followers)
        while True:
            waker.clear()
            result = await self._pass(key, followers.views)
            if not result.exists and not waker.is_set():
                LOGGER.debug("%s: gone", key)
                return
            if result.outcome != "failed" or result.pods:
                followers.follow(result.pods)
            failures = failures + 1 if result.failed else 0
            self._held[key] = result.blocked
            self._tell_held()
            await self._wait(waker, failures, result)

    async def _listen_first(self, key: Key, followers: _Followers) -> None:
        """A broker that was not asked yet is not silent: after a start of the operator the first
        pass must not tell of a cluster without a leader."""
        try:
            followers.follow(await self._passes.pods(key))
        except KubeError as error:
            LOGGER.warning("%s: %s", key, error.message)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.limits.listen_s):
                await followers.all_heard.wait()

    async def _pass(self, key: Key, views: Mapping[str, View]) -> Result:
        async with self._semaphore:
            started = self._clock.monotonic()
            try:
                result = await self._passes.reconcile(key, views)
            except* KubeError as errors:
                LOGGER.warning("%s: %s", key, errors.exceptions[0])
                result = Result(exists=True, failed=True, outcome="failed")
            except* Exception:
                LOGGER.exception("%s: a pass failed", key)
                result = Result(exists=True, failed=True, outcome="failed")
            RECONCILE_SECONDS.observe(self._clock.monotonic() - started)
            RECONCILES.labels(result.outcome).inc()
            return result

    async def _wait(self, waker: asyncio.Event, failures: int, result: Result) -> None:
        """Until woken or due."""
        limits = self.limits
        if failures:
            pause = min(limits.first_retry_s * 2.0 ** (failures - 1), limits.last_retry_s)
            # News may be the failure's own echo: for a while it is not listened to.
            await asyncio.sleep(min(pause, limits.deaf_s))
        else:
            pause = limits.busy_s if result.busy else limits.resync_s
            pause = limits.soon_s if result.soon else pause
            await asyncio.sleep(limits.settle_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause * self._jitter()):
                await waker.wait()

    def _jitter(self) -> float:
        return 1 + random.uniform(-self.limits.jitter, self.limits.jitter)


class _Followers:
    """Follows the brokers of one cluster and holds their latest views, by uid of the pod."""

    def __init__(self, key: Key, brokers: Sources, wake: Callable[[], None]) -> None:
        self._names = Names(key)
        self._brokers = brokers
        self._wake = wake
        self._group = asyncio.TaskGroup()
        self._followed: dict[str, tuple[Pod, asyncio.Task[None]]] = {}
        self._unheard: set[str] = set()
        self._told: dict[str, View] = {}
        self._newest: dict[str, int] = {}
        """By id of a cluster: the highest term in which anybody was said to lead."""
        self.all_heard = asyncio.Event()
        """Every broker that is followed has answered, or has failed to, at least once."""

    @property
    def views(self) -> dict[str, View]:
        """What they say now. A leader of an older term than one heard of is nobody's, also when
        whoever told of the newer one is gone and it was never reported."""
        return {uid: self._believed(view) for uid, view in self._told.items()}

    def _believed(self, view: View) -> View:
        if view.leader is None or view.leader.term >= self._newest.get(view.cluster_id, 0):
            return view
        return dataclasses.replace(view, leader=None)

    async def __aenter__(self) -> _Followers:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.follow(())
        await self._group.__aexit__(kind, error, trace)

    def follow(self, pods: tuple[Pod, ...]) -> None:
        """From now on these. A pod that came back has another uid, and is another one."""
        wanted = {pod.uid: pod for pod in pods if pod.role == "broker" and pod.ip}
        for uid, (pod, _) in list(self._followed.items()):
            if uid not in wanted or wanted[uid].ip != pod.ip:
                self._leave(uid)
        for uid, pod in wanted.items():
            if uid not in self._followed:
                self._join(pod)
            before, task = self._followed[uid]
            if before.ready and not pod.ready:
                self._brokers.doubt(self._names.pod_host(pod.name))
            self._followed[uid] = (pod, task)
        self._note_heard()

    def _join(self, pod: Pod) -> None:
        host = self._names.pod_host(pod.name)
        self._brokers.addresses.know(host, pod.ip)
        self._unheard.add(pod.uid)
        task = self._group.create_task(
            self._brokers.follow(host, functools.partial(self._tell, pod.uid))
        )
        self._followed[pod.uid] = (pod, task)

    def _leave(self, uid: str) -> None:
        pod, task = self._followed.pop(uid)
        task.cancel()
        self._brokers.addresses.forget(self._names.pod_host(pod.name))
        self._unheard.discard(uid)
        if self._told.pop(uid, None) is not None:
            self._wake()

    def _tell(self, uid: str, view: View | None) -> None:
        self._unheard.discard(uid)
        self._note_heard()
        if view is None:
            if self._told.pop(uid, None) is not None:
                self._doubt_others(uid)
        else:
            self._told[uid] = view
            if view.leader is not None:
                newest = self._newest.get(view.cluster_id, 0)
                self._newest[view.cluster_id] = max(newest, view.leader.term)
        self._wake()

    def _doubt_others(self, silent: str) -> None:
        """Whatever silenced one broker may have silenced more."""
        for uid, (pod, _) in self._followed.items():
            if uid != silent:
                self._brokers.doubt(self._names.pod_host(pod.name))

    def _note_heard(self) -> None:
        if self._unheard:
            self.all_heard.clear()
        else:
            self.all_heard.set()
