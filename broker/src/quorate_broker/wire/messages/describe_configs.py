"""DescribeConfigs (key 32). v1 synonyms, v3 types and documentation.

Resource types: 2 topic, 4 broker. `configuration_keys` None asks for all.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class DescribeConfigsResource:
    resource_type: int = field("int8")
    resource_name: str = field("string")
    configuration_keys: Sequence[str] | None = array("string", nullable="0+", default=None)


@message(versions=(1, 4), flexible=4)
class DescribeConfigsRequest:
    resources: Sequence[DescribeConfigsResource] = array(DescribeConfigsResource)
    include_synonyms: bool = field("bool", "1+")
    include_documentation: bool = field("bool", "3+")


@struct
class DescribeConfigsSynonym:
    name: str = field("string", "1+")
    value: str | None = field("string", "1+", nullable="0+", default=None)
    source: int = field("int8", "1+")


@struct
class DescribeConfigsResourceResult:
    name: str = field("string")
    value: str | None = field("string", nullable="0+", default=None)
    read_only: bool = field("bool")
    config_source: int = field("int8", "1+", default=-1)
    is_sensitive: bool = field("bool")
    synonyms: Sequence[DescribeConfigsSynonym] = array(DescribeConfigsSynonym, "1+")
    config_type: int = field("int8", "3+")
    documentation: str | None = field("string", "3+", nullable="0+", default=None)


@struct
class DescribeConfigsResult:
    error_code: int = field("int16")
    error_message: str | None = field("string", nullable="0+", default=None)
    resource_type: int = field("int8")
    resource_name: str = field("string")
    configs: Sequence[DescribeConfigsResourceResult] = array(DescribeConfigsResourceResult)


@message(versions=(1, 4), flexible=4)
class DescribeConfigsResponse:
    throttle_time_ms: int = field("int32")
    results: Sequence[DescribeConfigsResult] = array(DescribeConfigsResult)
