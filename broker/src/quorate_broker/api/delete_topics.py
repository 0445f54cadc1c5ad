"""DeleteTopics (20): by name, or from v6 on by id.

Next: `cluster.machine`, which decides.
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass

from quorate_broker.api import admin, topics
from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import Operation
from quorate_broker.cluster import commands
from quorate_broker.cluster.commands import TopicResult
from quorate_broker.errors import ErrorCode
from quorate_broker.wire.messages import delete_topics

_BY_ID_SINCE_VERSION = 6

Answer = delete_topics.DeletableTopicResult


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One topic as the request names it: exactly one of both is given."""

    name: str | None
    topic_id: uuid.UUID


async def handle(
    context: Context, call: Call, request: delete_topics.DeleteTopicsRequest
) -> delete_topics.DeleteTopicsResponse:
    wanted = _wanted(call, request)
    times = Counter(wanted)
    answers: dict[_Wanted, Answer] = {}
    good: list[_Wanted] = []
    for one in times:
        code = _refusal(context, call, one, times[one])
        if code is None:
            good.append(one)
        else:
            answers[one] = _refused(one, code, None)
    if good:
        answers |= await _delete(context, good, request.timeout_ms)
    return delete_topics.DeleteTopicsResponse(responses=[answers[one] for one in times])


def failed(
    call: Call, request: delete_topics.DeleteTopicsRequest, code: ErrorCode
) -> delete_topics.DeleteTopicsResponse:
    return delete_topics.DeleteTopicsResponse(
        responses=[_refused(one, code, None) for one in _wanted(call, request)]
    )


def _wanted(call: Call, request: delete_topics.DeleteTopicsRequest) -> list[_Wanted]:
    if call.version < _BY_ID_SINCE_VERSION:
        return [_Wanted(name, topics.NO_ID) for name in request.topic_names]
    return [_Wanted(one.name, one.topic_id) for one in request.topics]


def _refusal(context: Context, call: Call, one: _Wanted, times: int) -> ErrorCode | None:
    if times > 1 or (one.name is None) == (one.topic_id == topics.NO_ID):
        return ErrorCode.INVALID_REQUEST
    if one.name is None:
        topic = context.image.topics_by_id.get(one.topic_id)
        if topic is not None and not topics.allowed(context, call, Operation.DELETE, topic.name):
            return ErrorCode.TOPIC_AUTHORIZATION_FAILED
    elif not topics.allowed(context, call, Operation.DELETE, one.name):
        return ErrorCode.TOPIC_AUTHORIZATION_FAILED
    return None


async def _delete(context: Context, good: list[_Wanted], timeout_ms: int) -> dict[_Wanted, Answer]:
    by_name = [one for one in good if one.name is not None]
    by_id = [one for one in good if one.name is None]
    command = commands.DeleteTopics(
        tuple(one.name for one in by_name if one.name is not None),
        tuple(str(one.topic_id) for one in by_id),
    )
    results = await admin.results_or_error(context, command, timeout_ms, len(good))
    answers = {}
    for one, result in zip(by_name + by_id, results, strict=True):
        if result.code:
            answers[one] = _refused(one, ErrorCode(result.code), result.message)
        else:
            answers[one] = _deleted(one, result)
    return answers


def _deleted(one: _Wanted, result: TopicResult) -> Answer:
    return Answer(
        name=result.name if one.name is None else one.name,
        topic_id=uuid.UUID(result.topic_id) if result.topic_id else one.topic_id,
        error_code=0,
    )


def _refused(one: _Wanted, code: ErrorCode, message: str | None) -> Answer:
    return Answer(name=one.name, topic_id=one.topic_id, error_code=code, error_message=message)
