"""JoinGroup (11): become a member of a group's next generation. Parked until that begins.

The rules are in `groups.rebalance`; here a request of any version becomes one command.
Next: `sync_group`.
"""

from __future__ import annotations

from quorate_broker.api import groups
from quorate_broker.api.context import Call, Context
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import commands
from quorate_broker.wire.messages import join_group

_REBALANCE_TIMEOUT_SINCE_VERSION = 1
_MEMBER_ID_FIRST_SINCE_VERSION = 4
_NULL_PROTOCOL_SINCE_VERSION = 7
_SKIP_ASSIGNMENT_SINCE_VERSION = 9


async def handle(
    context: Context, call: Call, request: join_group.JoinGroupRequest
) -> join_group.JoinGroupResponse:
    command = _command(call, request)
    try:
        reply = await groups.coordinate_member(context, call, request.group_id, command)
    except KafkaError as error:
        return failed(call, request, error.code)
    return _response(call, reply)


def failed(
    call: Call, request: join_group.JoinGroupRequest, code: ErrorCode
) -> join_group.JoinGroupResponse:
    return _response(call, commands.JoinGroupReply(request.member_id, code))


def _command(call: Call, request: join_group.JoinGroupRequest) -> commands.JoinGroup:
    own_rebalance_timeout = call.version >= _REBALANCE_TIMEOUT_SINCE_VERSION
    return commands.JoinGroup(
        group_id=request.group_id,
        member_id=request.member_id,
        instance_id=request.group_instance_id,
        client_id=call.client_id or "",
        client_host=f"/{call.client_host}",  # as Java prints an address
        protocol_type=request.protocol_type,
        protocols=tuple(
            commands.Protocol(protocol.name, bytes(protocol.metadata))
            for protocol in request.protocols
        ),
        session_timeout_ms=request.session_timeout_ms,
        rebalance_timeout_ms=request.rebalance_timeout_ms
        if own_rebalance_timeout
        else request.session_timeout_ms,
        needs_member_id=call.version >= _MEMBER_ID_FIRST_SINCE_VERSION,
        can_skip_assignment=call.version >= _SKIP_ASSIGNMENT_SINCE_VERSION,
    )


def _response(call: Call, reply: commands.JoinGroupReply) -> join_group.JoinGroupResponse:
    protocol = reply.protocol
    if protocol is None and call.version < _NULL_PROTOCOL_SINCE_VERSION:
        protocol = ""
    return join_group.JoinGroupResponse(
        error_code=reply.code,
        generation_id=reply.generation,
        protocol_type=reply.protocol_type,
        protocol_name=protocol,
        leader=reply.leader,
        skip_assignment=reply.skip_assignment,
        member_id=reply.member_id,
        members=[
            join_group.JoinGroupResponseMember(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                metadata=member.metadata,
            )
            for member in reply.members
        ],
    )
