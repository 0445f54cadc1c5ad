"""DeleteGroups (key 42)."""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@message(versions=(0, 2), flexible=2)
class DeleteGroupsRequest:
    groups_names: Sequence[str] = array("string")


@struct
class DeletableGroupResult:
    group_id: str = field("string")
    error_code: int = field("int16")


@message(versions=(0, 2), flexible=2)
class DeleteGroupsResponse:
    throttle_time_ms: int = field("int32")
    results: Sequence[DeletableGroupResult] = array(DeletableGroupResult)
