"""Metadata (3): which brokers there are, which topics, and who leads what.

Only live brokers are named, each with the address that belongs to the listener the client came in
on. Where partitions live comes from the metadata image; who leads them is soft state of this node
(`Context.leader`). A topic that does not exist is created when both sides allow it; until this
node has heard who leads it the answer is LEADER_NOT_AVAILABLE, and clients ask again.
Next: `create_topics`.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Coroutine, Sequence
from typing import Any

from quorate_broker.api import admin, brokers, rights, topics
from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import CLUSTER_NAME, Operation, ResourceType
from quorate_broker.cluster import commands
from quorate_broker.cluster.image import PartitionInfo, Topic
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire.messages import metadata

Answer = metadata.MetadataResponseTopic
Refusals = dict[str, ErrorCode]
"""Topics that could not be created, and why."""


def handle(
    context: Context, call: Call, request: metadata.MetadataRequest
) -> metadata.MetadataResponse | Coroutine[Any, Any, metadata.MetadataResponse]:
    missing = _creatable(context, call, request)
    if missing:
        return _create_first(context, call, request, missing)
    return _response(context, call, request, {})


def failed(
    call: Call, request: metadata.MetadataRequest, code: ErrorCode
) -> metadata.MetadataResponse:
    return metadata.MetadataResponse(
        topics=[
            Answer(error_code=code, name=one.name or "", topic_id=one.topic_id)
            for one in request.topics or ()
        ]
    )


# -------------------------------------------------------------------------------- auto-creation


def _creatable(context: Context, call: Call, request: metadata.MetadataRequest) -> list[str]:
    """Topics asked for that do not exist, and may be created for the asking."""
    if not request.topics or not request.allow_auto_topic_creation:
        return []
    if not context.settings.auto_create_topics_enable:
        return []
    known = context.image.topics
    names = dict.fromkeys(one.name for one in request.topics if one.name and one.name not in known)
    return [
        name
        for name in names
        if topics.name_problem(name) is None
        and topics.allowed(context, call, Operation.CREATE, name)
    ]


async def _create_first(
    context: Context, call: Call, request: metadata.MetadataRequest, missing: list[str]
) -> metadata.MetadataResponse:
    refusals: Refusals = {}
    try:
        if topics.INTERNAL_TOPICS & set(missing):
            await context.ensure_internal_topic()
        ours = [name for name in missing if name not in topics.INTERNAL_TOPICS]
        if ours:
            refusals = await _create(context, ours)
    except KafkaError as error:
        # Nobody leads the metadata just now: whoever asks again may be luckier.
        code = ErrorCode.LEADER_NOT_AVAILABLE if error.code.retriable else error.code
        refusals = dict.fromkeys(missing, code)
    await admin.await_leaders(context, [name for name in missing if name not in refusals])
    return _response(context, call, request, dict.fromkeys(missing, _NOT_YET) | refusals)


async def _create(context: Context, names: Sequence[str]) -> Refusals:
    command = commands.CreateTopics(tuple(commands.NewTopic(name) for name in names))
    reply: commands.TopicResults = await context.controller(command)
    return {
        result.name: ErrorCode(result.code)
        for result in reply.results
        if result.name is not None and result.code not in (0, ErrorCode.TOPIC_ALREADY_EXISTS)
    }


_NOT_YET = ErrorCode.LEADER_NOT_AVAILABLE


# -------------------------------------------------------------------------------------- answers


def _response(
    context: Context, call: Call, request: metadata.MetadataRequest, refusals: Refusals
) -> metadata.MetadataResponse:
    image = context.image
    reachable = list(brokers.reachable(context, image, call.listener))
    ids = frozenset(broker.node_id for broker, _ in reachable)
    response = metadata.MetadataResponse(
        brokers=[
            metadata.MetadataResponseBroker(
                node_id=broker.node_id, host=endpoint.host, port=endpoint.port, rack=broker.rack
            )
            for broker, endpoint in reachable
        ],
        cluster_id=image.cluster_id or None,
        controller_id=brokers.controller(context, ids),
        topics=_Topics(context, call, request, ids).answers(refusals),
    )
    if request.include_cluster_authorized_operations:
        response.cluster_authorized_operations = rights.authorized_operations(
            context, call, ResourceType.CLUSTER, CLUSTER_NAME
        )
    return response


class _Topics:
    """Makes the answers about topics."""

    def __init__(
        self,
        context: Context,
        call: Call,
        request: metadata.MetadataRequest,
        reachable: Collection[int],
    ) -> None:
        self._context = context
        self._call = call
        self._request = request
        self._reachable = reachable
        self._live = context.live_brokers

    def answers(self, refusals: Refusals) -> list[Answer]:
        wanted = self._request.topics
        image = self._context.image
        if wanted is None or (not wanted and self._call.version == 0):
            visible = (topic for topic in image.topics.values() if self._visible(topic))
            return [self._topic(topic) for topic in visible]
        answers = []
        for one in wanted:
            if one.name is None:
                answers.append(self._by_id(one.topic_id))
            else:
                answers.append(self._by_name(one.name, refusals))
        return answers

    def _visible(self, topic: Topic) -> bool:
        return topics.allowed(self._context, self._call, Operation.DESCRIBE, topic.name)

    def _by_name(self, name: str, refusals: Refusals) -> Answer:
        topic = self._context.image.topics.get(name)
        if not topics.allowed(self._context, self._call, Operation.DESCRIBE, name):
            code = ErrorCode.TOPIC_AUTHORIZATION_FAILED
        elif topic is not None:
            return self._topic(topic)
        elif topics.name_problem(name) is not None:
            code = ErrorCode.INVALID_TOPIC_EXCEPTION
        else:
            code = refusals.get(name, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return Answer(error_code=code, name=name, is_internal=name in topics.INTERNAL_TOPICS)

    def _by_id(self, topic_id: uuid.UUID) -> Answer:
        topic = self._context.image.topics_by_id.get(topic_id)
        if topic is None or not self._visible(topic):
            code = ErrorCode.UNKNOWN_TOPIC_ID
            # Only from v12 on may a name be missing from the answer.
            name = None if self._call.version >= _NULL_NAME_SINCE_VERSION else ""
            return Answer(error_code=code, name=name, topic_id=topic_id)
        return self._topic(topic)

    def _topic(self, topic: Topic) -> Answer:
        answer = Answer(
            error_code=0,
            name=topic.name,
            topic_id=topic.id,
            is_internal=topic.internal,
            partitions=[self._partition(topic, one) for one in topic.partitions],
        )
        if self._request.include_topic_authorized_operations:
            answer.topic_authorized_operations = rights.authorized_operations(
                self._context, self._call, ResourceType.TOPIC, topic.name
            )
        return answer

    def _partition(
        self, topic: Topic, partition: PartitionInfo
    ) -> metadata.MetadataResponsePartition:
        leadership = self._context.leader(topic.id, partition.index)
        leader = leadership.leader_id
        code = 0
        if leader not in self._live:
            code, leader = ErrorCode.LEADER_NOT_AVAILABLE, -1
        elif leader not in self._reachable:
            code, leader = ErrorCode.LISTENER_NOT_FOUND, -1
        replicas = partition.replicas
        return metadata.MetadataResponsePartition(
            error_code=code,
            partition_index=partition.index,
            leader_id=leader,
            leader_epoch=leadership.epoch,
            replica_nodes=replicas,
            isr_nodes=leadership.isr,
            offline_replicas=[i for i in replicas if i not in self._live],
        )


_NULL_NAME_SINCE_VERSION = 12
