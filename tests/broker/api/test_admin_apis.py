"""CreateTopics, DeleteTopics, CreatePartitions: what is judged here, and the way to the leader."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.testing.kafka_client import until
from quorate_broker.testing.stub_node import StubNode, ask
from quorate_broker.wire.messages import create_partitions, create_topics, delete_topics


def new(name: str, partitions: int = 1, replicas: int = 1, **fields: Any) -> Any:
    return create_topics.CreatableTopic(
        name=name, num_partitions=partitions, replication_factor=replicas, **fields
    )


def create(node: StubNode, *topics: Any, version: int = 7, validate_only: bool = False) -> Any:
    request = create_topics.CreateTopicsRequest(
        topics=topics, timeout_ms=1000, validate_only=validate_only
    )
    return asyncio.run(ask(node, request, version)).topics


def config(name: str, value: str | None) -> Any:
    return create_topics.CreatableTopicConfig(name=name, value=value)


def assigned(*replicas: tuple[int, ...]) -> list[Any]:
    return [
        create_topics.CreatableReplicaAssignment(partition_index=i, broker_ids=brokers)
        for i, brokers in enumerate(replicas)
    ]


class TestCreateTopics:
    def test_a_topic_is_made_and_described(self) -> None:
        node = StubNode(brokers=3)
        (answer,) = create(node, new("t", 4, 3, configs=[config("max.message.bytes", "2000")]))
        assert (answer.error_code, answer.num_partitions, answer.replication_factor) == (0, 4, 3)
        assert answer.topic_id == node.image.topics["t"].id
        values = {one.name: (one.value, one.config_source) for one in answer.configs}
        assert values["max.message.bytes"] == ("2000", 1)
        assert values["segment.bytes"] == (str(1 << 30), 5)

    @pytest.mark.parametrize("version", [3, 4, 7])
    def test_the_clusters_defaults_may_be_asked_for_in_any_version(self, version: int) -> None:
        """KafkaJS asks for them in version 3, as Kafka lets it."""
        node = StubNode(num_partitions=5)
        (answer,) = create(node, new("t", -1, -1), version=version)
        assert answer.error_code == 0
        assert len(node.image.topics["t"].partitions) == 5

    @pytest.mark.parametrize(
        ("topic", "code"),
        [
            (new("bad name"), ErrorCode.INVALID_TOPIC_EXCEPTION),
            (new(""), ErrorCode.INVALID_TOPIC_EXCEPTION),
            (new("ta.b"), ErrorCode.INVALID_TOPIC_EXCEPTION),
            (new("exists"), ErrorCode.TOPIC_ALREADY_EXISTS),
            (new("t", 0), ErrorCode.INVALID_PARTITIONS),
            (new("t", -2), ErrorCode.INVALID_PARTITIONS),
            (new("t", 1, 0), ErrorCode.INVALID_REPLICATION_FACTOR),
            (new("t", 1, 4), ErrorCode.INVALID_REPLICATION_FACTOR),
            (new("t", configs=[config("no.such.key", "1")]), ErrorCode.INVALID_CONFIG),
            (new("t", configs=[config("segment.bytes", None)]), ErrorCode.INVALID_CONFIG),
            (new("t", configs=[config("segment.bytes", "few")]), ErrorCode.INVALID_CONFIG),
            (new("t", configs=[config("segment.bytes", "1")]), ErrorCode.INVALID_CONFIG),
            (new("t", configs=[config("cleanup.policy", "shred")]), ErrorCode.INVALID_CONFIG),
            (new("t", 2, 1, assignments=assigned((1,))), ErrorCode.INVALID_REQUEST),
            (new("t", -1, -1, assignments=assigned((9,))), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
            (
                new("t", -1, -1, assignments=assigned((1,), (1, 2))),
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            ),
            (
                new("t", -1, -1, assignments=assigned((1,)) * 2),
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            ),
        ],
    )
    def test_what_cannot_be_is_refused_and_fails_nothing_else(
        self, topic: Any, code: ErrorCode
    ) -> None:
        node = StubNode(brokers=3)
        node.topic("exists")
        node.topic("ta_b")
        bad, good = create(node, topic, new("good"))
        assert bad.error_code == code
        assert good.error_code == 0
        assert set(node.image.topics) == {"exists", "ta_b", "good"}

    def test_a_topic_named_twice_is_refused_once(self) -> None:
        node = StubNode()
        twice, good = create(node, new("t"), new("good"), new("t"))
        assert (twice.name, twice.error_code) == ("t", ErrorCode.INVALID_REQUEST)
        assert good.error_code == 0
        assert "t" not in node.image.topics

    def test_asking_whether_it_would_work_changes_nothing(self) -> None:
        node = StubNode()
        (answer,) = create(node, new("t", 3), validate_only=True)
        assert (answer.error_code, answer.num_partitions) == (0, 3)
        assert not node.image.topics

    def test_replicas_may_be_assigned_by_hand(self) -> None:
        node = StubNode(brokers=3)
        (answer,) = create(node, new("t", -1, -1, assignments=assigned((3, 1), (2, 3))))
        assert answer.error_code == 0
        replicas = [one.replicas for one in node.image.topics["t"].partitions]
        assert replicas == [(3, 1), (2, 3)]

    def test_the_answer_waits_a_moment_for_the_topic_to_be_led(self) -> None:
        node = StubNode()
        node.hold_leaders = True

        async def run() -> None:
            request = create_topics.CreateTopicsRequest(topics=[new("t")], timeout_ms=1000)
            asked = asyncio.create_task(ask(node, request, 7))
            await until(lambda: "t" in node.image.topics)
            await asyncio.sleep(0)
            assert not asked.done()
            node.lead_all()
            assert (await asked).topics[0].error_code == 0

        asyncio.run(run())

    def test_but_not_for_long(self) -> None:
        node = StubNode()
        node.hold_leaders = True

        async def run() -> None:
            request = create_topics.CreateTopicsRequest(topics=[new("t")], timeout_ms=1000)
            asked = asyncio.create_task(ask(node, request, 7))
            await until(lambda: "t" in node.image.topics)
            node.clock.now_ms += 1_000
            assert (await asked).topics[0].error_code == 0

        asyncio.run(run())

    def test_a_key_with_one_possible_value_may_be_set_to_it(self) -> None:
        node = StubNode()
        (answer,) = create(node, new("t", configs=[config("compression.type", "producer")]))
        assert answer.error_code == 0
        assert node.image.topics["t"].config == {}

    def test_a_metadata_leader_that_cannot_be_reached_is_every_topics_error(self) -> None:
        node = StubNode()
        node.unreachable = KafkaError(ErrorCode.NOT_CONTROLLER, "nobody leads")
        answers = create(node, new("a"), new("bad name"), new("b"))
        codes = [answer.error_code for answer in answers]
        nobody = ErrorCode.NOT_CONTROLLER
        assert codes == [nobody, ErrorCode.INVALID_TOPIC_EXCEPTION, nobody]


class TestDeleteTopics:
    def test_by_name(self) -> None:
        node = StubNode()
        node.topic("t")
        request = delete_topics.DeleteTopicsRequest(topic_names=["t", "missing"], timeout_ms=1000)
        deleted, missing = asyncio.run(ask(node, request, 5)).responses
        assert (deleted.name, deleted.error_code) == ("t", 0)
        assert missing.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert not node.image.topics

    def test_by_id_or_name_in_one_request(self) -> None:
        node = StubNode()
        for name in "abc":
            node.topic(name)
        wanted = [
            delete_topics.DeleteTopicState(name=None, topic_id=node.image.topics["b"].id),
            delete_topics.DeleteTopicState(name="a"),
            delete_topics.DeleteTopicState(name=None, topic_id=uuid.UUID(int=9)),
        ]
        request = delete_topics.DeleteTopicsRequest(topics=wanted, timeout_ms=1000)
        by_id, by_name, unknown = asyncio.run(ask(node, request, 6)).responses
        assert (by_id.name, by_id.topic_id, by_id.error_code) == ("b", wanted[0].topic_id, 0)
        assert (by_name.name, by_name.error_code) == ("a", 0)
        assert (unknown.name, unknown.error_code) == (None, ErrorCode.UNKNOWN_TOPIC_ID)
        assert set(node.image.topics) == {"c"}

    def test_neither_both_nor_none_nor_twice(self) -> None:
        node = StubNode()
        node.topic("t")
        topic_id = node.image.topics["t"].id
        wanted = [
            delete_topics.DeleteTopicState(name="t", topic_id=topic_id),
            delete_topics.DeleteTopicState(name=None),
            delete_topics.DeleteTopicState(name="t"),
            delete_topics.DeleteTopicState(name="t"),
        ]
        request = delete_topics.DeleteTopicsRequest(topics=wanted, timeout_ms=1000)
        answers = asyncio.run(ask(node, request, 6)).responses
        assert [answer.error_code for answer in answers] == [ErrorCode.INVALID_REQUEST] * 3
        assert "t" in node.image.topics


class TestCreatePartitions:
    def grow(self, node: StubNode, *topics: tuple[str, int], validate_only: bool = False) -> Any:
        request = create_partitions.CreatePartitionsRequest(
            topics=[
                create_partitions.CreatePartitionsTopic(name=name, count=count)
                for name, count in topics
            ],
            timeout_ms=1000,
            validate_only=validate_only,
        )
        return asyncio.run(ask(node, request, 3)).results

    def test_a_topic_grows_to_the_count(self) -> None:
        node = StubNode()
        node.topic("t")
        (answer,) = self.grow(node, ("t", 3))
        assert (answer.name, answer.error_code) == ("t", 0)
        assert len(node.image.topics["t"].partitions) == 3

    def test_each_topic_has_its_own_answer(self) -> None:
        node = StubNode()
        node.topic("t", partitions=2)
        node.topic("u")
        answers = self.grow(node, ("t", 2), ("missing", 5), ("u", 2), ("u", 3))
        assert [(answer.name, answer.error_code) for answer in answers] == [
            ("t", ErrorCode.INVALID_PARTITIONS),
            ("missing", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
            ("u", ErrorCode.INVALID_REQUEST),
        ]

    def test_asking_whether_it_would_work_changes_nothing(self) -> None:
        node = StubNode()
        node.topic("t")
        (answer,) = self.grow(node, ("t", 3), validate_only=True)
        assert answer.error_code == 0
        assert len(node.image.topics["t"].partitions) == 1
