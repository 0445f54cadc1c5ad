"""What the APIs that change metadata have in common: the way to the metadata leader.

Any broker takes such a request and `Context.controller` carries it to the leader. Whatever goes
wrong on the way is each topic's error code. A new topic is given a moment to be led: clients that
find no leader come again only after their back-off, up to a second later. Next: `create_topics`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from quorate_broker.api.context import Context
from quorate_broker.cluster import commands
from quorate_broker.cluster.commands import TopicResult
from quorate_broker.cluster.image import Topic
from quorate_broker.errors import ErrorCode, KafkaError

_LEAST_TIMEOUT_MS = 1_000
"""Some clients send 0 or less and mean "do not wait for me": the decision is worth this much."""

_LEADERS_WITHIN_MS = 1_000
_LOOK_EVERY_S = 0.005


async def topic_results(
    context: Context, command: commands.Command, timeout_ms: int
) -> tuple[TopicResult, ...]:
    """What became of each topic of `command`, in its order; raises KafkaError."""
    reply: commands.TopicResults = await decided(context, command, timeout_ms)
    return reply.results


async def decided(context: Context, command: commands.Command, timeout_ms: int) -> Any:
    """The metadata leader's reply; raises KafkaError."""
    try:
        async with asyncio.timeout(max(timeout_ms, _LEAST_TIMEOUT_MS) / 1000):
            return await context.controller(command)
    except TimeoutError:
        raise KafkaError(
            ErrorCode.REQUEST_TIMED_OUT, "The metadata leader did not answer in time."
        ) from None


async def results_or_error(
    context: Context, command: commands.Command, timeout_ms: int, count: int
) -> tuple[TopicResult, ...]:
    """The same, with a failure of the whole command told once for each of `count` topics."""
    try:
        return await topic_results(context, command, timeout_ms)
    except KafkaError as error:
        return (TopicResult(None, error.code, error.message),) * count


async def await_leaders(context: Context, names: Collection[str]) -> None:
    """Wait until these new topics are led by somebody, but not for long.

    Soft state has no event to wait for; looking is cheap, and it is over after a few looks.
    """
    deadline_ms = context.clock.monotonic_ms() + _LEADERS_WITHIN_MS
    while not all(_led(context, name) for name in names):
        if context.clock.monotonic_ms() >= deadline_ms:
            return
        await asyncio.sleep(_LOOK_EVERY_S)


def _led(context: Context, name: str) -> bool:
    topic = context.image.topics.get(name)
    if topic is None:
        return False
    return all(_partition_led(context, topic, one.index) for one in topic.partitions)


def _partition_led(context: Context, topic: Topic, index: int) -> bool:
    leader_id = context.leader(topic.id, index).leader_id
    if leader_id != context.me:
        return leader_id >= 0
    view = context.partition(topic.id, index)
    return view is not None and view.is_leader
