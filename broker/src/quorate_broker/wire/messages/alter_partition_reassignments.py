"""AlterPartitionReassignments (key 45). `replicas` None gives a reassignment up."""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class ReassignablePartition:
    partition_index: int = field("int32")
    replicas: Sequence[int] | None = array("int32", nullable="0+", default=None)


@struct
class ReassignableTopic:
    name: str = field("string")
    partitions: Sequence[ReassignablePartition] = array(ReassignablePartition)


@message(versions=(0, 1), flexible=0)
class AlterPartitionReassignmentsRequest:
    timeout_ms: int = field("int32", default=60_000)
    allow_replication_factor_change: bool = field("bool", "1+", default=True)
    topics: Sequence[ReassignableTopic] = array(ReassignableTopic)


@struct
class ReassignablePartitionResponse:
    partition_index: int = field("int32")
    error_code: int = field("int16")
    error_message: str | None = field("string", nullable="0+", default=None)


@struct
class ReassignableTopicResponse:
    name: str = field("string")
    partitions: Sequence[ReassignablePartitionResponse] = array(ReassignablePartitionResponse)


@message(versions=(0, 1), flexible=0)
class AlterPartitionReassignmentsResponse:
    throttle_time_ms: int = field("int32")
    allow_replication_factor_change: bool = field("bool", "1+", default=True)
    error_code: int = field("int16")
    error_message: str | None = field("string", nullable="0+", default=None)
    responses: Sequence[ReassignableTopicResponse] = array(ReassignableTopicResponse)
