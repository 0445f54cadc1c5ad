"""Following brokers over real HTTP: news at once, silence in time, nonsense as silence."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable

import pytest

from quorate_broker.admin.app import MAX_WATCH_TIMEOUT_MS
from quorate_operator.brokers import Brokers, Timing, parse
from quorate_operator.facts import Claim, View
from quorate_operator.testing.fake_broker import FakeBroker, answer

QUICK = Timing(hold_ms=2000, slack_s=10, pause_s=0.01)


@contextlib.asynccontextmanager
async def following(broker: FakeBroker, timing: Timing = QUICK):
    """A queue of what is told about one broker."""
    told: asyncio.Queue[View | None] = asyncio.Queue()
    async with Brokers(timing, port=broker.port) as brokers, asyncio.TaskGroup() as group:
        brokers.addresses.know("pod-0", broker.address)
        task = group.create_task(brokers.follow("pod-0", told.put_nowait))
        yield told
        task.cancel()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0)


def test_news_arrive_without_being_asked_for():
    async def story():
        async with FakeBroker("127.0.0.1").serve() as broker, following(broker) as told:
            first = await told.get()
            await broker.tell(leader={"node_id": 2, "term": 7})
            second = await told.get()
            assert first is not None
            assert second is not None
            assert (first.leader, second.leader) == (None, Claim(2, 7))
            assert broker.asked[:2] == [(-1, 0), (1, 2000)]

    asyncio.run(story())


def test_a_quiet_broker_is_asked_less_and_less_often_until_there_are_news():
    async def story():
        timing = Timing(hold_ms=10, most_hold_ms=40, slack_s=10, pause_s=0.01)
        async with FakeBroker("127.0.0.1").serve() as broker, following(broker, timing) as told:
            await told.get()
            while len(broker.asked) < 6:
                await asyncio.sleep(0)
            assert [hold for _, hold in broker.asked[:6]] == [0, 10, 20, 40, 40, 40]
            await broker.tell(leader={"node_id": 2, "term": 7})
            await told.get()
            asked = len(broker.asked)
            while len(broker.asked) == asked:
                await asyncio.sleep(0)
            assert (2, 10) in broker.asked

    asyncio.run(story())


def test_a_quiet_broker_that_is_doubted_is_asked_again_at_once_with_the_short_hold():
    async def story():
        told: asyncio.Queue[View | None] = asyncio.Queue()
        timing = Timing(hold_ms=60_000, most_hold_ms=600_000)
        async with (
            FakeBroker("127.0.0.1").serve() as broker,
            Brokers(timing, port=broker.port) as brokers,
            asyncio.TaskGroup() as group,
        ):
            brokers.addresses.know("pod-0", broker.address)
            task = group.create_task(brokers.follow("pod-0", told.put_nowait))
            await told.get()
            await broker.tell()
            await until(lambda: len(broker.asked) == 3)
            brokers.doubt("pod-0")
            await until(lambda: len(broker.asked) == 4)
            brokers.doubt("pod-0")
            await broker.tell(healthy=False)
            await told.get()
            await until(lambda: len(broker.asked) == 5)
            assert broker.asked[1:4] == [(1, 60_000), (2, 120_000), (2, 60_000)]
            assert broker.asked[4:] == [(3, 60_000)], "a short hold is waited for"
            task.cancel()

    asyncio.run(story())


def test_of_answers_that_say_the_same_one_is_kept():
    async def story():
        async with FakeBroker("127.0.0.1").serve() as broker:
            await broker.tell(cluster_id="only-here")
            async with following(broker) as told:
                first = await told.get()
                for _ in range(3):
                    asked = len(broker.asked)
                    await broker.tell()
                    await until(lambda asked=asked: len(broker.asked) > asked)
                await until(lambda: broker.asked[-1][0] == 5)
                views = [one for one in gc.get_objects() if isinstance(one, View)]
                kept = [one for one in views if one.cluster_id == "only-here"]
                assert [one is first for one in kept] == [True]

    asyncio.run(story())


def test_no_broker_is_asked_more_than_once_a_minute_while_all_is_quiet():
    assert Timing().most_hold_ms == MAX_WATCH_TIMEOUT_MS == 60_000


def test_a_new_version_without_news_is_not_told():
    async def story():
        async with FakeBroker("127.0.0.1").serve() as broker, following(broker) as told:
            await told.get()
            await broker.tell()
            await broker.tell(healthy=False)
            second = await told.get()
            assert second is not None
            assert not second.healthy

    asyncio.run(story())


def test_a_broker_that_hangs_is_silent_after_the_slack():
    async def story():
        timing = Timing(hold_ms=50, slack_s=1, pause_s=0.01)
        async with FakeBroker("127.0.0.1").serve() as broker, following(broker, timing) as told:
            assert await told.get() is not None
            broker.hangs = True
            assert await told.get() is None
            broker.hangs = False
            assert await told.get() is not None

    asyncio.run(story())


def test_a_connection_that_is_lost_once_is_no_silence():
    async def story():
        async with FakeBroker("127.0.0.1").serve() as broker, following(broker) as told:
            await told.get()
            broker.drops = 1
            await broker.tell(healthy=False)
            first = await told.get()
            while broker.drops:
                await asyncio.sleep(0)
            await broker.tell(healthy=True)
            second = await told.get()
            assert [view and view.healthy for view in (first, second)] == [False, True]

    asyncio.run(story())


def test_a_broker_that_refuses_is_silent_and_told_so_once():
    async def story():
        async with FakeBroker("127.0.0.1").serve() as broker, following(broker) as told:
            broker.status = 503
            assert await told.get() is None
            asked = len(broker.asked)
            while len(broker.asked) < asked + 3:
                await asyncio.sleep(0)
            assert told.empty()

    asyncio.run(story())


def test_nobody_at_the_address_is_silence_told_first():
    async def story():
        async with FakeBroker("127.0.0.1").serve() as broker:
            gone = broker
        async with following(gone) as told:
            assert await told.get() is None

    asyncio.run(story())


def test_an_answer_becomes_a_view():
    body = answer(
        2,
        7,
        flanking=[{"node_id": 101, "pod": "p", "incarnation": "f", "ready": True}],
        healthy=False,
        unhealthy_reasons=["nodes_down"],
    )
    view = parse(body)
    assert (view.leader, view.transitions, view.cluster_id) == (Claim(2, 7), 6, "id-1")
    assert [member.incarnation for member in view.members] == ["inc-1", "inc-2", "inc-3"]
    assert [member.node_id for member in view.flanking] == [101]
    assert (view.healthy, view.unhealthy_reasons) == (False, ("nodes_down",))


@pytest.mark.parametrize(
    "body",
    [
        [],
        None,
        {},
        {"version": 1},
        answer() | {"leader": {"node_id": 1}},
        answer() | {"members": 3},
    ],
)
def test_nonsense_is_a_value_error(body):
    with pytest.raises(ValueError, match="not an answer"):
        parse(body)
