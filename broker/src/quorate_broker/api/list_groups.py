"""ListGroups (16): the groups that this broker coordinates; clients ask every broker.

Next: `delete_groups`.
"""

from __future__ import annotations

from quorate_broker.api import groups
from quorate_broker.api.context import Call, Context
from quorate_broker.api.failures import top_level
from quorate_broker.api.principal import CLUSTER_NAME, Operation, ResourceType
from quorate_broker.errors import KafkaError
from quorate_broker.groups import commands
from quorate_broker.wire.messages import list_groups

_TYPE = "classic"
"""The one group protocol that there is, by the name that Kafka gives it."""

failed = top_level(list_groups.ListGroupsResponse)


async def handle(
    context: Context, call: Call, request: list_groups.ListGroupsRequest
) -> list_groups.ListGroupsResponse:
    try:
        partitions = await context.coordinate_all(commands.ListGroups())
    except KafkaError as error:
        response: list_groups.ListGroupsResponse = failed(call, request, error.code)
        return response
    states = {state.lower() for state in request.states_filter}
    types = {kind.lower() for kind in request.types_filter}
    sees_all = context.authorizer.allows(
        call.principal, Operation.DESCRIBE, ResourceType.CLUSTER, CLUSTER_NAME
    )
    return list_groups.ListGroupsResponse(
        error_code=0,
        groups=[
            list_groups.ListedGroup(
                group_id=group.group_id,
                protocol_type=group.protocol_type,
                group_state=group.state.value,
                group_type=_TYPE,
            )
            for listed in partitions
            for group in listed
            if (not states or group.state.value.lower() in states)
            and (not types or _TYPE in types)
            and (sees_all or groups.allowed(context, call, Operation.DESCRIBE, group.group_id))
        ],
    )
