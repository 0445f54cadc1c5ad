"""One active operator at a time, and another one soon after it dies; in virtual time."""

from __future__ import annotations

import asyncio
import random

import pytest

from quorate_operator.kube import KubeError
from quorate_operator.lease import Lease, LeaseLost
from quorate_operator.testing.simulation.api import Api, Life
from quorate_operator.testing.simulation.cluster import Cluster
from quorate_operator.testing.simulation.loop import VirtualClock, pass_time, run
from quorate_operator.testing.simulation.options import Trouble

PLACE = ("quorate-system", "quorate-operator")
TAKE_OVER_S = 20


class Two:
    """Two processes around one lease."""

    def __init__(self) -> None:
        source = random.Random(1)
        self.cluster = Cluster(source, nodes=0, local_volumes=False)
        self.trouble = Trouble()
        self.lives = [Life(self.trouble, source) for _ in range(2)]
        self.apis = [Api(self.cluster, life, lambda _: None) for life in self.lives]
        self.first, self.second = (
            Lease(api, PLACE, name, VirtualClock())
            for api, name in zip(self.apis, ("first", "second"), strict=True)
        )

    @property
    def spec(self):
        return self.cluster.store.objects["leases", *PLACE]["spec"]


def now() -> float:
    return asyncio.get_running_loop().time()


def test_one_becomes_active_and_the_other_waits_as_long_as_it_is_renewed():
    async def story():
        two = Two()
        await two.first.acquire()
        assert two.first.may_write()
        assert two.spec["holderIdentity"] == "first"
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(two.first.keep())
            waiting = group.create_task(two.second.acquire())
            await pass_time(600)
            assert two.first.may_write()
            assert not two.second.may_write()
            assert not waiting.done()
            keeping.cancel()
            waiting.cancel()
        assert two.spec["leaseTransitions"] == 0

    run(story())


def test_after_a_crash_the_other_takes_over_within_twenty_seconds_and_never_before_the_end():
    async def story():
        two = Two()
        await two.first.acquire()
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(two.first.keep())
            waiting = group.create_task(two.second.acquire())
            await pass_time(60)
            keeping.cancel()
            died_s = now()
            while not waiting.done():
                await pass_time(0.1)
                assert not (two.first.may_write() and two.second.may_write())
        assert now() - died_s <= TAKE_OVER_S
        assert (two.spec["holderIdentity"], two.spec["leaseTransitions"]) == ("second", 1)

    run(story())


def test_told_to_stop_it_leaves_the_lease_to_the_next_one_at_once():
    async def story():
        two = Two()
        await two.first.acquire()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(two.second.acquire())
            await pass_time(5)
            await two.first.release()
            assert not two.first.may_write()
            left_s = now()
            await waiting
        assert now() - left_s < 3

    run(story())


def test_who_cannot_renew_stops_writing_before_anybody_else_may_begin():
    async def story():
        two = Two()
        await two.first.acquire()
        began_s = now()
        two.cluster.down = True
        with pytest.raises(LeaseLost, match="not renewed"):
            await two.first.keep()
        assert 10 <= now() - began_s < 14
        assert not two.first.may_write()

    run(story())


def test_who_was_stopped_for_a_while_finds_another_name_and_ends():
    async def story():
        two = Two()
        await two.first.acquire()
        async with asyncio.TaskGroup() as group:
            group.create_task(two.second.acquire())
            await pass_time(3)
            two.lives[0].paused_until_s = now() + 60
            with pytest.raises(LeaseLost):
                await two.first.keep()
        assert two.spec["holderIdentity"] == "second"

    run(story())


def test_of_two_that_begin_at_once_one_is_active():
    async def story():
        two = Two()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.acquire()) for one in (two.first, two.second)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await pass_time(1)
            assert [task.done() for task in tasks].count(True) == 1
            for task in tasks:
                task.cancel()

    run(story())


def test_an_api_that_refuses_now_and_then_costs_nobody_the_lease():
    async def story():
        two = Two()
        await two.first.acquire()
        two.trouble.refused = two.trouble.lost = 0.02
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(two.first.keep())
            await pass_time(120)
            assert two.first.may_write()
            keeping.cancel()

    run(story())


def test_a_lease_that_cannot_be_created_is_an_error_and_not_a_win():
    async def story():
        two = Two()
        two.trouble.refused = 1.0
        with pytest.raises(KubeError):
            await two.first._try(now())
        assert not two.first.may_write()

    run(story())
