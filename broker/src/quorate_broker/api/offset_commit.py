"""OffsetCommit (8): remember how far a group has read.

Each partition is answered on its own; a refusal of the group's coordinator stands at all of them.
Next: `offset_fetch`.
"""

from __future__ import annotations

from collections.abc import Callable

from quorate_broker.api import groups, topics
from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import Operation
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import commands
from quorate_broker.wire.messages import offset_commit

_UNKNOWN_GROUP_SINCE_VERSION = 9

Codes = dict[tuple[str, int], ErrorCode]


async def handle(
    context: Context, call: Call, request: offset_commit.OffsetCommitRequest
) -> offset_commit.OffsetCommitResponse:
    if not groups.allowed(context, call, Operation.READ, request.group_id):
        return failed(call, request, ErrorCode.GROUP_AUTHORIZATION_FAILED)
    codes, offsets = _sorted_out(context, call, request)
    if offsets:
        try:
            replied = await groups.coordinate(
                context, request.group_id, _command(call, request, offsets)
            )
        except KafkaError as error:
            replied = [error.code] * len(offsets)
        for offset, code in zip(offsets, replied, strict=True):
            codes[offset.topic, offset.partition] = code
    return _response(request, lambda topic, partition: codes[topic, partition])


def failed(
    call: Call, request: offset_commit.OffsetCommitRequest, code: ErrorCode
) -> offset_commit.OffsetCommitResponse:
    return _response(request, lambda topic, partition: code)


def _sorted_out(
    context: Context, call: Call, request: offset_commit.OffsetCommitRequest
) -> tuple[Codes, list[commands.CommittedOffset]]:
    """Codes of the partitions that cannot be committed, and the offsets of those that can."""
    codes: Codes = {}
    offsets = []
    known = context.image.topics
    for wanted in request.topics:
        may_read = topics.allowed(context, call, Operation.READ, wanted.name)
        topic = known.get(wanted.name)
        count = len(topic.partitions) if topic is not None else 0
        for partition in wanted.partitions:
            where = (wanted.name, partition.partition_index)
            if not may_read:
                codes[where] = ErrorCode.TOPIC_AUTHORIZATION_FAILED
            elif not 0 <= partition.partition_index < count:
                codes[where] = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            else:
                offsets.append(
                    commands.CommittedOffset(
                        *where,
                        partition.committed_offset,
                        partition.committed_leader_epoch,
                        partition.committed_metadata or "",
                    )
                )
    return codes, offsets


def _command(
    call: Call,
    request: offset_commit.OffsetCommitRequest,
    offsets: list[commands.CommittedOffset],
) -> commands.OffsetCommit:
    return commands.OffsetCommit(
        group_id=request.group_id,
        offsets=tuple(offsets),
        member_id=request.member_id,
        instance_id=request.group_instance_id,
        generation=request.generation_id_or_member_epoch,
        retention_ms=request.retention_time_ms,
        knows_unknown_group=call.version >= _UNKNOWN_GROUP_SINCE_VERSION,
    )


def _response(
    request: offset_commit.OffsetCommitRequest, code: Callable[[str, int], ErrorCode]
) -> offset_commit.OffsetCommitResponse:
    return offset_commit.OffsetCommitResponse(
        topics=[
            offset_commit.OffsetCommitResponseTopic(
                name=topic.name,
                partitions=[
                    offset_commit.OffsetCommitResponsePartition(
                        partition_index=one.partition_index,
                        error_code=code(topic.name, one.partition_index),
                    )
                    for one in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
