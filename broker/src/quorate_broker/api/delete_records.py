"""DeleteRecords (21): a log begins later, on every replica. Source: KIP-107.

Next: `context.PartitionView.move_start`.
"""

from __future__ import annotations

import asyncio

from quorate_broker.api import topics
from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import Operation
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire.messages import delete_records as messages

_HIGH_WATERMARK = -1

Answer = messages.DeleteRecordsPartitionResult


async def handle(
    context: Context, call: Call, request: messages.DeleteRecordsRequest
) -> messages.DeleteRecordsResponse:
    asked = [(topic.name, one) for topic in request.topics for one in topic.partitions]
    answers = await asyncio.gather(*(_answer(context, call, name, one) for name, one in asked))
    results: dict[str, list[Answer]] = {topic.name: [] for topic in request.topics}
    for (name, _), answer in zip(asked, answers, strict=True):
        results[name].append(answer)
    return messages.DeleteRecordsResponse(
        topics=[
            messages.DeleteRecordsTopicResult(name=name, partitions=partitions)
            for name, partitions in results.items()
        ]
    )


def failed(
    call: Call, request: messages.DeleteRecordsRequest, code: ErrorCode
) -> messages.DeleteRecordsResponse:
    return messages.DeleteRecordsResponse(
        topics=[
            messages.DeleteRecordsTopicResult(
                name=topic.name,
                partitions=[_refused(one.partition_index, code) for one in topic.partitions],
            )
            for topic in request.topics
        ]
    )


async def _answer(
    context: Context, call: Call, name: str, asked: messages.DeleteRecordsPartition
) -> Answer:
    try:
        low = await _delete(context, call, name, asked)
    except KafkaError as error:
        return _refused(asked.partition_index, error.code)
    return Answer(partition_index=asked.partition_index, low_watermark=low, error_code=0)


async def _delete(
    context: Context, call: Call, name: str, asked: messages.DeleteRecordsPartition
) -> int:
    """Where the log begins then."""
    if not topics.allowed(context, call, Operation.DELETE, name):
        raise KafkaError(ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    topic = context.image.topics.get(name)
    view = topics.leading(context, topic, asked.partition_index)
    assert topic is not None
    if not topics.may_delete(context.settings, topic):
        raise KafkaError(ErrorCode.POLICY_VIOLATION)
    offset = view.high_watermark if asked.offset == _HIGH_WATERMARK else asked.offset
    if not 0 <= offset <= view.high_watermark:
        raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
    await view.move_start(offset)
    return max(offset, view.start_offset)


def _refused(index: int, code: ErrorCode) -> Answer:
    return Answer(partition_index=index, low_watermark=-1, error_code=code)
