"""AlterConfigs (key 33): all that a resource sets; what is not named goes back to its default."""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class AlterableConfig:
    name: str = field("string")
    value: str | None = field("string", nullable="0+", default=None)


@struct
class AlterConfigsResource:
    resource_type: int = field("int8")
    resource_name: str = field("string")
    configs: Sequence[AlterableConfig] = array(AlterableConfig)


@message(versions=(0, 2), flexible=2)
class AlterConfigsRequest:
    resources: Sequence[AlterConfigsResource] = array(AlterConfigsResource)
    validate_only: bool = field("bool")


@struct
class AlterConfigsResourceResponse:
    error_code: int = field("int16")
    error_message: str | None = field("string", nullable="0+", default=None)
    resource_type: int = field("int8")
    resource_name: str = field("string")


@message(versions=(0, 2), flexible=2)
class AlterConfigsResponse:
    throttle_time_ms: int = field("int32")
    responses: Sequence[AlterConfigsResourceResponse] = array(AlterConfigsResourceResponse)
