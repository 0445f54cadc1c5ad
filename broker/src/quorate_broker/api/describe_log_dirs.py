"""DescribeLogDirs (35): how much the replicas on this broker take. Source: KIP-113, KIP-827.

There is one directory per broker. `offset_lag` is what a follower here still lacks.
"""

from __future__ import annotations

from collections.abc import Iterator

from quorate_broker.api.context import Call, Context
from quorate_broker.api.failures import top_level
from quorate_broker.api.principal import CLUSTER_NAME, Operation, ResourceType
from quorate_broker.errors import ErrorCode
from quorate_broker.wire.messages import describe_log_dirs as messages

Partition = messages.DescribeLogDirsPartition


def handle(
    context: Context, call: Call, request: messages.DescribeLogDirsRequest
) -> messages.DescribeLogDirsResponse:
    allowed = context.authorizer.allows(
        call.principal, Operation.DESCRIBE, ResourceType.CLUSTER, CLUSTER_NAME
    )
    if not allowed:
        # Before v3 there is no field for it: Kafka's clients take no directories for this.
        code = ErrorCode.CLUSTER_AUTHORIZATION_FAILED
        return messages.DescribeLogDirsResponse(error_code=code)
    found: dict[str, list[Partition]] = {}
    for name, partition in _partitions(context, request):
        found.setdefault(name, []).append(partition)
    free, total = context.disk_space()
    here = messages.DescribeLogDirsResult(
        error_code=0,
        log_dir=context.settings.data_dir,
        topics=[
            messages.DescribeLogDirsTopic(name=name, partitions=partitions)
            for name, partitions in found.items()
        ],
        total_bytes=total,
        usable_bytes=free,
    )
    return messages.DescribeLogDirsResponse(results=[here])


failed = top_level(messages.DescribeLogDirsResponse)


def _partitions(
    context: Context, request: messages.DescribeLogDirsRequest
) -> Iterator[tuple[str, Partition]]:
    asked = None
    if request.topics is not None:
        asked = {(one.topic, index) for one in request.topics for index in one.partitions}
    for topic in context.image.topics.values():
        for info in topic.partitions:
            view = context.partition(topic.id, info.index)
            if view is None or (asked is not None and (topic.name, info.index) not in asked):
                continue
            yield (
                topic.name,
                Partition(
                    partition_index=info.index,
                    partition_size=view.size_bytes,
                    offset_lag=max(0, view.high_watermark - view.next_offset),
                ),
            )
