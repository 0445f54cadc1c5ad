"""One broker of three on a small file system that fills up, and empties again.

Needs root: the file system is a tmpfs of its own.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from quorate_broker.testing.processes import Cluster, eventually

pytestmark = pytest.mark.process

SIZE_MB = 96
MIB = 1 << 20
ALONE, SHARED = "alone", "shared"
"""Topics: on broker 1 only; on all three."""


class Small:
    """The file system of broker 1."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, but_bytes: int) -> None:
        """Leave only so much."""
        facts = os.statvfs(self.folder)
        size = facts.f_bavail * facts.f_frsize - but_bytes
        with self._ballast.open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, size)

    def empty(self) -> None:
        self._ballast.unlink()


@contextlib.contextmanager
def small(cluster: Cluster) -> Iterator[Small]:
    folder = cluster.nodes[1].directory / "data"
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={SIZE_MB}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    try:
        yield Small(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def running(tmp_path: pathlib.Path, reserve: int) -> Iterator[tuple[Cluster, Small]]:
    settings = (f"storage.min.free.bytes={reserve}", "log.preallocate.bytes=65536")
    made = Cluster(tmp_path, settings=settings)
    with small(made) as disk:
        try:
            made.start()
            made.wait_ready()
            admin = AdminClient({"bootstrap.servers": made.bootstrap})
            topics = [
                NewTopic(ALONE, 1, replica_assignment=[[1]]),
                NewTopic(SHARED, 1, replica_assignment=[[1, 2, 3]]),
            ]
            for created in admin.create_topics(topics).values():
                created.result(20)
            made.partition_leader(ALONE)
            made.partition_leader(SHARED)
            yield made, disk
        except BaseException:
            for node_id in made.nodes:
                print(f"--- node {node_id}\n{made.log(node_id)}")
            raise
        finally:
            made.stop()


def produce(cluster: Cluster, topic: str, value: bytes, timeout_s: float) -> KafkaError | None:
    """One record with acks=all; why it failed. Retried for as long as the time-out says."""
    told: list[KafkaError | None] = []
    producer = Producer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "acks": "all",
            "message.timeout.ms": int(timeout_s * 1000),
            "retry.backoff.ms": 50,
        }
    )
    producer.produce(topic, value, partition=0, on_delivery=lambda error, _: told.append(error))
    producer.flush(timeout_s + 5)
    (error,) = told
    return error


def refusal(cluster: Cluster, topic: str) -> str | None:
    """What the broker itself says to a producer that does not try again."""
    producer = Producer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "acks": "all",
            "retries": 0,
            "message.timeout.ms": 5_000,
        }
    )
    told: list[KafkaError | None] = []
    producer.produce(topic, b"?", partition=0, on_delivery=lambda error, _: told.append(error))
    producer.flush(10)
    return None if told[0] is None else told[0].name()


def consumed(cluster: Cluster, topic: str) -> list[bytes]:
    """All values but those of `refusal`, which come in while nobody has noticed yet."""
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "reader"})
    place = TopicPartition(topic, 0, 0)
    found: list[bytes] = []
    try:
        _, end = consumer.get_watermark_offsets(place, 10)
        consumer.assign([place])
        while len(found) < end:
            message = consumer.poll(10)
            assert message is not None, f"{len(found)} of {end}"
            if message.error() is not None:
                raise KafkaException(message.error())
            found.append(message.value() or b"")
    finally:
        consumer.close()
    return [value for value in found if value != b"?"]


def in_sync(cluster: Cluster, topic: str) -> list[int]:
    metadata = AdminClient({"bootstrap.servers": cluster.bootstrap}).list_topics(topic, timeout=10)
    return sorted(metadata.topics[topic].partitions[0].isrs)


def test_a_broker_stops_taking_records_before_its_disk_is_full(tmp_path: pathlib.Path) -> None:
    with running(tmp_path, reserve=32 * MIB) as (cluster, disk):
        for topic in (ALONE, SHARED):
            assert produce(cluster, topic, b"before", 20) is None
        disk.fill(but_bytes=16 * MIB)
        eventually(
            lambda: refusal(cluster, ALONE) == "KAFKA_STORAGE_ERROR", "a refusal in Kafka's words"
        )
        assert consumed(cluster, ALONE) == [b"before"]
        eventually(lambda: cluster.partition_leader(SHARED) in (2, 3), "a leader that has room")
        assert produce(cluster, SHARED, b"meanwhile", 20) is None
        disk.empty()
        assert produce(cluster, ALONE, b"after", 20) is None
        assert consumed(cluster, ALONE) == [b"before", b"after"]
        eventually(lambda: in_sync(cluster, SHARED) == [1, 2, 3], "broker 1 in sync again")
        assert consumed(cluster, SHARED) == [b"before", b"meanwhile"]


def test_a_broker_that_ran_out_of_room_goes_on_when_there_is_some(tmp_path: pathlib.Path) -> None:
    """Without a reserve: writes fail in the middle, of records and of metadata."""
    with running(tmp_path, reserve=0) as (cluster, disk):
        for topic in (ALONE, SHARED):
            assert produce(cluster, topic, b"before", 20) is None
        disk.fill(but_bytes=0)
        value = os.urandom(512 * 1024)
        eventually(lambda: refusal_of(cluster, value) is not None, "a write that fails")
        assert cluster.exit_code(1) is None, "the process lives"
        assert produce(cluster, SHARED, b"meanwhile", 20) is None
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        admin.create_topics([NewTopic("new", 1, 3)])["new"].result(20)
        disk.empty()
        assert produce(cluster, ALONE, b"after", 30) is None
        assert [each for each in consumed(cluster, ALONE) if each != value] == [b"before", b"after"]
        eventually(lambda: in_sync(cluster, SHARED) == [1, 2, 3], "broker 1 in sync again")
        eventually(lambda: in_sync(cluster, "new") == [1, 2, 3], "and of what is new")
        assert cluster.exit_code(1) is None


def refusal_of(cluster: Cluster, value: bytes) -> KafkaError | None:
    return produce(cluster, ALONE, value, 2)
