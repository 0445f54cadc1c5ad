"""JoinGroup (key 11). v1 rebalance time-out, v4 asks for a member id first, v5 static members,
v8 reasons, v9 lets the leader skip the assignment.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class JoinGroupRequestProtocol:
    name: str = field("string")
    metadata: bytes = field("bytes")


@message(versions=(0, 9), flexible=6)
class JoinGroupRequest:
    group_id: str = field("string")
    session_timeout_ms: int = field("int32")
    rebalance_timeout_ms: int = field("int32", "1+", default=-1)
    member_id: str = field("string")
    group_instance_id: str | None = field("string", "5+", nullable="5+", default=None)
    protocol_type: str = field("string")
    protocols: Sequence[JoinGroupRequestProtocol] = array(JoinGroupRequestProtocol)
    reason: str | None = field("string", "8+", nullable="8+", default=None)


@struct
class JoinGroupResponseMember:
    member_id: str = field("string")
    group_instance_id: str | None = field("string", "5+", nullable="5+", default=None)
    metadata: bytes = field("bytes")


@message(versions=(0, 9), flexible=6)
class JoinGroupResponse:
    throttle_time_ms: int = field("int32", "2+")
    error_code: int = field("int16")
    generation_id: int = field("int32", default=-1)
    protocol_type: str | None = field("string", "7+", nullable="7+", default=None)
    protocol_name: str | None = field("string", nullable="7+")
    leader: str = field("string")
    skip_assignment: bool = field("bool", "9+")
    member_id: str = field("string")
    members: Sequence[JoinGroupResponseMember] = array(JoinGroupResponseMember)
