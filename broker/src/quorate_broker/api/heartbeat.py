"""Heartbeat (12): a member lives, and hears whether it must join again. Next: `leave_group`."""

from __future__ import annotations

from quorate_broker.api import groups
from quorate_broker.api.context import Call, Context
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import commands
from quorate_broker.wire.messages import heartbeat


async def handle(
    context: Context, call: Call, request: heartbeat.HeartbeatRequest
) -> heartbeat.HeartbeatResponse:
    command = commands.Heartbeat(
        group_id=request.group_id,
        member_id=request.member_id,
        instance_id=request.group_instance_id,
        generation=request.generation_id,
    )
    try:
        await groups.coordinate_member(context, call, request.group_id, command)
    except KafkaError as error:
        return failed(call, request, error.code)
    return heartbeat.HeartbeatResponse(error_code=0)


def failed(
    call: Call, request: heartbeat.HeartbeatRequest, code: ErrorCode
) -> heartbeat.HeartbeatResponse:
    if code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
        # Sessions begin anew once the coordinator has loaded: nothing is lost by waiting.
        code = ErrorCode.NONE
    return heartbeat.HeartbeatResponse(error_code=code)
