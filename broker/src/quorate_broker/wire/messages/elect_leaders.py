"""ElectLeaders (key 43). Types: 0 preferred, 1 unclean. `topic_partitions` None asks for all."""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class TopicPartitions:
    topic: str = field("string")
    partitions: Sequence[int] = array("int32")


@message(versions=(0, 2), flexible=2)
class ElectLeadersRequest:
    election_type: int = field("int8", "1+")
    topic_partitions: Sequence[TopicPartitions] | None = array(
        TopicPartitions, nullable="0+", default=None
    )
    timeout_ms: int = field("int32", default=60_000)


@struct
class PartitionResult:
    partition_id: int = field("int32")
    error_code: int = field("int16")
    error_message: str | None = field("string", nullable="0+", default=None)


@struct
class ReplicaElectionResult:
    topic: str = field("string")
    partition_result: Sequence[PartitionResult] = array(PartitionResult)


@message(versions=(0, 2), flexible=2)
class ElectLeadersResponse:
    throttle_time_ms: int = field("int32")
    error_code: int = field("int16", "1+")
    replica_election_results: Sequence[ReplicaElectionResult] = array(ReplicaElectionResult)
