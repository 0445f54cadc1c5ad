"""ApiVersions (key 18): what is served here; the first request of every connection.

The response header is always v0, so that a client can read the answer to a version it guessed. v4
may name features whose least version is 0; v0-3 must leave them out.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@message(versions=(0, 4), flexible=3)
class ApiVersionsRequest:
    client_software_name: str = field("string", "3+")
    client_software_version: str = field("string", "3+")


@struct
class ApiVersion:
    api_key: int = field("int16")
    min_version: int = field("int16")
    max_version: int = field("int16")


@struct
class SupportedFeatureKey:
    name: str = field("string", "3+")
    min_version: int = field("int16", "3+")
    max_version: int = field("int16", "3+")


@struct
class FinalizedFeatureKey:
    name: str = field("string", "3+")
    max_version_level: int = field("int16", "3+")
    min_version_level: int = field("int16", "3+")


@message(versions=(0, 4), flexible=3)
class ApiVersionsResponse:
    error_code: int = field("int16")
    api_keys: Sequence[ApiVersion] = array(ApiVersion)
    throttle_time_ms: int = field("int32", "1+")
    supported_features: Sequence[SupportedFeatureKey] = array(SupportedFeatureKey, "3+", tag=0)
    finalized_features_epoch: int = field("int64", "3+", default=-1, tag=1)
    finalized_features: Sequence[FinalizedFeatureKey] = array(FinalizedFeatureKey, "3+", tag=2)
    zk_migration_ready: bool = field("bool", "3+", tag=3)
