"""One worker per cluster: woken by news, slowed by failures, gone with its cluster."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from quorate_operator.brokers import Addresses, Brokers, Timing
from quorate_operator.facts import Claim, View
from quorate_operator.kube import KubeError
from quorate_operator.metrics import BLOCKED
from quorate_operator.names import Key
from quorate_operator.plan.blocked import Reason
from quorate_operator.reconcile import Result
from quorate_operator.seams import SystemClock
from quorate_operator.testing.fake_broker import FakeBroker
from quorate_operator.workers import Limits, Workers

KEY = Key("shop", "orders")
PATIENT = Limits(resync_s=60, busy_s=60, first_retry_s=60, deaf_s=60, settle_s=0, listen_s=30)


class Passes:
    """A stand-in for the reconciler: counts passes and answers what it is told to."""

    def __init__(self, pods=()) -> None:
        self.found = tuple(pods)
        self.result: Callable[[], Result] = lambda: Result(exists=True, pods=self.found)
        self.seen: list[dict[str, object]] = []
        self.running = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._progress = asyncio.Condition()

    async def pods(self, _: Key):
        return self.found

    async def reconcile(self, _: Key, views):
        self.running += 1
        self.most = max(self.most, self.running)
        async with self._progress:
            self.seen.append(dict(views))
            self._progress.notify_all()
        await self.gate.wait()
        self.running -= 1
        return self.result()

    async def until(self, count: int) -> None:
        async with self._progress:
            await self._progress.wait_for(lambda: len(self.seen) >= count)


@contextlib.asynccontextmanager
async def working(
    passes: Passes, limits: Limits = PATIENT, port: int = 9644
) -> AsyncIterator[Workers]:
    timing = Timing(hold_ms=1000, slack_s=10, pause_s=0.01)
    async with (
        asyncio.timeout(60),
        Brokers(timing, port=port) as brokers,
        asyncio.TaskGroup() as group,
    ):
        workers = Workers(group, passes, brokers, SystemClock(), limits)
        yield workers
        workers.stop()


def test_news_during_a_pass_means_one_more_pass_and_never_two_at_once():
    async def story():
        passes = Passes()
        async with working(passes) as workers:
            passes.gate.clear()
            workers.wake(KEY)
            await passes.until(1)
            for _ in range(10):
                workers.wake(KEY)
            passes.gate.set()
            await passes.until(2)
            while passes.running:
                await asyncio.sleep(0)
            assert len(passes.seen) == 2
            assert passes.most == 1

    asyncio.run(story())


def test_two_clusters_do_not_wait_for_each_other():
    async def story():
        passes = Passes()
        async with working(passes) as workers:
            passes.gate.clear()
            workers.wake(KEY)
            workers.wake(Key("shop", "other"))
            await passes.until(2)
            assert passes.most == 2
            passes.gate.set()

    asyncio.run(story())


def test_without_news_it_looks_again():
    async def story():
        passes = Passes()
        async with working(passes, Limits(resync_s=0.01, settle_s=0)) as workers:
            workers.wake(KEY)
            await passes.until(3)

    asyncio.run(story())


def test_a_failed_pass_is_tried_again_and_the_next_good_one_ends_that():
    async def story():
        passes = Passes()
        errors = iter([KubeError(0, "no answer"), ValueError("a bug")])

        def result() -> Result:
            for error in errors:
                raise error
            return Result(exists=True)

        passes.result = result
        quick = Limits(first_retry_s=0.01, resync_s=60, settle_s=0, listen_s=30)
        async with working(passes, quick) as workers:
            workers.wake(KEY)
            await passes.until(3)

    asyncio.run(story())


def test_a_worker_ends_with_its_cluster_and_comes_back_with_it():
    async def story():
        passes = Passes()
        passes.result = lambda: Result(exists=False)
        async with working(passes) as workers:
            workers.wake(KEY)
            await passes.until(1)
            while workers.count:
                await asyncio.sleep(0)
            workers.wake(KEY)
            await passes.until(2)

    asyncio.run(story())


def test_the_first_pass_waits_for_the_first_words_of_the_brokers(scene):
    async def story():
        async with FakeBroker("127.0.0.1").serve() as broker:
            passes = Passes([scene.pod("broker-0", ip=broker.address, uid="u0")])
            async with working(passes, port=broker.port) as workers:
                workers.wake(KEY)
                await passes.until(1)
                assert list(passes.seen[0]) == ["u0"]

    asyncio.run(story())


def test_a_change_of_leader_wakes_the_worker(scene):
    async def story():
        async with FakeBroker("127.0.0.1").serve() as broker:
            passes = Passes([scene.pod("broker-0", ip=broker.address, uid="u0")])
            async with working(passes, port=broker.port) as workers:
                workers.wake(KEY)
                await passes.until(1)
                await broker.tell(leader={"node_id": 3, "term": 8})
                while passes.seen[-1].get("u0") is None or passes.seen[-1]["u0"].leader is None:
                    await passes.until(len(passes.seen) + 1)
                assert passes.seen[-1]["u0"].leader == Claim(3, 8)

    asyncio.run(story())


def test_a_broker_that_falls_silent_is_seen_as_silent(scene):
    async def story():
        async with FakeBroker("127.0.0.1").serve() as broker:
            passes = Passes([scene.pod("broker-0", ip=broker.address, uid="u0")])
            async with working(passes, port=broker.port) as workers:
                workers.wake(KEY)
                await passes.until(1)
                broker.status = 500
                while passes.seen[-1]:
                    await passes.until(len(passes.seen) + 1)

    asyncio.run(story())


def test_a_pod_that_came_back_is_another_one(scene):
    async def story():
        async with FakeBroker("127.0.0.1").serve() as broker:
            passes = Passes([scene.pod("broker-0", ip=broker.address, uid="old")])
            async with working(passes, port=broker.port) as workers:
                workers.wake(KEY)
                await passes.until(1)
                passes.found = (scene.pod("broker-0", ip=broker.address, uid="new"),)
                workers.wake(KEY)
                while list(passes.seen[-1]) != ["new"]:
                    await passes.until(len(passes.seen) + 1)

    asyncio.run(story())


def test_what_holds_a_cluster_back_is_counted_until_it_does_not():
    def held(reason: Reason) -> float:
        return BLOCKED.labels(reason.value)._value.get()

    async def story():
        passes = Passes()
        blocked = frozenset({Reason.DRAINING.value})
        passes.result = lambda: Result(exists=True, blocked=blocked)
        async with working(passes, Limits(soon_s=0.01, settle_s=0, listen_s=0)) as workers:
            workers.wake(KEY)
            await passes.until(1)
            while held(Reason.DRAINING) != 1:
                await asyncio.sleep(0)
            assert held(Reason.NO_LEADER) == 0
            passes.result = lambda: Result(exists=True)
            workers.wake(KEY)
            await passes.until(2)
            while held(Reason.DRAINING):
                await asyncio.sleep(0)

    asyncio.run(story())


def test_a_broker_that_is_waited_for_is_looked_at_again_very_soon():
    async def story():
        passes = Passes()
        passes.result = lambda: Result(exists=True, soon=True, busy=True)
        async with working(passes, Limits(soon_s=0.01, settle_s=0, listen_s=0)) as workers:
            workers.wake(KEY)
            await passes.until(3)

    asyncio.run(story())


class Sources:
    """Brokers that say what they are told to."""

    def __init__(self) -> None:
        self.addresses = Addresses()
        self.tell: dict[str, Callable[[View | None], None]] = {}
        self.doubted: list[str] = []

    async def follow(self, host: str, tell) -> None:
        self.tell[host.partition(".")[0]] = tell
        tell(None)
        await asyncio.Event().wait()

    def doubt(self, host: str) -> None:
        self.doubted.append(host.partition(".")[0])


def test_a_newer_leader_is_not_forgotten_with_the_broker_that_told_of_it(scene):
    async def story():
        passes = Passes([scene.pod("broker-0"), scene.pod("broker-1")])
        sources = Sources()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            workers = Workers(group, passes, sources, SystemClock(), PATIENT)
            workers.wake(KEY)
            await passes.until(1)
            old, new = scene.view(1, 3), scene.view(2, 4)
            sources.tell["orders-broker-0"](old)
            sources.tell["orders-broker-1"](new)
            await passes.until(2)
            assert {view.leader for view in passes.seen[-1].values()} == {None, Claim(2, 4)}
            sources.tell["orders-broker-1"](None)
            await passes.until(3)
            assert [view.leader for view in passes.seen[-1].values()] == [None]
            workers.stop()

    asyncio.run(story())


def test_a_broker_whose_pod_is_ready_no_more_is_doubted_and_so_are_all_when_one_falls_silent(scene):
    async def story():
        passes = Passes([scene.pod(f"broker-{n}") for n in range(3)])
        sources = Sources()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            workers = Workers(group, passes, sources, SystemClock(), PATIENT)
            workers.wake(KEY)
            await passes.until(1)
            passes.found = (scene.pod("broker-0", ready=False), *passes.found[1:])
            for _ in range(2):
                seen = len(passes.seen)
                workers.wake(KEY)
                await passes.until(seen + 1)
            while not sources.doubted:
                await asyncio.sleep(0)
            assert sources.doubted == ["orders-broker-0"], "once"
            sources.tell["orders-broker-1"](scene.view(1, 3))
            sources.tell["orders-broker-1"](None)
            assert sources.doubted[1:] == ["orders-broker-0", "orders-broker-2"]
            workers.stop()

    asyncio.run(story())
