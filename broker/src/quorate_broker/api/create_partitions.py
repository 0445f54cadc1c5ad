"""CreatePartitions (37): more partitions for a topic.

Next: `cluster.machine`, which decides.
"""

from __future__ import annotations

from collections import Counter

from quorate_broker.api import admin, topics
from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import Operation
from quorate_broker.cluster import commands
from quorate_broker.cluster.commands import MorePartitions
from quorate_broker.errors import ErrorCode
from quorate_broker.wire.messages import create_partitions

Answer = create_partitions.CreatePartitionsTopicResult


async def handle(
    context: Context, call: Call, request: create_partitions.CreatePartitionsRequest
) -> create_partitions.CreatePartitionsResponse:
    times = Counter(topic.name for topic in request.topics)
    answers: dict[str, Answer] = {}
    good: list[MorePartitions] = []
    for topic in request.topics:
        if times[topic.name] > 1:
            message = "Duplicate topic in request."
            answers[topic.name] = _answer(topic.name, ErrorCode.INVALID_REQUEST, message)
        elif not topics.allowed(context, call, Operation.ALTER, topic.name):
            code = ErrorCode.TOPIC_AUTHORIZATION_FAILED
            answers[topic.name] = _answer(topic.name, code, None)
        else:
            good.append(_more(topic))
    if good:
        command = commands.CreatePartitions(tuple(good), request.validate_only)
        results = await admin.results_or_error(context, command, request.timeout_ms, len(good))
        for more, result in zip(good, results, strict=True):
            answers[more.name] = _answer(more.name, ErrorCode(result.code), result.message)
    return create_partitions.CreatePartitionsResponse(results=[answers[name] for name in times])


def failed(
    call: Call, request: create_partitions.CreatePartitionsRequest, code: ErrorCode
) -> create_partitions.CreatePartitionsResponse:
    return create_partitions.CreatePartitionsResponse(
        results=[_answer(topic.name, code, None) for topic in request.topics]
    )


def _more(topic: create_partitions.CreatePartitionsTopic) -> MorePartitions:
    assigned = topic.assignments
    rows = None if assigned is None else tuple(tuple(one.broker_ids) for one in assigned)
    return MorePartitions(topic.name, topic.count, rows)


def _answer(name: str, code: ErrorCode, message: str | None) -> Answer:
    return Answer(name=name, error_code=code, error_message=message)
