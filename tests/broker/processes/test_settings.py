"""Settings that change under real brokers at work, and brokers of two versions in one cluster."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
)

from quorate_broker.testing.processes import Cluster, eventually

pytestmark = pytest.mark.process

TIMEOUT_S = 60
OLDER = "feature.level.known=2"


class Load:
    """Records with acks=all through an unmodified client, until the end of the block."""

    def __init__(self, cluster: Cluster) -> None:
        self.acknowledged = 0
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(cluster.bootstrap,))

    def _run(self, bootstrap: str) -> None:
        producer = confluent_kafka.Producer(
            {"bootstrap.servers": bootstrap, "acks": "all", "batch.size": 1_000}
        )

        def told(error: Any, _: Any) -> None:
            if error is None:
                self.acknowledged += 1
            else:
                self.failed.append(str(error))

        while not self._stop.wait(0.01):
            producer.produce("load", b"v" * 100, on_delivery=told)
            producer.poll(0)
        producer.flush(TIMEOUT_S)

    def more(self) -> None:
        """Until it got on."""
        before = self.acknowledged
        eventually(lambda: self.acknowledged > before + 10, "the load goes on", TIMEOUT_S)


@contextlib.contextmanager
def load(cluster: Cluster) -> Iterator[Load]:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    for future in admin.create_topics([NewTopic("load", 3, 3)]).values():
        future.result(TIMEOUT_S)
    made = Load(cluster)
    made._thread.start()
    try:
        made.more()
        yield made
        made.more()
    finally:
        made._stop.set()
        made._thread.join()
    assert made.failed == []


def put(cluster: Cluster, node_id: int, path: str, body: Any) -> tuple[int, Any]:
    """Status and JSON of a PUT to a node's Admin API."""
    request = urllib.request.Request(
        cluster.url(node_id) + path, json.dumps(body).encode(), method="PUT"
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            content = response.read()
            return response.status, json.loads(content) if content else None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def standings(cluster: Cluster, node_id: int = 1) -> list[dict[str, Any]]:
    found = cluster.get(node_id, "/v1/cluster_config/status")
    return found if isinstance(found, list) else []


def shared(cluster: Cluster) -> None:
    """Until the brokers have their settings in common."""
    eventually(
        lambda: (
            len(standings(cluster)) == 3
            and all(one["config_version"] > 0 for one in standings(cluster))
        ),
        "settings in the metadata",
        TIMEOUT_S,
    )


def level(cluster: Cluster, node_id: int = 1) -> int:
    return int((cluster.get(node_id, "/v1/features") or {}).get("cluster_version", 0))


def test_settings_change_under_load_on_every_broker_and_nobody_restarts(three: Cluster) -> None:
    shared(three)
    pids = {node_id: process.pid for node_id, process in three._processes.items()}
    with load(three):
        follower = next(n for n in (1, 2, 3) if n != three.controller(1))
        wanted = {"upsert": {"num.partitions": 7, "message.max.bytes": 2_000}}
        status, body = put(three, follower, "/v1/cluster_config", wanted)
        assert (status, body) == (200, {"config_version": 2})
        eventually(
            lambda: [one["config_version"] for one in standings(three, 3)] == [2, 2, 2],
            "every broker has them",
            TIMEOUT_S,
        )
        producer = confluent_kafka.Producer({"bootstrap.servers": three.bootstrap})
        refused: list[Any] = []
        producer.produce("load", b"v" * 5_000, on_delivery=lambda error, _: refused.append(error))
        producer.flush(TIMEOUT_S)
        assert refused[0].code() == confluent_kafka.KafkaError.MSG_SIZE_TOO_LARGE
        producer.produce("made", b"v")
        assert producer.flush(TIMEOUT_S) == 0
        admin = AdminClient({"bootstrap.servers": three.bootstrap})
        assert len(admin.list_topics("made", timeout=TIMEOUT_S).topics["made"].partitions) == 7
        gone = {"upsert": {"num.partition": 1}, "remove": ["num.partitions", "message.max.bytes"]}
        status, body = put(three, 1, "/v1/cluster_config", gone)
        assert (status, list(body)) == (400, ["num.partition"])
        status, _ = put(three, 1, "/v1/cluster_config", {"remove": gone["remove"]})
        assert status == 200
        eventually(
            lambda: three.get(3, "/v1/cluster_config?key=num.partitions") == {"num.partitions": 4},
            "the default is back",
            TIMEOUT_S,
        )
        assert not any(one["restart"] for one in standings(three))
    assert {node_id: process.pid for node_id, process in three._processes.items()} == pids


def test_kafkas_own_admin_client_configures_one_broker_and_sees_what_all_have(
    three: Cluster,
) -> None:
    """librdkafka takes no empty name, which would stand for all brokers: those by the Admin API."""
    shared(three)
    admin = AdminClient({"bootstrap.servers": three.bootstrap})

    def alter(name: str, value: str, op: Any = AlterConfigOpType.SET) -> None:
        one = ConfigEntry(name, value, incremental_operation=op)
        resource = ConfigResource(ConfigResource.Type.BROKER, "2", incremental_configs=[one])
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(TIMEOUT_S)

    def described(broker: str, name: str) -> ConfigEntry:
        resource = ConfigResource(ConfigResource.Type.BROKER, broker)
        (future,) = admin.describe_configs([resource]).values()
        return future.result(TIMEOUT_S)[name]

    alter("max.connections", "5000")
    alter("fetch.max.bytes", "4096")
    eventually(lambda: described("2", "fetch.max.bytes").value == "4096", "set", TIMEOUT_S)
    assert described("2", "max.connections").source == 2  # DYNAMIC_BROKER_CONFIG
    assert described("1", "max.connections").value == "10000"
    put(three, 1, "/v1/cluster_config", {"upsert": {"num.partitions": 7}})
    eventually(lambda: described("3", "num.partitions").value == "7", "on all", TIMEOUT_S)
    assert described("3", "num.partitions").source == 3  # DYNAMIC_DEFAULT_BROKER_CONFIG
    with pytest.raises(confluent_kafka.KafkaException, match="must be an integer"):
        alter("fetch.max.bytes", "x")
    with pytest.raises(confluent_kafka.KafkaException, match="all brokers share it"):
        alter("num.partitions", "9")
    alter("fetch.max.bytes", "", AlterConfigOpType.DELETE)
    eventually(lambda: described("2", "fetch.max.bytes").is_default, "default again", TIMEOUT_S)


def test_what_needs_a_restart_says_so_and_is_there_after_it(three: Cluster) -> None:
    shared(three)
    wanted = {"upsert": {"raft.election.timeout.ms": 900}}
    assert put(three, 1, "/v1/cluster_config", wanted)[0] == 200
    eventually(
        lambda: [one["restart"] for one in standings(three)] == [True] * 3, "to restart", TIMEOUT_S
    )
    three.signal(3, signal.SIGTERM)
    assert three.wait_ended(3) == 0
    three.start(3)
    three.wait_ready(3)
    eventually(
        lambda: [one["restart"] for one in standings(three)] == [True, True, False],
        "broker 3 has it",
        TIMEOUT_S,
    )
    assert three.get(3, "/v1/broker/post_restart_probe") == {"load_reclaimed_pc": 100}


def roll(cluster: Cluster, *settings: str) -> None:
    """Restart one broker after the other, of that version."""
    cluster.settings = settings
    for node_id in cluster.brokers:
        cluster.signal(node_id, signal.SIGTERM)
        assert cluster.wait_ended(node_id) == 0
        cluster.start(node_id)
        cluster.wait_ready(node_id)
        eventually(
            lambda node_id=node_id: (
                cluster.get(node_id, "/v1/cluster/health_overview").get("under_replicated_count")
                == 0
            ),
            "whole again",
            TIMEOUT_S,
        )


def test_brokers_are_upgraded_and_taken_back_under_load_and_upgraded_for_good(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(settings=(OLDER,))
    try:
        cluster.start()
        cluster.wait_ready()
        assert level(cluster) == 2
        with load(cluster):
            roll(cluster, "feature.level.raise=asked")
            assert level(cluster) == 2, "held: the way back is open"
            roll(cluster, OLDER)
            roll(cluster, "feature.level.raise=asked")
            assert put(cluster, 1, "/v1/cluster_config", {"upsert": {}})[0] == 400
            path = "/v1/features/cluster_settings"
            assert put(cluster, 1, path, {"state": "active"})[0] == 200
            shared(cluster)
            assert level(cluster, 3) == 3
        cluster.signal(2, signal.SIGTERM)
        cluster.wait_ended(2)
        cluster.settings = (OLDER,)
        cluster.start(2)
        eventually(lambda: cluster.exit_code(2) == 1, "the older one refuses", TIMEOUT_S)
        assert "the cluster is at feature level 3" in cluster.log(2)
    finally:
        cluster.stop()
