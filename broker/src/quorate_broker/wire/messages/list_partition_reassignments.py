"""ListPartitionReassignments (key 46). `topics` None asks for all."""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class ListPartitionReassignmentsTopics:
    name: str = field("string")
    partition_indexes: Sequence[int] = array("int32")


@message(versions=(0, 0), flexible=0)
class ListPartitionReassignmentsRequest:
    timeout_ms: int = field("int32", default=60_000)
    topics: Sequence[ListPartitionReassignmentsTopics] | None = array(
        ListPartitionReassignmentsTopics, nullable="0+", default=None
    )


@struct
class OngoingPartitionReassignment:
    partition_index: int = field("int32")
    replicas: Sequence[int] = array("int32")
    adding_replicas: Sequence[int] = array("int32")
    removing_replicas: Sequence[int] = array("int32")


@struct
class OngoingTopicReassignment:
    name: str = field("string")
    partitions: Sequence[OngoingPartitionReassignment] = array(OngoingPartitionReassignment)


@message(versions=(0, 0), flexible=0)
class ListPartitionReassignmentsResponse:
    throttle_time_ms: int = field("int32")
    error_code: int = field("int16")
    error_message: str | None = field("string", nullable="0+", default=None)
    topics: Sequence[OngoingTopicReassignment] = array(OngoingTopicReassignment)
