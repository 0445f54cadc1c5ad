"""CreateTopics (19): what can be judged here is judged here, the rest by the metadata leader.

Here: names, configurations, what a version may say, topics named twice. There: whether the topic
exists, numbers of partitions and replicas, assignments. One bad topic fails nothing else.
Next: `cluster.machine`, which decides.
"""

from __future__ import annotations

import uuid
from collections import Counter

from quorate_broker.api import admin, configs, topics
from quorate_broker.api.context import Call, Context
from quorate_broker.api.principal import CLUSTER_NAME, Operation, ResourceType
from quorate_broker.cluster import commands
from quorate_broker.cluster.commands import NewTopic, TopicResult
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire.messages import create_topics

_DEFAULT = -1

Answer = create_topics.CreatableTopicResult


async def handle(
    context: Context, call: Call, request: create_topics.CreateTopicsRequest
) -> create_topics.CreateTopicsResponse:
    named = Counter(topic.name for topic in request.topics)
    answers: dict[str, Answer] = {}
    good: list[NewTopic] = []
    for topic in request.topics:
        try:
            if named[topic.name] > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
            good.append(_checked(context, call, topic))
        except KafkaError as error:
            answers[topic.name] = _refused(topic.name, error.code, error.message)
    if good:
        command = commands.CreateTopics(tuple(good), request.validate_only)
        results = await admin.results_or_error(context, command, request.timeout_ms, len(good))
        for new, result in zip(good, results, strict=True):
            answers[new.name] = _answer(context, new, result)
        made = [result.name for result in results if result.name and not result.code]
        if not request.validate_only:
            await admin.await_leaders(context, made)
    return create_topics.CreateTopicsResponse(
        topics=[answers[name] for name in dict.fromkeys(topic.name for topic in request.topics)]
    )


def failed(
    call: Call, request: create_topics.CreateTopicsRequest, code: ErrorCode
) -> create_topics.CreateTopicsResponse:
    return create_topics.CreateTopicsResponse(
        topics=[_refused(topic.name, code, None) for topic in request.topics]
    )


def _checked(context: Context, call: Call, topic: create_topics.CreatableTopic) -> NewTopic:
    """The topic as the metadata leader wants it; raises KafkaError."""
    if not _may_create(context, call, topic.name):
        raise KafkaError(ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    problem = topics.name_problem(topic.name)
    if problem is not None:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, problem)
    others = topics.collisions(context.image, topic.name)
    if others:
        raise KafkaError(
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            f"Topic '{topic.name}' collides with existing topic: {', '.join(others)}",
        )
    if not topic.assignments:
        _check_counts(topic)
    try:
        own = configs.check_topic((one.name, one.value) for one in topic.configs)
    except configs.BadConfig as error:
        raise KafkaError(ErrorCode.INVALID_CONFIG, str(error)) from error
    return NewTopic(
        topic.name,
        topic.num_partitions,
        topic.replication_factor,
        _assignments(topic),
        own,
        topic.name in topics.INTERNAL_TOPICS,
    )


def _may_create(context: Context, call: Call, name: str) -> bool:
    allows = context.authorizer.allows
    return allows(call.principal, Operation.CREATE, ResourceType.CLUSTER, CLUSTER_NAME) or allows(
        call.principal, Operation.CREATE, ResourceType.TOPIC, name
    )


def _check_counts(topic: create_topics.CreatableTopic) -> None:
    # KIP-464 lets clients ask for the defaults by -1 from v4 on, but Kafka takes it in any version,
    # and KafkaJS, which speaks v3, relies on that.
    if topic.num_partitions < 1 and topic.num_partitions != _DEFAULT:
        raise KafkaError(
            ErrorCode.INVALID_PARTITIONS,
            "Number of partitions must be larger than 0, or -1 to use the default value.",
        )
    if topic.replication_factor < 1 and topic.replication_factor != _DEFAULT:
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        )


def _assignments(topic: create_topics.CreatableTopic) -> dict[int, tuple[int, ...]] | None:
    if not topic.assignments:
        return None
    made: dict[int, tuple[int, ...]] = {}
    for one in topic.assignments:
        if one.partition_index in made:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"Found multiple assignments for partition {one.partition_index}",
            )
        made[one.partition_index] = tuple(one.broker_ids)
    if len({len(replicas) for replicas in made.values()}) > 1:
        raise KafkaError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "All partitions should have the same number of replicas.",
        )
    return made


def _answer(context: Context, new: NewTopic, result: TopicResult) -> Answer:
    if result.code:
        return _refused(new.name, ErrorCode(result.code), result.message)
    return Answer(
        name=new.name,
        topic_id=uuid.UUID(result.topic_id) if result.topic_id else topics.NO_ID,
        error_code=0,
        num_partitions=result.partitions,
        replication_factor=result.replication_factor,
        configs=[
            create_topics.CreatableTopicConfigs(
                name=entry.name,
                value=entry.value,
                read_only=entry.read_only,
                config_source=entry.source,
            )
            for entry in configs.of_topic(context.live, new.config)
        ],
    )


def _refused(name: str, code: ErrorCode, message: str | None) -> Answer:
    return Answer(name=name, error_code=code, error_message=message)
