"""AlterPartitionReassignments (45) and ListPartitionReassignments (46). Source: KIP-455.

What is asked for is a wish in metadata; the partition's own group then gets there by itself, and
is listed here until it has. A replica that is only filled anew, on another disk of the same
broker, adds and removes nobody and is not listed. Next: `cluster.reassignment`, which decides.
"""

from __future__ import annotations

from collections import defaultdict

from quorate_broker.api import admin
from quorate_broker.api.context import Call, Context
from quorate_broker.api.failures import top_level
from quorate_broker.api.principal import CLUSTER_NAME, Operation, ResourceType
from quorate_broker.cluster import commands
from quorate_broker.cluster.commands import Reassignment
from quorate_broker.cluster.image import PartitionInfo, Topic
from quorate_broker.errors import ErrorCode
from quorate_broker.wire.messages import alter_partition_reassignments as altering
from quorate_broker.wire.messages import list_partition_reassignments as listing

_REFUSED = ErrorCode.CLUSTER_AUTHORIZATION_FAILED


def _allowed(context: Context, call: Call, operation: Operation) -> bool:
    return context.authorizer.allows(call.principal, operation, ResourceType.CLUSTER, CLUSTER_NAME)


class Alter:
    """Key 45."""

    @staticmethod
    async def handle(
        context: Context, call: Call, request: altering.AlterPartitionReassignmentsRequest
    ) -> altering.AlterPartitionReassignmentsResponse:
        if not _allowed(context, call, Operation.ALTER):
            return altering.AlterPartitionReassignmentsResponse(error_code=_REFUSED)
        wishes = tuple(
            Reassignment(
                topic.name,
                one.partition_index,
                None if one.replicas is None else tuple(one.replicas),
                not request.allow_replication_factor_change,
            )
            for topic in request.topics
            for one in topic.partitions
        )
        command = commands.ReassignPartitions(wishes)
        results = await admin.results_or_error(context, command, request.timeout_ms, len(wishes))
        answers: dict[str, list[altering.ReassignablePartitionResponse]] = defaultdict(list)
        for wish, result in zip(wishes, results, strict=True):
            answers[wish.topic].append(
                altering.ReassignablePartitionResponse(
                    partition_index=wish.index,
                    error_code=result.code,
                    error_message=result.message,
                )
            )
        return altering.AlterPartitionReassignmentsResponse(
            allow_replication_factor_change=request.allow_replication_factor_change,
            responses=[
                altering.ReassignableTopicResponse(name=name, partitions=partitions)
                for name, partitions in answers.items()
            ],
        )

    failed = staticmethod(top_level(altering.AlterPartitionReassignmentsResponse))


class List:
    """Key 46."""

    @staticmethod
    def handle(
        context: Context, call: Call, request: listing.ListPartitionReassignmentsRequest
    ) -> listing.ListPartitionReassignmentsResponse:
        if not _allowed(context, call, Operation.DESCRIBE):
            return listing.ListPartitionReassignmentsResponse(error_code=_REFUSED)
        found = []
        for topic in context.image.topics.values():
            moving = [one for one in topic.partitions if _is_moving(one)]
            wanted = _wanted(topic, request.topics)
            partitions = [_ongoing(one) for one in moving if wanted is None or one.index in wanted]
            if partitions:
                found.append(
                    listing.OngoingTopicReassignment(name=topic.name, partitions=partitions)
                )
        return listing.ListPartitionReassignmentsResponse(topics=found)

    failed = staticmethod(top_level(listing.ListPartitionReassignmentsResponse))


def _is_moving(info: PartitionInfo) -> bool:
    return info.target is not None and bool(info.adding or info.removing)


def _wanted(topic: Topic, asked: object) -> frozenset[int] | None:
    """Partitions of `topic` that were asked for; None: all of them."""
    if asked is None:
        return None
    assert isinstance(asked, list | tuple)
    return frozenset(i for one in asked if one.name == topic.name for i in one.partition_indexes)


def _ongoing(info: PartitionInfo) -> listing.OngoingPartitionReassignment:
    return listing.OngoingPartitionReassignment(
        partition_index=info.index,
        replicas=info.replicas,
        adding_replicas=info.adding,
        removing_replicas=info.removing,
    )
