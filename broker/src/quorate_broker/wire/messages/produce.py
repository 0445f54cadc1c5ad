"""Produce (key 0): batches from a client.

v3 is the oldest still spoken anywhere (v0-2 are advertised and refused: see `apis`). v7 allows
zstd, v8 tells which records were wrong, v10 hints at the new leader. `records` is one batch per
partition; acks is 0, 1 or -1. With acks=0 there is no response at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import Records, array, field, message, struct


@struct
class PartitionProduceData:
    index: int = field("int32")
    records: Records = field("records", nullable="0+")


@struct
class TopicProduceData:
    name: str = field("string")
    partition_data: Sequence[PartitionProduceData] = array(PartitionProduceData)


@message(versions=(3, 11), flexible=9)
class ProduceRequest:
    transactional_id: str | None = field("string", "3+", nullable="3+", default=None)
    acks: int = field("int16")
    timeout_ms: int = field("int32")
    topic_data: Sequence[TopicProduceData] = array(TopicProduceData)


@struct
class BatchIndexAndErrorMessage:
    batch_index: int = field("int32", "8+")
    batch_index_error_message: str | None = field("string", "8+", nullable="8+", default=None)


@struct
class LeaderIdAndEpoch:
    leader_id: int = field("int32", "10+", default=-1)
    leader_epoch: int = field("int32", "10+", default=-1)


@struct
class PartitionProduceResponse:
    index: int = field("int32")
    error_code: int = field("int16")
    base_offset: int = field("int64")
    log_append_time_ms: int = field("int64", "2+", default=-1)
    log_start_offset: int = field("int64", "5+", default=-1)
    record_errors: Sequence[BatchIndexAndErrorMessage] = array(BatchIndexAndErrorMessage, "8+")
    error_message: str | None = field("string", "8+", nullable="8+", default=None)
    current_leader: LeaderIdAndEpoch | None = field(LeaderIdAndEpoch, "10+", tag=0)


@struct
class TopicProduceResponse:
    name: str = field("string")
    partition_responses: Sequence[PartitionProduceResponse] = array(PartitionProduceResponse)


@struct
class NodeEndpoint:
    node_id: int = field("int32", "10+")
    host: str = field("string", "10+")
    port: int = field("int32", "10+")
    rack: str | None = field("string", "10+", nullable="10+", default=None)


@message(versions=(3, 11), flexible=9)
class ProduceResponse:
    responses: Sequence[TopicProduceResponse] = array(TopicProduceResponse)
    throttle_time_ms: int = field("int32", "1+")
    node_endpoints: Sequence[NodeEndpoint] = array(NodeEndpoint, "10+", tag=0)
