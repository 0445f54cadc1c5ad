"""Fetch (key 1): batches to a client, or to a follower of another system.

v5 log start, v7 fetch sessions, v9 leader epochs, v10 zstd, v11 racks, v12 flexible and diverging
epochs. Topics are names throughout; topic ids come with v13. `records` of the response is a list of
buffers that go out as they are; an answer without data is an empty list, not None.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import Records, array, field, message, struct


@struct
class FetchPartition:
    partition: int = field("int32")
    current_leader_epoch: int = field("int32", "9+", default=-1)
    fetch_offset: int = field("int64")
    last_fetched_epoch: int = field("int32", "12+", default=-1)
    log_start_offset: int = field("int64", "5+", default=-1)
    partition_max_bytes: int = field("int32")


@struct
class FetchTopic:
    topic: str = field("string")
    partitions: Sequence[FetchPartition] = array(FetchPartition)


@struct
class ForgottenTopic:
    topic: str = field("string", "7+")
    partitions: Sequence[int] = array("int32", "7+")


@message(versions=(4, 12), flexible=12)
class FetchRequest:
    cluster_id: str | None = field("string", "12+", nullable="12+", default=None, tag=0)
    replica_id: int = field("int32", default=-1)
    max_wait_ms: int = field("int32")
    min_bytes: int = field("int32")
    max_bytes: int = field("int32", "3+", default=2147483647)
    isolation_level: int = field("int8", "4+")
    session_id: int = field("int32", "7+")
    session_epoch: int = field("int32", "7+", default=-1)
    topics: Sequence[FetchTopic] = array(FetchTopic)
    forgotten_topics_data: Sequence[ForgottenTopic] = array(ForgottenTopic, "7+")
    rack_id: str = field("string", "11+")


@struct
class EpochEndOffset:
    epoch: int = field("int32", "12+", default=-1)
    end_offset: int = field("int64", "12+", default=-1)


@struct
class LeaderIdAndEpoch:
    leader_id: int = field("int32", "12+", default=-1)
    leader_epoch: int = field("int32", "12+", default=-1)


@struct
class SnapshotId:
    end_offset: int = field("int64", default=-1)
    epoch: int = field("int32", default=-1)


@struct
class AbortedTransaction:
    producer_id: int = field("int64", "4+")
    first_offset: int = field("int64", "4+")


@struct
class PartitionData:
    partition_index: int = field("int32")
    error_code: int = field("int16")
    high_watermark: int = field("int64")
    last_stable_offset: int = field("int64", "4+", default=-1)
    log_start_offset: int = field("int64", "5+", default=-1)
    diverging_epoch: EpochEndOffset | None = field(EpochEndOffset, "12+", tag=0)
    current_leader: LeaderIdAndEpoch | None = field(LeaderIdAndEpoch, "12+", tag=1)
    snapshot_id: SnapshotId | None = field(SnapshotId, "12+", tag=2)
    aborted_transactions: Sequence[AbortedTransaction] | None = array(
        AbortedTransaction, "4+", nullable="4+"
    )
    preferred_read_replica: int = field("int32", "11+", default=-1)
    records: Records = field("records", nullable="0+")


@struct
class FetchableTopicResponse:
    topic: str = field("string")
    partitions: Sequence[PartitionData] = array(PartitionData)


@message(versions=(4, 12), flexible=12)
class FetchResponse:
    throttle_time_ms: int = field("int32", "1+")
    error_code: int = field("int16", "7+")
    session_id: int = field("int32", "7+")
    responses: Sequence[FetchableTopicResponse] = array(FetchableTopicResponse)
