"""OffsetCommit (key 8). v5 drops the retention time, v6 adds leader epochs, v7 static members,
v9 the member epochs of the new group protocol.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class OffsetCommitRequestPartition:
    partition_index: int = field("int32")
    committed_offset: int = field("int64")
    committed_leader_epoch: int = field("int32", "6+", default=-1)
    committed_metadata: str | None = field("string", nullable="0+")


@struct
class OffsetCommitRequestTopic:
    name: str = field("string")
    partitions: Sequence[OffsetCommitRequestPartition] = array(OffsetCommitRequestPartition)


@message(versions=(2, 9), flexible=8)
class OffsetCommitRequest:
    group_id: str = field("string")
    generation_id_or_member_epoch: int = field("int32", "1+", default=-1)
    member_id: str = field("string", "1+")
    group_instance_id: str | None = field("string", "7+", nullable="7+", default=None)
    retention_time_ms: int = field("int64", "2-4", default=-1)
    topics: Sequence[OffsetCommitRequestTopic] = array(OffsetCommitRequestTopic)


@struct
class OffsetCommitResponsePartition:
    partition_index: int = field("int32")
    error_code: int = field("int16")


@struct
class OffsetCommitResponseTopic:
    name: str = field("string")
    partitions: Sequence[OffsetCommitResponsePartition] = array(OffsetCommitResponsePartition)


@message(versions=(2, 9), flexible=8)
class OffsetCommitResponse:
    throttle_time_ms: int = field("int32", "3+")
    topics: Sequence[OffsetCommitResponseTopic] = array(OffsetCommitResponseTopic)
