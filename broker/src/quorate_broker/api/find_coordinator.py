"""FindCoordinator (10): which broker serves a group.

It is the leader of the group's partition of `__consumer_offsets`, a topic that is made when
somebody asks for the first time. While that partition has no leader that can be reached, the answer
is COORDINATOR_NOT_AVAILABLE, and clients ask again. Next: `groups.placement` for the partition.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.api import admin, groups
from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import Operation
from quorate_broker.cluster.records import Endpoint
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import placement
from quorate_broker.wire.messages import find_coordinator

_GROUP, _TRANSACTION = 0, 1
_MANY_KEYS_SINCE_VERSION = 4

Answer = find_coordinator.Coordinator


async def handle(
    context: Context, call: Call, request: find_coordinator.FindCoordinatorRequest
) -> find_coordinator.FindCoordinatorResponse:
    refusal = None
    if request.key_type == _GROUP and placement.TOPIC not in context.image.topics:
        refusal = await _make_topic(context)
    answers = [
        _error(key, refusal) if refusal else _answer(context, call, request.key_type, key)
        for key in _keys(call, request)
    ]
    return _response(call, answers)


def failed(
    call: Call, request: find_coordinator.FindCoordinatorRequest, code: ErrorCode
) -> find_coordinator.FindCoordinatorResponse:
    return _response(call, [_error(key, KafkaError(code)) for key in _keys(call, request)])


async def _make_topic(context: Context) -> KafkaError | None:
    try:
        await context.ensure_internal_topic()
        await admin.await_leaders(context, [placement.TOPIC])
    except KafkaError as error:
        return KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, str(error))
    return None


def _keys(call: Call, request: find_coordinator.FindCoordinatorRequest) -> Sequence[str]:
    return request.coordinator_keys if call.version >= _MANY_KEYS_SINCE_VERSION else [request.key]


def _answer(context: Context, call: Call, key_type: int, key: str) -> Answer:
    try:
        node_id, endpoint = _coordinator(context, call, key_type, key)
    except KafkaError as error:
        return _error(key, error)
    return Answer(key=key, node_id=node_id, host=endpoint.host, port=endpoint.port, error_code=0)


def _coordinator(context: Context, call: Call, key_type: int, key: str) -> tuple[int, Endpoint]:
    if key_type == _TRANSACTION:
        # The one code that every client takes as final; on "not available" they would ask for ever.
        raise KafkaError(
            ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "there are no transactions yet"
        )
    if key_type != _GROUP:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"unknown key type {key_type}")
    if not groups.allowed(context, call, Operation.DESCRIBE, key):
        raise KafkaError(ErrorCode.GROUP_AUTHORIZATION_FAILED)
    image = context.image
    topic = image.topics.get(placement.TOPIC)
    if topic is None:
        raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, "the topic is being made")
    index = placement.partition_for(key, len(topic.partitions))
    leader_id = context.leader(topic.id, index).leader_id
    broker = image.brokers.get(leader_id) if leader_id in context.live_brokers else None
    endpoint = broker.endpoint(call.listener) if broker is not None else None
    if endpoint is None:
        raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, "nobody leads at this moment")
    return leader_id, endpoint


def _error(key: str, error: KafkaError) -> Answer:
    return Answer(
        key=key, node_id=-1, host="", port=-1, error_code=error.code, error_message=error.message
    )


def _response(call: Call, answers: list[Answer]) -> find_coordinator.FindCoordinatorResponse:
    if call.version >= _MANY_KEYS_SINCE_VERSION:
        return find_coordinator.FindCoordinatorResponse(coordinators=answers)
    (answer,) = answers
    return find_coordinator.FindCoordinatorResponse(
        error_code=answer.error_code,
        error_message=answer.error_message,
        node_id=answer.node_id,
        host=answer.host,
        port=answer.port,
    )
