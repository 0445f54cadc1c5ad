"""Brokers that come, lose their disks and bring back old ones, with real processes."""

from __future__ import annotations

import pathlib
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from quorate_broker.testing.clients import kafka
from quorate_broker.testing.processes import Cluster, eventually

pytestmark = pytest.mark.process

TIMEOUT_S = 20


@pytest.fixture
def growing(make_cluster: Callable[..., Cluster]) -> Iterator[Cluster]:
    """Three brokers that serve, and a fourth that is no seed and is not started yet."""
    made = make_cluster(nodes=4)
    seeds = made.nodes[4].ports["rpc-port"]
    for node in made.nodes.values():
        text = node.config_file.read_text()
        fourth = f', "4@127.0.0.1:{seeds}"'
        assert fourth in text
        node.config_file.write_text(text.replace(fourth, ""))
    try:
        made.start(1, 2, 3)
        made.wait_ready(1, 2, 3)
        yield made
    finally:
        made.stop()


def produce(cluster: Cluster, topic: str, count: int, size: int = 100) -> None:
    failed: list[Any] = []
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": cluster.bootstrap, "acks": "all", "message.timeout.ms": 20_000}
    )
    for number in range(count):
        producer.produce(
            topic,
            f"{number}".encode().ljust(size, b"."),
            partition=0,
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
    assert producer.flush(30) == 0
    assert failed == []


def state(cluster: Cluster, topic: str) -> dict[str, Any]:
    for node_id in cluster.running:
        found = cluster.get(node_id, f"/v1/partitions/kafka/{topic}/0")
        if found is not None and "replicas" in found:
            return dict(found)
    return {"replicas": [], "in_sync_replicas": [], "status": "unknown"}


def in_sync(cluster: Cluster, topic: str, *node_ids: int) -> bool:
    seen = state(cluster, topic)
    replicas = sorted(one["node_id"] for one in seen["replicas"])
    same = replicas == sorted(seen["in_sync_replicas"]) == sorted(node_ids)
    return same and seen["status"] == "done"


def incarnation(cluster: Cluster, node_id: int) -> str:
    for asked in cluster.running:
        for one in cluster.get(asked, "/v1/broker_uuids") or ():
            if one["node_id"] == node_id:
                return str(one["uuid"])
    return ""


def create(cluster: Cluster, topic: str, assignment: list[int]) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_of(cluster.running[0])})
    new = NewTopic(topic, 1, replica_assignment=[assignment])
    for future in admin.create_topics([new]).values():
        future.result(TIMEOUT_S)


def consume(cluster: Cluster, topic: str) -> int:
    """How many records there are, each read once and in order."""
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=cluster.bootstrap_of(cluster.running[0]),
        auto_offset_reset="earliest",
        consumer_timeout_ms=3_000,
    )
    consumer.assign([kafka.TopicPartition(topic, 0)])
    offsets = [record.offset for record in consumer]
    consumer.close()
    assert offsets == list(range(len(offsets)))
    return len(offsets)


def test_a_broker_with_an_empty_disk_comes_back_by_itself_and_is_in_sync_again(
    three: Cluster,
) -> None:
    create(three, "t", [1, 2, 3])
    produce(three, "t", 500)
    before = incarnation(three, 2)
    three.kill(2)
    shutil.rmtree(three.nodes[2].directory / "data")
    produce(three, "t", 500)
    three.start(2)
    three.wait_ready(2)
    eventually(lambda: incarnation(three, 2) not in ("", before), "another incarnation")
    eventually(lambda: in_sync(three, "t", 1, 2, 3), "everything in sync again")
    three.kill(3)  # now the new disk is needed for every commit
    three.wait_leader()
    produce(three, "t", 100)


def test_an_old_copy_of_a_disk_that_was_replaced_never_votes_again(
    three: Cluster, tmp_path: pathlib.Path
) -> None:
    create(three, "t", [1, 2, 3])
    produce(three, "t", 100)
    old = incarnation(three, 3)
    three.kill(3)
    data = three.nodes[3].directory / "data"
    shutil.copytree(data, tmp_path / "copy")
    shutil.rmtree(data)
    three.start(3)
    three.wait_ready(3)
    eventually(lambda: in_sync(three, "t", 1, 2, 3), "in sync after the loss")
    replaced = incarnation(three, 3)
    three.kill(3)
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "copy", data)
    three.start(3)
    three.wait_ready(3)
    assert incarnation(three, 3) not in (old, replaced)
    assert (data / "retired" / f"node-3.{old}" / "node.json").exists()
    eventually(lambda: in_sync(three, "t", 1, 2, 3), "in sync under a third incarnation")
    produce(three, "t", 100)


def test_a_fourth_broker_joins_three_that_serve(growing: Cluster) -> None:
    growing.start(4)
    growing.wait_ready(4)
    health = growing.get(1, "/v1/cluster/health_overview")
    assert health["all_nodes"] == [1, 2, 3, 4]
    controller = growing.get(4, "/v1/partitions/redpanda/controller/0")
    assert controller["leader_id"] in (1, 2, 3)
    create(growing, "t", [1, 2])
    produce(growing, "t", 500)
    admin = kafka.KafkaAdminClient(bootstrap_servers=growing.bootstrap_of(1))
    place = kafka.TopicPartition("t", 0)
    admin.alter_partition_reassignments({place: [4, 1]})
    eventually(lambda: in_sync(growing, "t", 1, 4), "the new broker has a replica, an old one none")
    assert not admin.list_partition_reassignments()
    admin.close()
    folder = growing.nodes[2].directory / "data" / "groups"
    metadata = "00000000-0000-0000-0000-000000000001-0"
    eventually(lambda: [one.name for one in folder.iterdir()] == [metadata], "it is deleted there")
    eventually(lambda: state(growing, "t")["leader_id"] == 4, "the preferred replica leads")
    produce(growing, "t", 100)
    assert consume(growing, "t") == 600


