"""LeaveGroup (13): members go at once instead of falling silent. From version 3 on several, also by
an administrator who knows them by their instance ids. Next: `offset_commit`.
"""

from __future__ import annotations

from quorate_broker.api import groups
from quorate_broker.api.context import Call, Context
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import commands
from quorate_broker.wire.messages import leave_group

_MANY_MEMBERS_SINCE_VERSION = 3


async def handle(
    context: Context, call: Call, request: leave_group.LeaveGroupRequest
) -> leave_group.LeaveGroupResponse:
    many = call.version >= _MANY_MEMBERS_SINCE_VERSION
    leaving = (
        tuple(commands.LeavingMember(m.member_id, m.group_instance_id) for m in request.members)
        if many
        else (commands.LeavingMember(request.member_id),)
    )
    command = commands.LeaveGroup(request.group_id, leaving)
    try:
        codes = await groups.coordinate_member(context, call, request.group_id, command)
    except KafkaError as error:
        if not many or error.code is not ErrorCode.UNKNOWN_MEMBER_ID:
            return failed(call, request, error.code)
        codes = [error.code] * len(leaving)  # no such group, so no such members
    if not many:
        return failed(call, request, codes[0])
    return leave_group.LeaveGroupResponse(
        error_code=0,
        members=[
            leave_group.MemberResponse(
                member_id=member.member_id, group_instance_id=member.instance_id, error_code=code
            )
            for member, code in zip(leaving, codes, strict=True)
        ],
    )


def failed(
    call: Call, request: leave_group.LeaveGroupRequest, code: ErrorCode
) -> leave_group.LeaveGroupResponse:
    return leave_group.LeaveGroupResponse(error_code=code)
