"""ListOffsets (key 2): offsets by time.

Timestamps below zero are questions: -1 the high watermark (or last stable offset), -2 the log's
start, -3 the record with the greatest timestamp (v7), -4 the local log's start (v8).
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class ListOffsetsPartition:
    partition_index: int = field("int32")
    current_leader_epoch: int = field("int32", "4+", default=-1)
    timestamp: int = field("int64")


@struct
class ListOffsetsTopic:
    name: str = field("string")
    partitions: Sequence[ListOffsetsPartition] = array(ListOffsetsPartition)


@message(versions=(1, 8), flexible=6)
class ListOffsetsRequest:
    replica_id: int = field("int32")
    isolation_level: int = field("int8", "2+")
    topics: Sequence[ListOffsetsTopic] = array(ListOffsetsTopic)


@struct
class ListOffsetsPartitionResponse:
    partition_index: int = field("int32")
    error_code: int = field("int16")
    timestamp: int = field("int64", "1+", default=-1)
    offset: int = field("int64", "1+", default=-1)
    leader_epoch: int = field("int32", "4+", default=-1)


@struct
class ListOffsetsTopicResponse:
    name: str = field("string")
    partitions: Sequence[ListOffsetsPartitionResponse] = array(ListOffsetsPartitionResponse)


@message(versions=(1, 8), flexible=6)
class ListOffsetsResponse:
    throttle_time_ms: int = field("int32", "2+")
    topics: Sequence[ListOffsetsTopicResponse] = array(ListOffsetsTopicResponse)