class Stream(threading.Thread):
    """Numbers, one after the other, and which of them were acknowledged."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        super().__init__()
        self.acknowledged: set[bytes] = set()
        self.failed: list[Any] = []
        self.sent = 0
        self._topic = topic
        self._ended = threading.Event()
        self._producer = confluent_kafka.Producer(
            {"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True}
        )

    def run(self) -> None:
        while not self._ended.wait(0.005):
            value = str(self.sent).encode()
            self._producer.produce(self._topic, value, partition=0, on_delivery=self._told)
            self._producer.poll(0)
            self.sent += 1
        assert self._producer.flush(60) == 0

    def _told(self, error: Any, message: Any) -> None:
        if error is None:
            self.acknowledged.add(message.value())
        else:
            self.failed.append(error)

    def end(self) -> None:
        self._ended.set()
        self.join()


def test_nothing_acknowledged_is_lost_while_a_partition_moves_and_its_leaders_are_killed(
    growing: Cluster,
) -> None:
    growing.start(4)
    growing.wait_ready(4)
    create(growing, "t", [1, 2, 3])
    stream = Stream(growing, "t")
    stream.start()
    place = kafka.TopicPartition("t", 0)
    for target in ([4, 1, 2], [3, 4, 1], [2, 3, 4]):
        admin = kafka.KafkaAdminClient(bootstrap_servers=growing.bootstrap)
        admin.alter_partition_reassignments({place: target})
        admin.close()
        victim = growing.partition_leader("t")
        growing.kill(victim)
        growing.start(victim)
        growing.wait_ready(victim)
        eventually(lambda wanted=target: in_sync(growing, "t", *wanted), f"at {target}", 60)
    stream.end()
    assert stream.failed == []
    assert len(stream.acknowledged) == stream.sent
    assert consume(growing, "t") == stream.sent


def test_a_decommissioned_metadata_leader_gives_away_what_it_has_and_may_come_again(
    growing: Cluster,
) -> None:
    growing.start(4)
    growing.wait_ready(4)
    for topic in ("t", "u"):
        create(growing, topic, [1, 2, 3])
        produce(growing, topic, 300)
    gone = growing.wait_leader(among=[1, 2, 3])
    left = [node_id for node_id in (1, 2, 3, 4) if node_id != gone]
    one = left[0]
    assert growing.get(one, f"/v1/brokers/{gone}/decommission")["code"] == 400
    assert growing.post(one, "/v1/brokers/9/decommission", "PUT") == 404
    assert growing.post(one, f"/v1/brokers/{gone}/decommission", "PUT") == 200

    def finished() -> bool:
        status = growing.get(one, f"/v1/brokers/{gone}/decommission")
        return bool(status and status.get("finished"))

    eventually(finished, f"nothing on broker {gone} any more", 40)
    eventually(lambda: "is no member any more" in growing.log(gone), "it says so itself")
    brokers = [each["node_id"] for each in growing.get(one, "/v1/brokers")]
    assert brokers == left
    for topic in ("t", "u"):
        states = growing.get(one, f"/v1/partitions/kafka/{topic}/0")
        assert sorted(each["node_id"] for each in states["replicas"]) == left
    produce(growing, "t", 100)
    growing.signal(gone, signal.SIGTERM)
    assert growing.wait_ended(gone) == 0
    growing.start(gone)
    eventually(lambda: "was decommissioned" in growing.log(gone), "it is not let in unasked")
    assert len(growing.get(one, "/v1/brokers")) == 3
    assert growing.post(one, f"/v1/brokers/{gone}/recommission", "PUT") == 200
    growing.wait_ready(gone)
    assert len(growing.get(one, "/v1/brokers")) == 4
    assert consume(growing, "t") == 400


def test_metadata_lives_on_in_snapshots_and_newcomers_are_sent_one(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(
        nodes=3, settings=["metadata.log.max.record.bytes.between.snapshots=4096"]
    )
    group = "data/groups/00000000-0000-0000-0000-000000000001-0"
    names = [f"topic-{number}" for number in range(200)]
    try:
        cluster.start()
        cluster.wait_ready()
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        for some in (names[:100], names[100:]):
            for future in admin.create_topics([NewTopic(name, 1, 1) for name in some]).values():
                future.result(TIMEOUT_S)
        for node in cluster.nodes.values():
            folder = node.directory / group
            eventually(
                lambda f=folder: min(int(one.stem) for one in f.glob("*.log")) > 0,
                "the log's first records are gone",
            )
            assert (folder / "state").exists()
        cluster.kill(2)
        shutil.rmtree(cluster.nodes[2].directory / "data")
        cluster.start(2)
        cluster.wait_ready(2)
        for node_id in (1, 3):
            cluster.kill(node_id)
            cluster.start(node_id)
            cluster.wait_ready(node_id)
        for node_id in (1, 2, 3):
            there = AdminClient({"bootstrap.servers": cluster.bootstrap_of(node_id)})
            assert set(names) <= set(there.list_topics(timeout=TIMEOUT_S).topics)
    finally:
        cluster.stop()
