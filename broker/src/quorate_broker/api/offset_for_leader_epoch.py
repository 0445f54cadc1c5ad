"""OffsetForLeaderEpoch (23): where an epoch ended, so that a reader learns what was cut off.

A client that has read up to (epoch, offset) asks for the end of that epoch; an end before its
offset tells it that the log was truncated behind its back. Source: KIP-320.
Next: `context.PartitionView.end_offset_of_epoch`.
"""

from __future__ import annotations

from quorate_broker.api import topics
from quorate_broker.api.context import Call, Context, PartitionView
from quorate_broker.api.principal import Operation
from quorate_broker.cluster.image import Topic
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire.messages import offset_for_leader_epoch as messages

_UNKNOWN = (-1, -1)


def handle(
    context: Context, call: Call, request: messages.OffsetForLeaderEpochRequest
) -> messages.OffsetForLeaderEpochResponse:
    image = context.image
    return messages.OffsetForLeaderEpochResponse(
        topics=[
            messages.OffsetForLeaderTopicResult(
                topic=wanted.topic,
                partitions=[
                    _answer(context, call, image.topics.get(wanted.topic), one)
                    for one in wanted.partitions
                ],
            )
            for wanted in request.topics
        ]
    )


def failed(
    call: Call, request: messages.OffsetForLeaderEpochRequest, code: ErrorCode
) -> messages.OffsetForLeaderEpochResponse:
    return messages.OffsetForLeaderEpochResponse(
        topics=[
            messages.OffsetForLeaderTopicResult(
                topic=wanted.topic,
                partitions=[_result(one.partition, _UNKNOWN, code) for one in wanted.partitions],
            )
            for wanted in request.topics
        ]
    )


def _answer(
    context: Context, call: Call, topic: Topic | None, one: messages.OffsetForLeaderPartition
) -> messages.EpochEndOffset:
    try:
        view = topics.leading(context, topic, one.partition, one.current_leader_epoch)
        assert topic is not None
        if not topics.allowed(context, call, Operation.DESCRIBE, topic.name):
            raise KafkaError(ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    except KafkaError as error:
        return _result(one.partition, _UNKNOWN, error.code)
    return _result(one.partition, _end_of(view, one.leader_epoch), ErrorCode.NONE)


def _end_of(view: PartitionView, epoch: int) -> tuple[int, int]:
    if epoch < 0 or epoch > view.leader_epoch:
        return _UNKNOWN
    if epoch == view.leader_epoch:
        return epoch, view.next_offset
    return view.end_offset_of_epoch(epoch)


def _result(index: int, end: tuple[int, int], code: ErrorCode) -> messages.EpochEndOffset:
    epoch, offset = end
    return messages.EpochEndOffset(
        partition=index, error_code=code, leader_epoch=epoch, end_offset=offset
    )
