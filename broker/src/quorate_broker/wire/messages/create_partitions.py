"""CreatePartitions (key 37). `assignments` None lets the cluster place the new replicas."""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class CreatePartitionsAssignment:
    broker_ids: Sequence[int] = array("int32")


@struct
class CreatePartitionsTopic:
    name: str = field("string")
    count: int = field("int32")
    assignments: Sequence[CreatePartitionsAssignment] | None = array(
        CreatePartitionsAssignment, nullable="0+", default=None
    )


@message(versions=(0, 3), flexible=2)
class CreatePartitionsRequest:
    topics: Sequence[CreatePartitionsTopic] = array(CreatePartitionsTopic)
    timeout_ms: int = field("int32")
    validate_only: bool = field("bool")


@struct
class CreatePartitionsTopicResult:
    name: str = field("string")
    error_code: int = field("int16")
    error_message: str | None = field("string", nullable="0+", default=None)


@message(versions=(0, 3), flexible=2)
class CreatePartitionsResponse:
    throttle_time_ms: int = field("int32")
    results: Sequence[CreatePartitionsTopicResult] = array(CreatePartitionsTopicResult)
