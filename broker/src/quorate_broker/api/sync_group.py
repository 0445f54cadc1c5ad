"""SyncGroup (14): fetch one's assignment; the leader brings them all. Parked until it has.

Next: `heartbeat`, by which members hear that they must join again.
"""

from __future__ import annotations

from quorate_broker.api import groups
from quorate_broker.api.context import Call, Context
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import commands
from quorate_broker.wire.messages import sync_group


async def handle(
    context: Context, call: Call, request: sync_group.SyncGroupRequest
) -> sync_group.SyncGroupResponse:
    command = commands.SyncGroup(
        group_id=request.group_id,
        member_id=request.member_id,
        instance_id=request.group_instance_id,
        generation=request.generation_id,
        protocol_type=request.protocol_type,
        protocol=request.protocol_name,
        assignments=tuple((one.member_id, bytes(one.assignment)) for one in request.assignments),
    )
    try:
        reply = await groups.coordinate_member(context, call, request.group_id, command)
    except KafkaError as error:
        return failed(call, request, error.code)
    return sync_group.SyncGroupResponse(
        error_code=0,
        protocol_type=reply.protocol_type,
        protocol_name=reply.protocol,
        assignment=reply.assignment,
    )


def failed(
    call: Call, request: sync_group.SyncGroupRequest, code: ErrorCode
) -> sync_group.SyncGroupResponse:
    if code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
        # The rebalance that this belongs to went down with the last coordinator; and clients do not
        # expect the code here: some of them stop.
        code = ErrorCode.REBALANCE_IN_PROGRESS
    return sync_group.SyncGroupResponse(error_code=code, assignment=b"")
