"""Replicas hold the same bytes; who falls behind leaves the in-sync set and comes back."""

from __future__ import annotations

import pathlib
import signal
from collections.abc import Iterator

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from quorate_broker.testing import processes
from quorate_broker.testing.processes import Cluster, eventually
from quorate_broker.wire import batch

pytestmark = pytest.mark.process

TOPIC = "ledger"
LAG_MS = 1_000
RECORDS = 500


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    settings = [f"replica.lag.time.max.ms={LAG_MS}"]
    with processes.cluster(tmp_path_factory.mktemp("data"), settings=settings) as made:
        admin = AdminClient({"bootstrap.servers": made.bootstrap})
        new = NewTopic(TOPIC, 1, 3, config={"min.insync.replicas": "3"})
        admin.create_topics([new])[TOPIC].result(10)
        yield made


def produce(cluster: Cluster, count: int) -> list[str]:
    """Names of the errors of `count` writes with acks=all and no patience."""
    failed: list[str] = []
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": cluster.bootstrap, "acks": "all", "retries": 0, "linger.ms": 0}
    )
    for i in range(count):
        producer.produce(
            TOPIC,
            b"%d" % i,
            on_delivery=lambda error, _: failed.append(error.name()) if error else None,
        )
        producer.poll(0)
    assert producer.flush(20) == 0
    return failed


def in_sync(cluster: Cluster) -> list[int]:
    leader = cluster.partition_leader(TOPIC)
    state = cluster.get(leader, f"/v1/partitions/kafka/{TOPIC}/0")
    return sorted(state["in_sync_replicas"])


def under_replicated(cluster: Cluster, node_id: int) -> list[str]:
    told = cluster.get(node_id, "/v1/cluster/health_overview")["under_replicated_partitions"]
    return list(told)


def batches_of(cluster: Cluster, node_id: int) -> bytes:
    """Everything in the topic's segments on one node, internal entries and all."""
    data = cluster.nodes[node_id].directory / "data" / "groups"
    (folder,) = [f for f in data.iterdir() if _holds(f)]
    raw = b"".join(path.read_bytes() for path in sorted(folder.glob("*.log")))
    end = 0
    while any(raw[end : end + batch.HEADER_SIZE]):  # zeros: preallocated, not written yet
        end += batch.parse_header(raw, end).size
    return raw[:end]


def _holds(folder: pathlib.Path) -> bool:
    return not folder.name.startswith("00000000-")


def test_replicas_hold_identical_bytes(cluster: Cluster) -> None:
    eventually(lambda: in_sync(cluster) == [1, 2, 3], "all in sync")
    assert produce(cluster, RECORDS) == []

    def equal() -> bool:
        leader, *others = (batches_of(cluster, node_id) for node_id in cluster.brokers)
        records = sum(header.count for _, header in batch.headers(leader))
        return records == RECORDS and all(other == leader for other in others)

    eventually(equal, "the same bytes on every replica")


def test_the_in_sync_set_shrinks_and_regrows_and_min_insync_is_held(cluster: Cluster) -> None:
    leader = cluster.partition_leader(TOPIC)
    lagging = next(i for i in cluster.brokers if i != leader)
    cluster.signal(lagging, signal.SIGSTOP)
    try:
        rest = [i for i in cluster.brokers if i != lagging]
        eventually(lambda: in_sync(cluster) == rest, "the frozen follower falls out")
        assert produce(cluster, 1) == ["NOT_ENOUGH_REPLICAS"]
        eventually(lambda: under_replicated(cluster, leader) == [f"kafka/{TOPIC}/0"], "it is told")
    finally:
        cluster.signal(lagging, signal.SIGCONT)
    eventually(lambda: in_sync(cluster) == [1, 2, 3], "the follower is back in sync")
    eventually(lambda: produce(cluster, 1) == [], "writes are taken again")
