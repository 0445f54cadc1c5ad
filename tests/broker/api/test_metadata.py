"""Metadata and DescribeCluster: brokers, topics, leaders, and topics made for the asking."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from quorate_broker.api.context import Leadership
from quorate_broker.api.principal import Operation, ResourceType
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.testing.stub_node import StubNode, ask
from quorate_broker.wire.messages import describe_cluster, metadata


def described(node: StubNode, *names: str | None, version: int = 12, **fields: Any) -> Any:
    """The response about those topics; about all when there are none."""
    wanted = [metadata.MetadataRequestTopic(name=name) for name in names] or None
    return asyncio.run(ask(node, metadata.MetadataRequest(topics=wanted, **fields), version))


class OnlyReads:
    """An authorizer that allows to read and describe topics whose name begins with t."""

    def allows(
        self, principal: object, operation: Operation, resource: ResourceType, name: str
    ) -> bool:
        return operation in (Operation.READ, Operation.DESCRIBE) and name.startswith("t")


class TestBrokers:
    def test_live_brokers_are_told_by_the_address_of_the_clients_listener(self) -> None:
        node = StubNode(brokers=3)
        node.live_brokers = frozenset({1, 3})
        response = described(node)
        assert [(one.node_id, one.host, one.port) for one in response.brokers] == [
            (1, "broker-1.test", 9092),
            (3, "broker-3.test", 9092),
        ]
        assert response.cluster_id == "stub-cluster"

    def test_a_broker_without_that_listener_is_not_told(self) -> None:
        node = StubNode()
        node.topic("t")
        response = asyncio.run(ask(node, metadata.MetadataRequest(), 12, listener="OTHER"))
        assert response.brokers == []
        (partition,) = response.topics[0].partitions
        assert (partition.error_code, partition.leader_id) == (ErrorCode.LISTENER_NOT_FOUND, -1)

    def test_the_controller_is_the_metadata_leader(self) -> None:
        node = StubNode(brokers=3)
        node.controller_id = 3
        assert described(node).controller_id == 3

    def test_a_leader_that_cannot_be_reached_is_stood_in_for_by_this_broker(self) -> None:
        node = StubNode(brokers=3)
        node.controller_id = 3
        node.live_brokers = frozenset({1, 2})
        assert described(node).controller_id == 1
        node.controller_id = -1
        assert described(node).controller_id == -1

    def test_describe_cluster_tells_the_same(self) -> None:
        node = StubNode(brokers=2)
        request = describe_cluster.DescribeClusterRequest(
            include_cluster_authorized_operations=True
        )
        response = asyncio.run(ask(node, request, 1))
        assert (response.error_code, response.cluster_id) == (0, "stub-cluster")
        assert [broker.broker_id for broker in response.brokers] == [1, 2]
        assert response.controller_id == 1
        assert response.cluster_authorized_operations & 1 << Operation.CREATE

    def test_controllers_cannot_be_described(self) -> None:
        request = describe_cluster.DescribeClusterRequest(endpoint_type=2)
        response = asyncio.run(ask(StubNode(), request, 1))
        assert response.error_code == ErrorCode.UNSUPPORTED_ENDPOINT_TYPE


class TestTopics:
    def test_all_topics_by_null_or_in_v0_by_an_empty_list(self) -> None:
        node = StubNode()
        node.topic("a")
        node.topic("b", partitions=2)
        for version in (1, 5, 12):
            response = described(node, version=version)
            assert [(t.name, len(t.partitions)) for t in response.topics] == [("a", 1), ("b", 2)]
        empty = metadata.MetadataRequest(topics=[])
        assert len(asyncio.run(ask(node, empty, 0)).topics) == 2
        assert asyncio.run(ask(node, empty, 1)).topics == []

    def test_a_partition_with_its_leader_epoch_and_replicas(self) -> None:
        node = StubNode(brokers=3)
        node.topic("t", replicas=3)
        topic_id = node.image.topics["t"].id
        replicas = node.image.topics["t"].partitions[0].replicas
        node.leaders[topic_id, 0] = Leadership(2, 7, (2, 3))
        node.live_brokers = frozenset({1, 2})
        (answer,) = described(node, "t").topics
        assert answer.topic_id == topic_id
        (partition,) = answer.partitions
        assert (partition.error_code, partition.leader_id, partition.leader_epoch) == (0, 2, 7)
        assert partition.replica_nodes == replicas
        assert tuple(partition.isr_nodes) == (2, 3)
        assert partition.offline_replicas == [3]

    def test_a_partition_whose_leader_is_not_known_or_not_alive_has_none(self) -> None:
        node = StubNode(brokers=3)
        node.topic("t", replicas=3)
        key = node.image.topics["t"].id, 0
        for leadership in (Leadership(), Leadership(3, 4, (3,))):
            node.leaders[key] = leadership
            node.live_brokers = frozenset({1, 2})
            (partition,) = described(node, "t").topics[0].partitions
            assert partition.error_code == ErrorCode.LEADER_NOT_AVAILABLE
            assert partition.leader_id == -1

    def test_a_topic_by_its_id(self) -> None:
        node = StubNode()
        node.topic("t")
        wanted = metadata.MetadataRequestTopic(name=None, topic_id=node.image.topics["t"].id)
        response = asyncio.run(ask(node, metadata.MetadataRequest(topics=[wanted]), 12))
        assert (response.topics[0].error_code, response.topics[0].name) == (0, "t")

    def test_an_id_that_nobody_has(self) -> None:
        wanted = metadata.MetadataRequestTopic(name=None, topic_id=uuid.UUID(int=5))
        response = asyncio.run(ask(StubNode(), metadata.MetadataRequest(topics=[wanted]), 12))
        (answer,) = response.topics
        assert (answer.error_code, answer.name) == (ErrorCode.UNKNOWN_TOPIC_ID, None)
        assert answer.topic_id == uuid.UUID(int=5)

    def test_rights_are_told_when_asked_for(self) -> None:
        node = StubNode()
        node.topic("t")
        node.authorizer = OnlyReads()
        (answer,) = described(node, "t", include_topic_authorized_operations=True).topics
        assert answer.topic_authorized_operations == 1 << Operation.READ | 1 << Operation.DESCRIBE
        (answer,) = described(node, "t").topics
        assert answer.topic_authorized_operations == -(1 << 31)

    def test_what_one_may_not_see_is_refused_by_name_and_left_out_of_all(self) -> None:
        node = StubNode()
        node.topic("t")
        node.topic("secret")
        node.authorizer = OnlyReads()
        assert [topic.name for topic in described(node).topics] == ["t"]
        (answer,) = described(node, "secret").topics
        assert answer.error_code == ErrorCode.TOPIC_AUTHORIZATION_FAILED


class TestAutoCreation:
    def test_a_topic_that_does_not_exist_is_made(self) -> None:
        node = StubNode(num_partitions=3)
        (answer,) = described(node, "new").topics
        assert (answer.error_code, len(answer.partitions)) == (0, 3)
        assert "new" in node.image.topics

    def test_several_are_made_by_one_command(self) -> None:
        node = StubNode()
        described(node, "a", "b", "a")
        (command,) = node.commands
        assert [new.name for new in command.topics] == ["a", "b"]  # type: ignore[attr-defined]

    @pytest.mark.parametrize("version", [1, 3])
    def test_old_versions_cannot_say_no(self, version: int) -> None:
        node = StubNode()
        described(node, "new", version=version)
        assert "new" in node.image.topics

    def test_not_when_the_client_does_not_want_it(self) -> None:
        node = StubNode()
        (answer,) = described(node, "new", allow_auto_topic_creation=False).topics
        assert answer.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert not node.commands

    def test_not_when_the_broker_does_not_want_it(self) -> None:
        node = StubNode(auto_create_topics_enable=False)
        (answer,) = described(node, "new").topics
        assert answer.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert not node.commands

    @pytest.mark.parametrize("name", ["", ".", "..", "a b", "ü", "x" * 250, "a/b", "a\n"])
    def test_not_with_a_name_that_is_not_legal(self, name: str) -> None:
        node = StubNode()
        (answer,) = described(node, name).topics
        assert answer.error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
        assert not node.commands

    @pytest.mark.parametrize("code", [ErrorCode.NOT_CONTROLLER, ErrorCode.REQUEST_TIMED_OUT])
    def test_without_a_metadata_leader_the_client_is_to_ask_again(self, code: ErrorCode) -> None:
        node = StubNode()
        node.unreachable = KafkaError(code)
        (answer,) = described(node, "new").topics
        assert answer.error_code == ErrorCode.LEADER_NOT_AVAILABLE

    def test_the_leaders_refusal_is_the_topics_error(self) -> None:
        node = StubNode(num_partitions=9999)
        decisions = node._machine._topics
        decisions.defaults = type(decisions.defaults)(1, 5)
        (answer,) = described(node, "new").topics
        assert answer.error_code == ErrorCode.INVALID_REPLICATION_FACTOR

    def test_the_offsets_topic_is_made_as_an_internal_one(self) -> None:
        node = StubNode()
        (answer,) = described(node, "__consumer_offsets").topics
        assert (answer.error_code, answer.is_internal) == (0, True)
