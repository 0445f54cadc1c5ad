"""The `authorized_operations` of Kafka's answers: what the caller may do, as bits. Source: KIP-430.

Next: `principal`, where the question is asked one operation at a time.
"""

from __future__ import annotations

from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import Operation, ResourceType

NOT_ASKED = -(1 << 31)
"""What stands in the field when the client did not want to know."""

_OF_TOPIC = (
    Operation.READ,
    Operation.WRITE,
    Operation.CREATE,
    Operation.DELETE,
    Operation.ALTER,
    Operation.DESCRIBE,
    Operation.DESCRIBE_CONFIGS,
    Operation.ALTER_CONFIGS,
)
_OF_CLUSTER = (
    Operation.CREATE,
    Operation.ALTER,
    Operation.DESCRIBE,
    Operation.CLUSTER_ACTION,
    Operation.DESCRIBE_CONFIGS,
    Operation.ALTER_CONFIGS,
    Operation.IDEMPOTENT_WRITE,
)
_OF_GROUP = (Operation.READ, Operation.DELETE, Operation.DESCRIBE)
_OPERATIONS = {
    ResourceType.TOPIC: _OF_TOPIC,
    ResourceType.CLUSTER: _OF_CLUSTER,
    ResourceType.GROUP: _OF_GROUP,
}


def authorized_operations(context: Context, call: Call, resource: ResourceType, name: str) -> int:
    """One bit per operation that the caller may do, at the place of its code."""
    allows = context.authorizer.allows
    return sum(
        1 << operation
        for operation in _OPERATIONS[resource]
        if allows(call.principal, operation, resource, name)
    )
