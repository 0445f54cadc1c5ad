"""What the APIs that change metadata have in common: the way to the metadata leader.

Any broker takes such a request and `Context.controller` carries it to the leader. Whatever goes
wrong on the way is each topic's error code. Next: `create_topics`.
"""

from __future__ import annotations

import asyncio

from quorate_broker.api.context import Context
from quorate_broker.cluster import commands
from quorate_broker.cluster.commands import TopicResult
from quorate_broker.errors import ErrorCode, KafkaError

_LEAST_TIMEOUT_MS = 1_000
"""Some clients send 0 or less and mean "do not wait for me": the decision is worth this much."""


async def topic_results(
    context: Context, command: commands.Command, timeout_ms: int
) -> tuple[TopicResult, ...]:
    """What became of each topic of `command`, in its order; raises KafkaError."""
    try:
        async with asyncio.timeout(max(timeout_ms, _LEAST_TIMEOUT_MS) / 1000):
            reply: commands.TopicResults = await context.controller(command)
    except TimeoutError:
        raise KafkaError(
            ErrorCode.REQUEST_TIMED_OUT, "The metadata leader did not answer in time."
        ) from None
    return reply.results


async def results_or_error(
    context: Context, command: commands.Command, timeout_ms: int, count: int
) -> tuple[TopicResult, ...]:
    """The same, with a failure of the whole command told once for each of `count` topics."""
    try:
        return await topic_results(context, command, timeout_ms)
    except KafkaError as error:
        return (TopicResult(None, error.code, error.message),) * count
