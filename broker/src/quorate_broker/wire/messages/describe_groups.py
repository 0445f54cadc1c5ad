"""DescribeGroups (key 15). v3 authorized operations, v4 static members; v6 answers an unknown group
with GROUP_ID_NOT_FOUND instead of the state Dead.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@message(versions=(0, 6), flexible=5)
class DescribeGroupsRequest:
    groups: Sequence[str] = array("string")
    include_authorized_operations: bool = field("bool", "3+")


@struct
class DescribedGroupMember:
    member_id: str = field("string")
    group_instance_id: str | None = field("string", "4+", nullable="4+", default=None)
    client_id: str = field("string")
    client_host: str = field("string")
    member_metadata: bytes = field("bytes")
    member_assignment: bytes = field("bytes")


@struct
class DescribedGroup:
    error_code: int = field("int16")
    error_message: str | None = field("string", "6+", nullable="6+", default=None)
    group_id: str = field("string")
    group_state: str = field("string")
    protocol_type: str = field("string")
    protocol_data: str = field("string")
    members: Sequence[DescribedGroupMember] = array(DescribedGroupMember)
    authorized_operations: int = field("int32", "3+", default=-2147483648)


@message(versions=(0, 6), flexible=5)
class DescribeGroupsResponse:
    throttle_time_ms: int = field("int32", "1+")
    groups: Sequence[DescribedGroup] = array(DescribedGroup)
