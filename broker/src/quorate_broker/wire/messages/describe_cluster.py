"""DescribeCluster (key 60). v1 tells brokers (1) from controllers (2)."""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@message(versions=(0, 1), flexible=0)
class DescribeClusterRequest:
    include_cluster_authorized_operations: bool = field("bool")
    endpoint_type: int = field("int8", "1+", default=1)


@struct
class DescribeClusterBroker:
    broker_id: int = field("int32")
    host: str = field("string")
    port: int = field("int32")
    rack: str | None = field("string", nullable="0+", default=None)


@message(versions=(0, 1), flexible=0)
class DescribeClusterResponse:
    throttle_time_ms: int = field("int32")
    error_code: int = field("int16")
    error_message: str | None = field("string", nullable="0+", default=None)
    endpoint_type: int = field("int8", "1+", default=1)
    cluster_id: str = field("string")
    controller_id: int = field("int32", default=-1)
    brokers: Sequence[DescribeClusterBroker] = array(DescribeClusterBroker)
    cluster_authorized_operations: int = field("int32", default=-2147483648)
