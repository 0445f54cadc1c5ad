"""DescribeGroups (15): state and members of groups, for people and their tools.

A group that does not exist is "Dead" and no error, until version 6 gave it a code.
Next: `list_groups`.
"""

from __future__ import annotations

from quorate_broker.api import groups, rights
from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import Operation, ResourceType
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import commands
from quorate_broker.groups.states import State
from quorate_broker.wire.messages import describe_groups

_NOT_FOUND_SINCE_VERSION = 6


async def handle(
    context: Context, call: Call, request: describe_groups.DescribeGroupsRequest
) -> describe_groups.DescribeGroupsResponse:
    answers = [await _answer(context, call, group_id) for group_id in request.groups]
    if request.include_authorized_operations:
        for answer in answers:
            if answer.error_code == 0:
                answer.authorized_operations = rights.authorized_operations(
                    context, call, ResourceType.GROUP, answer.group_id
                )
    return describe_groups.DescribeGroupsResponse(groups=answers)


def failed(
    call: Call, request: describe_groups.DescribeGroupsRequest, code: ErrorCode
) -> describe_groups.DescribeGroupsResponse:
    return describe_groups.DescribeGroupsResponse(
        groups=[
            describe_groups.DescribedGroup(group_id=group_id, error_code=code)
            for group_id in request.groups
        ]
    )


async def _answer(context: Context, call: Call, group_id: str) -> describe_groups.DescribedGroup:
    answer = describe_groups.DescribedGroup(group_id=group_id, error_code=0)
    if not groups.allowed(context, call, Operation.DESCRIBE, group_id):
        answer.error_code = ErrorCode.GROUP_AUTHORIZATION_FAILED
        return answer
    try:
        found = await groups.coordinate(context, group_id, commands.DescribeGroup(group_id))
    except KafkaError as error:
        if error.code is ErrorCode.GROUP_ID_NOT_FOUND:
            answer.group_state = State.DEAD.value
        if error.code is not ErrorCode.GROUP_ID_NOT_FOUND or _has_code_for_it(call):
            answer.error_code = error.code
            answer.error_message = error.message
        return answer
    answer.group_state = found.state.value
    answer.protocol_type = found.protocol_type
    answer.protocol_data = found.protocol
    answer.members = [_member(member) for member in found.members]
    return answer


def _has_code_for_it(call: Call) -> bool:
    return call.version >= _NOT_FOUND_SINCE_VERSION


def _member(member: commands.MemberDescription) -> describe_groups.DescribedGroupMember:
    return describe_groups.DescribedGroupMember(
        member_id=member.member_id,
        group_instance_id=member.instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        member_metadata=member.metadata,
        member_assignment=member.assignment,
    )
