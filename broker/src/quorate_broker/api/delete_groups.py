"""DeleteGroups (42): forget groups without members, with all that they committed."""

from __future__ import annotations

from quorate_broker.api import groups
from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import Operation
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import commands
from quorate_broker.wire.messages import delete_groups


async def handle(
    context: Context, call: Call, request: delete_groups.DeleteGroupsRequest
) -> delete_groups.DeleteGroupsResponse:
    return delete_groups.DeleteGroupsResponse(
        results=[
            delete_groups.DeletableGroupResult(
                group_id=group_id, error_code=await _delete(context, call, group_id)
            )
            for group_id in dict.fromkeys(request.groups_names)
        ]
    )


def failed(
    call: Call, request: delete_groups.DeleteGroupsRequest, code: ErrorCode
) -> delete_groups.DeleteGroupsResponse:
    return delete_groups.DeleteGroupsResponse(
        results=[
            delete_groups.DeletableGroupResult(group_id=group_id, error_code=code)
            for group_id in request.groups_names
        ]
    )


async def _delete(context: Context, call: Call, group_id: str) -> ErrorCode:
    if not groups.allowed(context, call, Operation.DELETE, group_id):
        return ErrorCode.GROUP_AUTHORIZATION_FAILED
    try:
        await groups.coordinate(context, group_id, commands.DeleteGroup(group_id))
    except KafkaError as error:
        return error.code
    return ErrorCode.NONE
