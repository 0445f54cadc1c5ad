"""DescribeLogDirs (key 35). `topics` None asks for all; v4 tells the size of the disk."""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class DescribableLogDirTopic:
    topic: str = field("string")
    partitions: Sequence[int] = array("int32")


@message(versions=(1, 4), flexible=2)
class DescribeLogDirsRequest:
    topics: Sequence[DescribableLogDirTopic] | None = array(
        DescribableLogDirTopic, nullable="0+", default=None
    )


@struct
class DescribeLogDirsPartition:
    partition_index: int = field("int32")
    partition_size: int = field("int64")
    offset_lag: int = field("int64")
    is_future_key: bool = field("bool")


@struct
class DescribeLogDirsTopic:
    name: str = field("string")
    partitions: Sequence[DescribeLogDirsPartition] = array(DescribeLogDirsPartition)


@struct
class DescribeLogDirsResult:
    error_code: int = field("int16")
    log_dir: str = field("string")
    topics: Sequence[DescribeLogDirsTopic] = array(DescribeLogDirsTopic)
    total_bytes: int = field("int64", "4+", default=-1)
    usable_bytes: int = field("int64", "4+", default=-1)


@message(versions=(1, 4), flexible=2)
class DescribeLogDirsResponse:
    throttle_time_ms: int = field("int32")
    error_code: int = field("int16", "3+")
    results: Sequence[DescribeLogDirsResult] = array(DescribeLogDirsResult)
