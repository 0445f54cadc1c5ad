"""LeaveGroup (key 13). Up to v2 one member, from v3 many; v5 reasons."""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class MemberIdentity:
    member_id: str = field("string", "3+")
    group_instance_id: str | None = field("string", "3+", nullable="3+", default=None)
    reason: str | None = field("string", "5+", nullable="5+", default=None)


@message(versions=(0, 5), flexible=4)
class LeaveGroupRequest:
    group_id: str = field("string")
    member_id: str = field("string", "0-2")
    members: Sequence[MemberIdentity] = array(MemberIdentity, "3+")


@struct
class MemberResponse:
    member_id: str = field("string", "3+")
    group_instance_id: str | None = field("string", "3+", nullable="3+", default=None)
    error_code: int = field("int16", "3+")


@message(versions=(0, 5), flexible=4)
class LeaveGroupResponse:
    throttle_time_ms: int = field("int32", "1+")
    error_code: int = field("int16")
    members: Sequence[MemberResponse] = array(MemberResponse, "3+")
