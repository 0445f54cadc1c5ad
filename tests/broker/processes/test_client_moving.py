"""Moving, electing, deleting and configuring, as unmodified clients ask for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import admin as confluent

from quorate_broker.testing.clients import kafka
from quorate_broker.testing.processes import Cluster, eventually

pytestmark = pytest.mark.process

TIMEOUT_S = 15
PLACE = kafka.TopicPartition("t", 0)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("three"), 3)
    try:
        made.start()
        made.wait_ready()
        yield made
    finally:
        made.stop()


@pytest.fixture
def python(cluster: Cluster) -> Iterator[Any]:
    admin = kafka.KafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    yield admin
    admin.close()


@pytest.fixture
def librdkafka(cluster: Cluster) -> confluent.AdminClient:
    return confluent.AdminClient({"bootstrap.servers": cluster.bootstrap})


@pytest.fixture
def topic(librdkafka: confluent.AdminClient) -> Iterator[str]:
    new = confluent.NewTopic("t", 1, replica_assignment=[[1, 2]])
    done(librdkafka.create_topics([new]))
    yield "t"
    done(librdkafka.delete_topics(["t"]))


def done(futures: dict[Any, Any]) -> Any:
    (future,) = futures.values()
    return future.result(TIMEOUT_S)


def produce(cluster: Cluster, count: int, key: bytes | None = b"k") -> list[Any]:
    """What became of each record: None, or its error."""
    told: list[Any] = []
    producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap})
    for _ in range(count):
        producer.produce("t", b"v", key, partition=0, on_delivery=lambda e, _: told.append(e))
    assert producer.flush(TIMEOUT_S) == 0
    return told


def leader(cluster: Cluster) -> int:
    return int(cluster.get(1, "/v1/partitions/kafka/t/0")["leader_id"])


def in_sync(cluster: Cluster) -> list[int]:
    return list(cluster.get(1, "/v1/partitions/kafka/t/0")["in_sync_replicas"])


def test_a_partition_moves_and_the_move_is_listed_until_it_is_done(
    cluster: Cluster, python: Any, topic: str
) -> None:
    assert produce(cluster, 100) == [None] * 100
    python.alter_partition_reassignments({PLACE: [3, 1]})
    eventually(lambda: not python.list_partition_reassignments(), "the move is over")
    described = python.describe_topics(["t"])
    assert described[0]["partitions"][0]["replica_nodes"] == [3, 1]
    assert produce(cluster, 100) == [None] * 100


def test_a_preferred_leader_is_elected(cluster: Cluster, python: Any, topic: str) -> None:
    eventually(lambda: leader(cluster) == 1, "the preferred replica leads")
    assert cluster.post(1, "/v1/partitions/kafka/t/0/transfer_leadership?target=2") == 200
    eventually(lambda: leader(cluster) == 2, "another one leads")
    eventually(lambda: in_sync(cluster) == [1, 2], "the preferred one is in sync")
    python.elect_leaders(0, {"t": [0]})
    eventually(lambda: leader(cluster) == 1, "broker 1 has heard of it")


def test_a_leader_goes_back_by_itself_when_its_broker_does(
    cluster: Cluster, librdkafka: confluent.AdminClient
) -> None:
    new = confluent.NewTopic("back", 1, replica_assignment=[[1, 2, 3]])
    done(librdkafka.create_topics([new]))
    eventually(lambda: cluster.partition_leader("back") == 1, "the preferred replica leads")
    cluster.signal(1, signal.SIGTERM)
    assert cluster.wait_ended(1) == 0
    eventually(lambda: cluster.partition_leader("back") in (2, 3), "another one leads")
    cluster.start(1)
    cluster.wait_ready(1)
    eventually(lambda: cluster.partition_leader("back") == 1, "the preferred replica leads again")
    done(librdkafka.delete_topics(["back"]))


def test_records_are_deleted_for_good(
    cluster: Cluster, python: Any, librdkafka: confluent.AdminClient, topic: str
) -> None:
    produce(cluster, 100)
    upto = confluent_kafka.TopicPartition("t", 0, 40)
    assert done(librdkafka.delete_records([upto])).low_watermark == 40
    consumer = confluent_kafka.Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "g"})
    assert consumer.get_watermark_offsets(upto, TIMEOUT_S) == (40, 100)
    python.delete_records({PLACE: 60})
    assert consumer.get_watermark_offsets(upto, TIMEOUT_S) == (60, 100)
    consumer.close()
    assert cluster.post(1, "/v1/partitions/kafka/t/0/transfer_leadership") == 200
    reader = kafka.KafkaConsumer(bootstrap_servers=cluster.bootstrap)
    assert reader.beginning_offsets([PLACE]) == {PLACE: 60}
    reader.close()


def test_a_topic_is_configured_by_both_clients(
    cluster: Cluster, python: Any, librdkafka: confluent.AdminClient, topic: str
) -> None:
    entry = confluent.ConfigEntry(
        "retention.ms", "1000", incremental_operation=confluent.AlterConfigOpType.SET
    )
    resource = confluent.ConfigResource("topic", "t", incremental_configs=[entry])
    done(librdkafka.incremental_alter_configs([resource]))
    change = kafka.admin.ConfigResource("TOPIC", "t", configs={"segment.bytes": "65536"})
    python.alter_configs([change])
    plain = confluent.ConfigResource("topic", "t")
    eventually(
        lambda: (
            {
                name: one.value
                for name, one in done(librdkafka.describe_configs([plain])).items()
                if name in ("retention.ms", "segment.bytes")
            }
            == {"retention.ms": "1000", "segment.bytes": "65536"}
        ),
        "both are set",
    )


def test_a_compacted_topic_needs_keys(
    cluster: Cluster, librdkafka: confluent.AdminClient, topic: str
) -> None:
    entry = confluent.ConfigEntry(
        "cleanup.policy", "compact", incremental_operation=confluent.AlterConfigOpType.SET
    )
    resource = confluent.ConfigResource("topic", "t", incremental_configs=[entry])
    done(librdkafka.incremental_alter_configs([resource]))

    def refused() -> bool:
        (error,) = produce(cluster, 1, key=None)
        return error is not None and error.code() == confluent_kafka.KafkaError.INVALID_RECORD

    eventually(refused, "a record without a key is refused")
    assert produce(cluster, 1, key=b"k") == [None]


def test_log_directories_tell_sizes(cluster: Cluster, python: Any, topic: str) -> None:
    produce(cluster, 100)
    sizes = [
        partition["partition_size"]
        for broker in python.describe_log_dirs()
        for directory in broker["log_dirs"]
        for one in directory["topics"]
        if one["name"] == "t"
        for partition in one["partitions"]
    ]
    assert len(sizes) == 2
    assert min(sizes) > 100
