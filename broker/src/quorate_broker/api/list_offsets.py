"""ListOffsets (2): where a partition's log begins, ends, or reaches a time.

Kafka's special times: -1 the end (what a reader may see: the high watermark), -2 the start, -3 the
record with the greatest timestamp, -4 the start of what is stored locally (everything is).
A leader that was deposed without knowing it would tell an end before what was acknowledged since;
so each answer waits for a round of its group (Raft 6.4). Kafka answers at once.
Source: KIP-79, KIP-734, KIP-405. Next: `context.PartitionView`.
"""

from __future__ import annotations

import asyncio
import enum

from quorate_broker.api import topics
from quorate_broker.api.context import Call, Context, PartitionView
from quorate_broker.api.principal import Operation
from quorate_broker.cluster.image import Topic
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire.messages import list_offsets


class Special(enum.IntEnum):
    """Times that are none."""

    LATEST = -1
    EARLIEST = -2
    MAX_TIMESTAMP = -3
    EARLIEST_LOCAL = -4


Answer = list_offsets.ListOffsetsPartitionResponse


async def handle(
    context: Context, call: Call, request: list_offsets.ListOffsetsRequest
) -> list_offsets.ListOffsetsResponse:
    """Asked of all partitions at once: each has to hear from its group that it still leads."""
    image = context.image
    asked = [(wanted, one) for wanted in request.topics for one in wanted.partitions]
    answers = iter(
        await asyncio.gather(
            *(_answer(context, call, image.topics.get(wanted.name), one) for wanted, one in asked)
        )
    )
    return list_offsets.ListOffsetsResponse(
        topics=[
            list_offsets.ListOffsetsTopicResponse(
                name=wanted.name, partitions=[next(answers) for _ in wanted.partitions]
            )
            for wanted in request.topics
        ]
    )


def failed(
    call: Call, request: list_offsets.ListOffsetsRequest, code: ErrorCode
) -> list_offsets.ListOffsetsResponse:
    return list_offsets.ListOffsetsResponse(
        topics=[
            list_offsets.ListOffsetsTopicResponse(
                name=wanted.name,
                partitions=[_refused(one.partition_index, code) for one in wanted.partitions],
            )
            for wanted in request.topics
        ]
    )


async def _answer(
    context: Context, call: Call, topic: Topic | None, one: list_offsets.ListOffsetsPartition
) -> Answer:
    try:
        view = topics.leading(context, topic, one.partition_index, one.current_leader_epoch)
        assert topic is not None
        if not topics.allowed(context, call, Operation.DESCRIBE, topic.name):
            raise KafkaError(ErrorCode.TOPIC_AUTHORIZATION_FAILED)
        await view.confirm()
        offset, timestamp, epoch = _find(view, one.timestamp)
    except KafkaError as error:
        return _refused(one.partition_index, error.code)
    return Answer(
        partition_index=one.partition_index,
        error_code=0,
        offset=offset,
        timestamp=timestamp,
        leader_epoch=epoch,
    )


def _find(view: PartitionView, timestamp: int) -> tuple[int, int, int]:
    """(offset, timestamp, leader epoch); -1 for what is not known."""
    match timestamp:
        case Special.LATEST:
            return view.high_watermark, -1, view.leader_epoch
        case Special.EARLIEST | Special.EARLIEST_LOCAL:
            return view.start_offset, -1, -1
        case Special.MAX_TIMESTAMP:
            found = view.max_timestamp()
        case _ if timestamp >= 0:
            found = view.offset_for_time(timestamp)
        case _:
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"no special time {timestamp}")
    if found is None:
        return -1, -1, -1
    offset, at_ms = found
    return offset, at_ms, view.leader_epoch


def _refused(index: int, code: ErrorCode) -> Answer:
    return Answer(partition_index=index, error_code=code, offset=-1, timestamp=-1, leader_epoch=-1)
