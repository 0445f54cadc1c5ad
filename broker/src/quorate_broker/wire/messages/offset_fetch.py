"""OffsetFetch (key 9). Up to v7 one group, from v8 many; `topics` None asks for all (v2)."""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class OffsetFetchRequestTopic:
    name: str = field("string", "0-7")
    partition_indexes: Sequence[int] = array("int32", "0-7")


@struct
class OffsetFetchRequestTopics:
    name: str = field("string", "8+")
    partition_indexes: Sequence[int] = array("int32", "8+")


@struct
class OffsetFetchRequestGroup:
    group_id: str = field("string", "8+")
    member_id: str | None = field("string", "9+", nullable="9+", default=None)
    member_epoch: int = field("int32", "9+", default=-1)
    topics: Sequence[OffsetFetchRequestTopics] | None = array(
        OffsetFetchRequestTopics, "8+", nullable="8+"
    )


@message(versions=(1, 9), flexible=6)
class OffsetFetchRequest:
    group_id: str = field("string", "0-7")
    topics: Sequence[OffsetFetchRequestTopic] | None = array(
        OffsetFetchRequestTopic, "0-7", nullable="2-7"
    )
    groups: Sequence[OffsetFetchRequestGroup] = array(OffsetFetchRequestGroup, "8+")
    require_stable: bool = field("bool", "7+")


@struct
class OffsetFetchResponsePartition:
    partition_index: int = field("int32", "0-7")
    committed_offset: int = field("int64", "0-7")
    committed_leader_epoch: int = field("int32", "5-7", default=-1)
    metadata: str | None = field("string", "0-7", nullable="0-7")
    error_code: int = field("int16", "0-7")


@struct
class OffsetFetchResponseTopic:
    name: str = field("string", "0-7")
    partitions: Sequence[OffsetFetchResponsePartition] = array(OffsetFetchResponsePartition, "0-7")


@struct
class OffsetFetchResponsePartitions:
    partition_index: int = field("int32", "8+")
    committed_offset: int = field("int64", "8+")
    committed_leader_epoch: int = field("int32", "8+", default=-1)
    metadata: str | None = field("string", "8+", nullable="8+")
    error_code: int = field("int16", "8+")


@struct
class OffsetFetchResponseTopics:
    name: str = field("string", "8+")
    partitions: Sequence[OffsetFetchResponsePartitions] = array(OffsetFetchResponsePartitions, "8+")


@struct
class OffsetFetchResponseGroup:
    group_id: str = field("string", "8+")
    topics: Sequence[OffsetFetchResponseTopics] = array(OffsetFetchResponseTopics, "8+")
    error_code: int = field("int16", "8+")


@message(versions=(1, 9), flexible=6)
class OffsetFetchResponse:
    throttle_time_ms: int = field("int32", "3+")
    topics: Sequence[OffsetFetchResponseTopic] = array(OffsetFetchResponseTopic, "0-7")
    error_code: int = field("int16", "2-7")
    groups: Sequence[OffsetFetchResponseGroup] = array(OffsetFetchResponseGroup, "8+")
