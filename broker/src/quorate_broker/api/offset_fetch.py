"""OffsetFetch (9): how far a group has read; from version 8 on for many groups in one request.

No topics named means all of them. A partition that nothing was committed for has offset -1, which
is no error. `require_stable` asks to wait for open transactions, of which there are none yet.
Next: `describe_groups`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from quorate_broker.api import groups, topics
from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import Operation
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import commands
from quorate_broker.wire.messages import offset_fetch

_OWN_CODE_SINCE_VERSION = 2
_MANY_GROUPS_SINCE_VERSION = 8

Offset = tuple[commands.CommittedOffset, ErrorCode]
Topics = Sequence[offset_fetch.OffsetFetchRequestTopic | offset_fetch.OffsetFetchRequestTopics]


async def handle(
    context: Context, call: Call, request: offset_fetch.OffsetFetchRequest
) -> offset_fetch.OffsetFetchResponse:
    if call.version < _MANY_GROUPS_SINCE_VERSION:
        try:
            offsets = await _offsets(context, call, request.group_id, request.topics)
        except KafkaError as error:
            return failed(call, request, error.code)
        return offset_fetch.OffsetFetchResponse(topics=_topics(offsets), error_code=0)
    response = offset_fetch.OffsetFetchResponse(groups=[])
    answers = []
    for group in request.groups:
        try:
            offsets = await _offsets(context, call, group.group_id, group.topics)
        except KafkaError as error:
            answers.append(_refused(group.group_id, error.code))
        else:
            answers.append(
                offset_fetch.OffsetFetchResponseGroup(
                    group_id=group.group_id, topics=_topics_of_many(offsets), error_code=0
                )
            )
    response.groups = answers
    return response


def failed(
    call: Call, request: offset_fetch.OffsetFetchRequest, code: ErrorCode
) -> offset_fetch.OffsetFetchResponse:
    if call.version >= _MANY_GROUPS_SINCE_VERSION:
        return offset_fetch.OffsetFetchResponse(
            groups=[_refused(group.group_id, code) for group in request.groups]
        )
    if call.version >= _OWN_CODE_SINCE_VERSION:
        return offset_fetch.OffsetFetchResponse(error_code=code)
    nothing = [(offset, code) for offset in _nothing(_named(request.topics or ()))]
    return offset_fetch.OffsetFetchResponse(topics=_topics(nothing))


async def _offsets(
    context: Context, call: Call, group_id: str, wanted: Topics | None
) -> list[Offset]:
    """The offsets that the caller may see; raises KafkaError for the group as a whole."""
    if not groups.allowed(context, call, Operation.DESCRIBE, group_id):
        raise KafkaError(ErrorCode.GROUP_AUTHORIZATION_FAILED)

    def visible(topic: str) -> bool:
        return topics.allowed(context, call, Operation.DESCRIBE, topic)

    if wanted is None:
        found = await groups.coordinate(context, group_id, commands.OffsetFetch(group_id, None))
        return [(offset, ErrorCode.NONE) for offset in found if visible(offset.topic)]
    seen = {topic.name: visible(topic.name) for topic in wanted}
    partitions = _named(wanted)
    allowed = tuple(one for one in partitions if seen[one[0]])
    found = await groups.coordinate(context, group_id, commands.OffsetFetch(group_id, allowed))
    hidden = _nothing(one for one in partitions if not seen[one[0]])
    return [(offset, ErrorCode.NONE) for offset in found] + [
        (offset, ErrorCode.TOPIC_AUTHORIZATION_FAILED) for offset in hidden
    ]


def _named(wanted: Topics) -> list[tuple[str, int]]:
    return [(topic.name, index) for topic in wanted for index in topic.partition_indexes]


def _nothing(partitions: Iterable[tuple[str, int]]) -> list[commands.CommittedOffset]:
    return [commands.CommittedOffset(topic, index, -1) for topic, index in partitions]


def _by_topic(offsets: list[Offset]) -> dict[str, list[dict[str, Any]]]:
    """The fields of each partition's answer, by topic."""
    found: dict[str, list[dict[str, Any]]] = {}
    for offset, code in offsets:
        found.setdefault(offset.topic, []).append(
            {
                "partition_index": offset.partition,
                "committed_offset": offset.offset,
                "committed_leader_epoch": offset.leader_epoch,
                "metadata": offset.metadata,
                "error_code": code,
            }
        )
    return found


def _topics(offsets: list[Offset]) -> list[offset_fetch.OffsetFetchResponseTopic]:
    return [
        offset_fetch.OffsetFetchResponseTopic(
            name=topic,
            partitions=[offset_fetch.OffsetFetchResponsePartition(**one) for one in partitions],
        )
        for topic, partitions in _by_topic(offsets).items()
    ]


def _topics_of_many(offsets: list[Offset]) -> list[offset_fetch.OffsetFetchResponseTopics]:
    return [
        offset_fetch.OffsetFetchResponseTopics(
            name=topic,
            partitions=[offset_fetch.OffsetFetchResponsePartitions(**one) for one in partitions],
        )
        for topic, partitions in _by_topic(offsets).items()
    ]


def _refused(group_id: str, code: ErrorCode) -> offset_fetch.OffsetFetchResponseGroup:
    return offset_fetch.OffsetFetchResponseGroup(group_id=group_id, error_code=code)
