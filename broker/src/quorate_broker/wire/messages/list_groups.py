"""ListGroups (key 16). v4 filters by state, v5 by type."""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@message(versions=(0, 5), flexible=3)
class ListGroupsRequest:
    states_filter: Sequence[str] = array("string", "4+")
    types_filter: Sequence[str] = array("string", "5+")


@struct
class ListedGroup:
    group_id: str = field("string")
    protocol_type: str = field("string")
    group_state: str = field("string", "4+")
    group_type: str = field("string", "5+")


@message(versions=(0, 5), flexible=3)
class ListGroupsResponse:
    throttle_time_ms: int = field("int32", "1+")
    error_code: int = field("int16")
    groups: Sequence[ListedGroup] = array(ListedGroup)
