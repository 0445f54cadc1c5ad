"""Looks through all partitions are further apart where there are many."""

from __future__ import annotations

import asyncio
import contextlib
import types
import uuid
from typing import Any, cast

import pytest

from quorate_broker import config
from quorate_broker.cluster import records
from quorate_broker.cluster.image import Image
from quorate_broker.cluster.places import Moved
from quorate_broker.cluster.records import Member
from quorate_broker.node import pace
from quorate_broker.node.leaders import Lead, Leaders
from quorate_broker.node.shelf import group_name, group_names
from quorate_broker.node.steering import Steering
from quorate_broker.node.view import NO_LEADER, NodeView, troubled

ONE, OTHER = Member(1, "a"), Member(2, "b")
TOPIC = uuid.UUID(int=7)


def parts_of(partitions: int) -> Any:
    image = Image()
    image.apply(records.ClusterFormed("c", (ONE, OTHER), records.FEATURE_LEVEL))
    rows = ((ONE, OTHER),) * partitions
    image.apply(records.TopicCreated(str(TOPIC), "t", rows, {}, False))
    controller = types.SimpleNamespace(image=image, caught_up=False, leads=False)
    shelf = types.SimpleNamespace(get=lambda *_: None)
    return types.SimpleNamespace(controller=controller, leaders=Leaders(), shelf=shelf)


def view() -> NodeView:
    listener = 'listeners=[{name="plain", host="127.0.0.1", port=1, authentication="none"}]'
    settings = config.load(None, {}, ["node.id=1", "seeds=1@127.0.0.1:1", listener])
    return NodeView(config.Live(settings), "1", 0)


def test_looks_at_few_partitions_follow_each_other_and_those_at_many_take_a_fiftieth() -> None:
    assert [pace.pause_s(count, 5) for count in (0, 100, 1_000)] == [0.02, 0.025, 0.25]


def test_the_picture_of_a_thousand_partitions_is_drawn_four_times_a_second() -> None:
    async def drawn_after() -> float:
        seen = view()
        seen._parts = parts_of(1_000)
        before = asyncio.get_running_loop().time()
        seen.refresh_soon()
        assert seen._redraw is not None
        when = seen._redraw.when()
        seen.close()
        return when - before

    assert asyncio.run(drawn_after()) >= 0.25


def test_a_thousand_partitions_are_steered_less_than_twice_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    async def once(seconds: float) -> None:
        pauses.append(seconds)
        raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", once)
    steering = Steering(parts_of(1_000))
    steering.look()
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(steering.run())
    assert pauses == [0.6]


def test_the_short_look_finds_what_the_state_of_each_partition_says() -> None:
    parts = parts_of(4)
    groups = list(group_names(TOPIC, 4))
    assert groups == [group_name(TOPIC, index) for index in range(4)]
    parts.leaders.learn(Lead(groups[0], 1, 1, (1, 2)))
    parts.leaders.learn(Lead(groups[1], 1, 2, (2,)))
    parts.leaders.learn(Lead(groups[2], 1, 1, (1, 2)))
    image = parts.controller.image
    moving = image.topics["t"].partitions[2].changed(Moved((OTHER, ONE)))
    topic = image.topics["t"]
    changed = types.SimpleNamespace(
        id=TOPIC,
        name="t",
        internal=False,
        partitions=(*topic.partitions[:2], moving, topic.partitions[3]),
    )
    image.topics = {"t": cast(Any, changed)}

    async def states() -> list[Any]:
        return list(view()._topic_states(parts, cast(Any, changed)))

    seen = asyncio.run(states())
    led = [state for state in seen if state.leader_id != NO_LEADER]
    unavailable, under_replicated = troubled(parts)
    assert unavailable == ("kafka/t/3",)
    assert unavailable == tuple(state.path for state in seen if state not in led)
    assert under_replicated == ("kafka/t/1", "kafka/t/2")
    assert under_replicated == tuple(state.path for state in led if state.under_replicated)
