"""IncrementalAlterConfigs (key 44). Operations: 0 set, 1 delete, 2 append, 3 subtract."""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class IncrementalAlterableConfig:
    name: str = field("string")
    config_operation: int = field("int8")
    value: str | None = field("string", nullable="0+", default=None)


@struct
class IncrementalAlterConfigsResource:
    resource_type: int = field("int8")
    resource_name: str = field("string")
    configs: Sequence[IncrementalAlterableConfig] = array(IncrementalAlterableConfig)


@message(versions=(0, 1), flexible=1)
class IncrementalAlterConfigsRequest:
    resources: Sequence[IncrementalAlterConfigsResource] = array(IncrementalAlterConfigsResource)
    validate_only: bool = field("bool")


@struct
class IncrementalAlterConfigsResourceResponse:
    error_code: int = field("int16")
    error_message: str | None = field("string", nullable="0+", default=None)
    resource_type: int = field("int8")
    resource_name: str = field("string")


@message(versions=(0, 1), flexible=1)
class IncrementalAlterConfigsResponse:
    throttle_time_ms: int = field("int32")
    responses: Sequence[IncrementalAlterConfigsResourceResponse] = array(
        IncrementalAlterConfigsResourceResponse
    )
