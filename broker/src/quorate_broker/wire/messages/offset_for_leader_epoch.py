"""OffsetForLeaderEpoch (key 23): where an epoch ended, so that a client notices truncation.

The answer is the greatest epoch not above the one asked for, and the offset behind its last record.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class OffsetForLeaderPartition:
    partition: int = field("int32")
    current_leader_epoch: int = field("int32", "2+", default=-1)
    leader_epoch: int = field("int32")


@struct
class OffsetForLeaderTopic:
    topic: str = field("string")
    partitions: Sequence[OffsetForLeaderPartition] = array(OffsetForLeaderPartition)


@message(versions=(2, 4), flexible=4)
class OffsetForLeaderEpochRequest:
    replica_id: int = field("int32", "3+", default=-2)
    topics: Sequence[OffsetForLeaderTopic] = array(OffsetForLeaderTopic)


@struct
class EpochEndOffset:
    error_code: int = field("int16")
    partition: int = field("int32")
    leader_epoch: int = field("int32", "1+", default=-1)
    end_offset: int = field("int64", default=-1)


@struct
class OffsetForLeaderTopicResult:
    topic: str = field("string")
    partitions: Sequence[EpochEndOffset] = array(EpochEndOffset)


@message(versions=(2, 4), flexible=4)
class OffsetForLeaderEpochResponse:
    throttle_time_ms: int = field("int32", "2+")
    topics: Sequence[OffsetForLeaderTopicResult] = array(OffsetForLeaderTopicResult)
