"""ElectLeaders (43): partitions go back to their preferred leaders. Source: KIP-183, KIP-460.

A handover, not an election: the leader gives way when the first replica has everything. An unclean
election is never held: a replica without every acknowledged record cannot lead.
Next: `Context.transfer_leadership`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from quorate_broker.api.context import Call, Context
from quorate_broker.api.failures import top_level
from quorate_broker.api.principal import CLUSTER_NAME, Operation, ResourceType
from quorate_broker.cluster.image import Topic
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire.messages import elect_leaders as messages

_PREFERRED = 0
_AT_ONCE = 16

Place = tuple[str, int]


async def handle(
    context: Context, call: Call, request: messages.ElectLeadersRequest
) -> messages.ElectLeadersResponse:
    allowed = context.authorizer.allows(
        call.principal, Operation.ALTER, ResourceType.CLUSTER, CLUSTER_NAME
    )
    if not allowed:
        return messages.ElectLeadersResponse(error_code=ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    places = list(_places(context, request))
    gate = asyncio.Semaphore(_AT_ONCE)

    async def settle(place: Place) -> KafkaError | None:
        async with gate:
            return await _settle(context, request.election_type, place)

    errors = await asyncio.gather(*map(settle, places))
    answers: dict[str, list[messages.PartitionResult]] = {}
    for (name, index), error in zip(places, errors, strict=True):
        code = 0 if error is None else error.code
        if request.topic_partitions is None and code == ErrorCode.ELECTION_NOT_NEEDED:
            continue  # as Kafka: who asks for all is told of what was done
        answers.setdefault(name, []).append(
            messages.PartitionResult(
                partition_id=index,
                error_code=code,
                error_message=None if error is None else error.message,
            )
        )
    return messages.ElectLeadersResponse(
        replica_election_results=[
            messages.ReplicaElectionResult(topic=name, partition_result=results)
            for name, results in answers.items()
        ]
    )


failed = top_level(messages.ElectLeadersResponse)


def _places(context: Context, request: messages.ElectLeadersRequest) -> Iterator[Place]:
    if request.topic_partitions is not None:
        for asked in request.topic_partitions:
            for index in asked.partitions:
                yield asked.topic, index
        return
    for topic in context.image.topics.values():
        for one in topic.partitions:
            yield topic.name, one.index


async def _settle(context: Context, kind: int, place: Place) -> KafkaError | None:
    """None: the preferred replica leads now."""
    name, index = place
    topic = context.image.topics.get(name)
    if topic is None or not 0 <= index < len(topic.partitions):
        return KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    try:
        await _elect(context, kind, topic, index)
    except KafkaError as error:
        return error
    return None


async def _elect(context: Context, kind: int, topic: Topic, index: int) -> None:
    lead = context.leader(topic.id, index)
    preferred = topic.partitions[index].wanted[0].node_id
    if kind != _PREFERRED:
        if lead.leader_id != -1:
            raise KafkaError(ErrorCode.ELECTION_NOT_NEEDED, "The partition has a leader.")
        raise KafkaError(
            ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE,
            "Only a replica that has every acknowledged record can lead.",
        )
    if lead.leader_id == preferred:
        raise KafkaError(ErrorCode.ELECTION_NOT_NEEDED, "The preferred replica leads already.")
    if lead.leader_id == -1 or preferred not in lead.isr or preferred not in context.live_brokers:
        raise KafkaError(
            ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE,
            f"Broker {preferred} is not in sync, or the partition has no leader to hand over.",
        )
    await context.transfer_leadership(topic.id, index, preferred)
