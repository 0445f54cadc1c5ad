"""FindCoordinator (key 10). Up to v3 one key, from v4 many.

Key type 0 is a group, 1 a transactional id.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@message(versions=(0, 5), flexible=3)
class FindCoordinatorRequest:
    key: str = field("string", "0-3")
    key_type: int = field("int8", "1+")
    coordinator_keys: Sequence[str] = array("string", "4+")


@struct
class Coordinator:
    key: str = field("string", "4+")
    node_id: int = field("int32", "4+")
    host: str = field("string", "4+")
    port: int = field("int32", "4+")
    error_code: int = field("int16", "4+")
    error_message: str | None = field("string", "4+", nullable="4+", default=None)


@message(versions=(0, 5), flexible=3)
class FindCoordinatorResponse:
    throttle_time_ms: int = field("int32", "1+")
    error_code: int = field("int16", "0-3")
    error_message: str | None = field("string", "1-3", nullable="1-3", default=None)
    node_id: int = field("int32", "0-3")
    host: str = field("string", "0-3")
    port: int = field("int32", "0-3")
    coordinators: Sequence[Coordinator] = array(Coordinator, "4+")
