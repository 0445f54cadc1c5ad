"""The admin halves of unmodified clients, against three real brokers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, Protocol, TypeVar

import aiokafka.admin
import confluent_kafka.admin
import pytest

from quorate_broker.testing import processes
from quorate_broker.testing.clients import AioKafka, Confluent, KafkaPython, Message, kafka

pytestmark = pytest.mark.process

T = TypeVar("T")
TIMEOUT_S = 15


class Admin(Protocol):
    """What is asked of each of them."""

    name: str

    def create(self, topic: str, partitions: int, replicas: int, **config: str) -> None: ...

    def delete(self, topic: str) -> None: ...

    def grow(self, topic: str, partitions: int) -> None: ...

    def topics(self) -> set[str]: ...

    def replicas(self, topic: str) -> dict[int, list[int]]:
        """partition -> the brokers that keep it"""

    def config(self, topic: str) -> Mapping[str, str]: ...

    def cluster(self) -> tuple[str, int, set[int]]:
        """Cluster id, controller, brokers."""

    def groups(self) -> set[str]: ...

    def group(self, group: str) -> tuple[str, int]:
        """State and number of members."""

    def delete_group(self, group: str) -> None:
        """Raises `refused` when that cannot be."""

    refused: type[Exception]


class ConfluentAdmin:
    name = "confluent-kafka"
    refused = confluent_kafka.KafkaException

    def __init__(self, bootstrap: str) -> None:
        self._admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})

    def _one(self, futures: Mapping[Any, Any]) -> Any:
        (future,) = futures.values()
        return future.result(TIMEOUT_S)

    def create(self, topic: str, partitions: int, replicas: int, **config: str) -> None:
        new = confluent_kafka.admin.NewTopic(topic, partitions, replicas, config=dotted(config))
        self._one(self._admin.create_topics([new]))

    def delete(self, topic: str) -> None:
        self._one(self._admin.delete_topics([topic]))

    def grow(self, topic: str, partitions: int) -> None:
        new = confluent_kafka.admin.NewPartitions(topic, partitions)
        self._one(self._admin.create_partitions([new]))

    def topics(self) -> set[str]:
        return set(self._admin.list_topics(timeout=TIMEOUT_S).topics)

    def replicas(self, topic: str) -> dict[int, list[int]]:
        known = self._admin.list_topics(topic, TIMEOUT_S).topics[topic].partitions
        return {index: one.replicas for index, one in known.items()}

    def config(self, topic: str) -> Mapping[str, str]:
        wanted = confluent_kafka.admin.ConfigResource("topic", topic)
        entries = self._one(self._admin.describe_configs([wanted]))
        return {name: entry.value for name, entry in entries.items()}

    def cluster(self) -> tuple[str, int, set[int]]:
        found = self._admin.describe_cluster().result(TIMEOUT_S)
        return found.cluster_id, found.controller.id, {node.id for node in found.nodes}

    def groups(self) -> set[str]:
        found = self._admin.list_consumer_groups().result(TIMEOUT_S)
        assert found.errors == []
        return {one.group_id for one in found.valid}

    def group(self, group: str) -> tuple[str, int]:
        found = self._one(self._admin.describe_consumer_groups([group]))
        return found.state.name.capitalize(), len(found.members)

    def delete_group(self, group: str) -> None:
        self._one(self._admin.delete_consumer_groups([group]))


class KafkaPythonAdmin:
    name = "kafka-python"
    refused = kafka.errors.KafkaError

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def _ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        admin = kafka.KafkaAdminClient(bootstrap_servers=self._bootstrap)
        try:
            return getattr(admin, method)(*arguments, **named)
        finally:
            admin.close()

    def create(self, topic: str, partitions: int, replicas: int, **config: str) -> None:
        options = {"num_partitions": partitions, "replication_factor": replicas}
        self._ask("create_topics", {topic: {**options, "configs": dotted(config)}})

    def delete(self, topic: str) -> None:
        self._ask("delete_topics", [topic])

    def grow(self, topic: str, partitions: int) -> None:
        self._ask("create_partitions", {topic: partitions})

    def topics(self) -> set[str]:
        return set(self._ask("list_topics"))

    def replicas(self, topic: str) -> dict[int, list[int]]:
        (found,) = self._ask("describe_topics", [topic])
        return {one["partition_index"]: one["replica_nodes"] for one in found["partitions"]}

    def config(self, topic: str) -> Mapping[str, str]:
        wanted = kafka.admin.ConfigResource("topic", topic)
        found = self._ask("describe_configs", [wanted], config_filter="all")
        return {name: one["value"] for name, one in found["topic"][topic].items()}

    def cluster(self) -> tuple[str, int, set[int]]:
        found = self._ask("describe_cluster")
        ids = {one["broker_id"] for one in found["brokers"]}
        return found["cluster_id"], found["controller_id"], ids

    def groups(self) -> set[str]:
        return {one["group_id"] for one in self._ask("list_groups")}

    def group(self, group: str) -> tuple[str, int]:
        found = self._ask("describe_groups", [group])[group]
        return found["group_state"], len(found["members"])

    def delete_group(self, group: str) -> None:
        result = self._ask("delete_groups", [group])[group]
        if result != "OK":
            raise kafka.errors.KafkaError(result)


class AioKafkaAdmin:
    """It deletes no groups; confluent-kafka does it in its place."""

    name = "aiokafka"
    refused = confluent_kafka.KafkaException

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def _ask(self, ask: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        async def asked() -> T:
            admin = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
            async with asyncio.timeout(TIMEOUT_S):
                await admin.start()
                try:
                    return await ask(admin)
                finally:
                    await admin.close()

        return asyncio.run(asked())

    def create(self, topic: str, partitions: int, replicas: int, **config: str) -> None:
        new = aiokafka.admin.NewTopic(topic, partitions, replicas, topic_configs=dotted(config))
        done = self._ask(lambda admin: admin.create_topics([new]))
        assert [one[1] for one in done.topic_errors] == [0]

    def delete(self, topic: str) -> None:
        done = self._ask(lambda admin: admin.delete_topics([topic]))
        assert done.topic_error_codes == [(topic, 0)]

    def grow(self, topic: str, partitions: int) -> None:
        new = aiokafka.admin.NewPartitions(partitions)
        done = self._ask(lambda admin: admin.create_partitions({topic: new}))
        assert done.topic_errors == [(topic, 0, None)]

    def topics(self) -> set[str]:
        return set(self._ask(lambda admin: admin.list_topics()))

    def replicas(self, topic: str) -> dict[int, list[int]]:
        (found,) = self._ask(lambda admin: admin.describe_topics([topic]))
        return {one["partition"]: one["replicas"] for one in found["partitions"]}

    def config(self, topic: str) -> Mapping[str, str]:
        wanted = aiokafka.admin.config_resource.ConfigResource(
            aiokafka.admin.config_resource.ConfigResourceType.TOPIC, topic
        )
        (found,) = self._ask(lambda admin: admin.describe_configs([wanted]))
        ((_, _, _, _, entries),) = found.resources
        return {entry[0]: entry[1] for entry in entries}

    def cluster(self) -> tuple[str, int, set[int]]:
        found = self._ask(lambda admin: admin.describe_cluster())
        ids = {one["node_id"] for one in found["brokers"]}
        return found["cluster_id"], found["controller_id"], ids

    def groups(self) -> set[str]:
        return {name for name, _ in self._ask(lambda admin: admin.list_consumer_groups())}

    def group(self, group: str) -> tuple[str, int]:
        (found,) = self._ask(lambda admin: admin.describe_consumer_groups([group]))
        ((_, _, state, _, _, members, *_),) = found.groups
        return state, len(members)

    def delete_group(self, group: str) -> None:
        ConfluentAdmin(self._bootstrap).delete_group(group)


def dotted(config: Mapping[str, str]) -> dict[str, str]:
    """Keyword arguments cannot hold dots."""
    return {name.replace("_", "."): value for name, value in config.items()}


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[processes.Cluster]:
    """Three, for all tests of this file."""
    with processes.cluster(tmp_path_factory.mktemp("clients")) as made:
        yield made


@pytest.fixture(
    params=[ConfluentAdmin, KafkaPythonAdmin, AioKafkaAdmin], ids=lambda kind: kind.name
)
def admin(request: pytest.FixtureRequest, brokers: processes.Cluster) -> Admin:
    made: Admin = request.param(brokers.bootstrap)
    return made


def test_a_topic_is_created_described_grown_and_deleted(
    brokers: processes.Cluster, admin: Admin
) -> None:
    topic = f"life-of-a-topic-{admin.name}"
    admin.create(topic, 2, 3, max_message_bytes="5000")
    assert topic in admin.topics()
    assert {i: set(nodes) for i, nodes in admin.replicas(topic).items()} == {
        0: {1, 2, 3},
        1: {1, 2, 3},
    }
    config = admin.config(topic)
    assert config["max.message.bytes"] == "5000"
    assert config["cleanup.policy"] == "delete"
    admin.grow(topic, 5)
    assert sorted(admin.replicas(topic)) == [0, 1, 2, 3, 4]
    admin.delete(topic)
    assert topic not in admin.topics()


def test_a_topic_of_one_replica_is_spread_over_the_brokers(
    brokers: processes.Cluster, admin: Admin
) -> None:
    topic = f"spread-{admin.name}"
    admin.create(topic, 6, 1)
    places = [nodes[0] for nodes in admin.replicas(topic).values()]
    assert sorted(places) == [1, 1, 2, 2, 3, 3]


def test_the_cluster_is_the_same_whoever_is_asked(brokers: processes.Cluster, admin: Admin) -> None:
    leader = brokers.wait_leader()
    cluster_id = brokers.get(1, "/v1/cluster/uuid")["cluster_uuid"]
    for node_id in brokers.brokers:
        asked: Admin = type(admin)(brokers.bootstrap_of(node_id))  # type: ignore[call-arg]
        assert asked.cluster() == (cluster_id, leader, {1, 2, 3})


def test_groups_are_listed_described_and_deleted_when_they_are_empty(
    brokers: processes.Cluster, admin: Admin
) -> None:
    client = {one.name: one for one in (Confluent(), KafkaPython(), AioKafka())}[admin.name]
    topic = f"life-of-a-group-{admin.name}"
    group = f"group-{admin.name}"
    client.write(brokers.bootstrap, topic, [Message(b"k", b"v")])
    member = client.join(brokers.bootstrap, group, topic)
    try:
        processes.eventually(lambda: member.poll() or None, "the member reads")
        member.commit()
        assert admin.group(group) == ("Stable", 1)
        with pytest.raises(admin.refused):
            admin.delete_group(group)
    finally:
        member.close()
    assert group in admin.groups()
    assert admin.group(group) == ("Empty", 0)
    admin.delete_group(group)
    assert group not in admin.groups()
