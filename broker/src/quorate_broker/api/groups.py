"""What the handlers of groups have in common: rights, and errors in the words of group clients.

A group is served by the leader of its partition of `__consumer_offsets`; any other broker answers
NOT_COORDINATOR, and the client asks FindCoordinator again. The rules of groups themselves are in
`quorate_broker.groups`. Next: `find_coordinator`, then `join_group`.
"""

from __future__ import annotations

from typing import Any

from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import Operation, ResourceType
from quorate_broker.errors import ErrorCode, KafkaError

_IN_CLIENTS_WORDS = {
    ErrorCode.NOT_LEADER_OR_FOLLOWER: ErrorCode.NOT_COORDINATOR,
    ErrorCode.KAFKA_STORAGE_ERROR: ErrorCode.NOT_COORDINATOR,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.REQUEST_TIMED_OUT: ErrorCode.COORDINATOR_NOT_AVAILABLE,
}
"""What befalls the log underneath, as clients of groups know to handle it (Kafka's own mapping)."""


def allowed(context: Context, call: Call, operation: Operation, group_id: str) -> bool:
    """Whether the caller may do this with the group."""
    return context.authorizer.allows(call.principal, operation, ResourceType.GROUP, group_id)


async def coordinate(context: Context, group_id: str, command: object) -> Any:
    """The coordinator's reply; raises KafkaError with a code that group clients know."""
    try:
        return await context.coordinate(group_id, command)
    except KafkaError as error:
        if error.code in _IN_CLIENTS_WORDS:
            raise KafkaError(_IN_CLIENTS_WORDS[error.code], error.message) from error
        raise


async def coordinate_member(context: Context, call: Call, group_id: str, command: object) -> Any:
    """The reply to a member: of a group with a name, and with the right to read."""
    if not allowed(context, call, Operation.READ, group_id):
        raise KafkaError(ErrorCode.GROUP_AUTHORIZATION_FAILED)
    if not group_id:
        raise KafkaError(ErrorCode.INVALID_GROUP_ID)
    return await coordinate(context, group_id, command)
