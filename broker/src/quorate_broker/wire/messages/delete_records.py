"""DeleteRecords (key 21). Offset -1 means the high watermark."""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class DeleteRecordsPartition:
    partition_index: int = field("int32")
    offset: int = field("int64")


@struct
class DeleteRecordsTopic:
    name: str = field("string")
    partitions: Sequence[DeleteRecordsPartition] = array(DeleteRecordsPartition)


@message(versions=(0, 2), flexible=2)
class DeleteRecordsRequest:
    topics: Sequence[DeleteRecordsTopic] = array(DeleteRecordsTopic)
    timeout_ms: int = field("int32")


@struct
class DeleteRecordsPartitionResult:
    partition_index: int = field("int32")
    low_watermark: int = field("int64")
    error_code: int = field("int16")


@struct
class DeleteRecordsTopicResult:
    name: str = field("string")
    partitions: Sequence[DeleteRecordsPartitionResult] = array(DeleteRecordsPartitionResult)


@message(versions=(0, 2), flexible=2)
class DeleteRecordsResponse:
    throttle_time_ms: int = field("int32")
    topics: Sequence[DeleteRecordsTopicResult] = array(DeleteRecordsTopicResult)
