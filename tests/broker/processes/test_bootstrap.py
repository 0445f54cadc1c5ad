"""How processes become one cluster: any order of starting, one cluster, stable identities."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from quorate_broker.testing.processes import Cluster, eventually

pytestmark = pytest.mark.process


@pytest.mark.parametrize("order", [(3, 2, 1), (2, 1, 3)])
def test_brokers_started_in_any_order_form_one_cluster(
    make_cluster: Callable[..., Cluster], order: tuple[int, ...]
) -> None:
    cluster = make_cluster(nodes=3)
    try:
        for node_id in order:
            booting = {i: cluster.get(i, "/v1/status/ready") for i in cluster.running}
            assert {"status": "ready"} not in booting.values()
            cluster.start(node_id)
            eventually(lambda n=node_id: cluster.get(n, "/v1/status/ready"), f"{node_id} answers")
        cluster.wait_ready()
        ids = {cluster.get(i, "/v1/cluster/uuid")["cluster_uuid"] for i in cluster.brokers}
        assert len(ids) == 1
    finally:
        cluster.stop()


def test_a_broker_keeps_its_identity_over_restarts(three: Cluster) -> None:
    def members() -> list[tuple[int, str]]:
        watch = three.get(1, "/v1/watch?after=0")
        return [(m["node_id"], m["incarnation"]) for m in watch["members"]]

    before = members()
    three.kill(2)
    three.start(2)
    three.wait_ready(2)
    assert members() == before


def test_a_disk_of_another_cluster_is_refused_and_the_others_are_unaffected(
    make_cluster: Callable[..., Cluster], tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Cluster(tmp_path_factory.mktemp("other"), nodes=3)
    cluster = make_cluster(nodes=3)
    try:
        for each in (cluster, stranger):
            each.start()
            each.wait_ready()
        stranger.stop()
        cluster.kill(3)
        mine, theirs = cluster.nodes[3].directory, stranger.nodes[3].directory
        shutil.rmtree(mine / "data")
        shutil.copytree(theirs / "data", mine / "data")
        cluster.start(3)
        eventually(
            lambda: "is not this cluster" in cluster.log(1) + cluster.log(2) + cluster.log(3),
            "the refusal in words",
        )
        assert cluster.get(3, "/v1/status/ready") != {"status": "ready"}
        assert {cluster.controller(1), cluster.controller(2)} <= {1, 2}
    finally:
        cluster.stop()
        stranger.stop()


def test_a_broker_of_one_refuses_to_serve_the_disk_of_another_cluster(
    make_cluster: Callable[..., Cluster],
) -> None:
    alone = make_cluster(nodes=1)
    try:
        alone.start()
        alone.wait_ready()
        theirs = alone.get(1, "/v1/cluster/uuid")["cluster_uuid"]
        alone.kill(1)
        ours = "00000000-0000-4000-8000-000000000001"
        alone.settings = (f"cluster.id={ours}",)
        alone.start(1)
        assert alone.wait_ended(1) == 1
        assert f"belongs to cluster {theirs}" in alone.log(1)
        assert ours in alone.log(1)
        alone.settings = (f"cluster.id={theirs}",)
        alone.start(1)
        alone.wait_ready()
    finally:
        alone.stop()


def test_two_lost_disks_of_three_make_no_second_cluster(three: Cluster) -> None:
    for node_id in three.brokers:
        three.kill(node_id)
    for node_id in (1, 2):
        shutil.rmtree(three.nodes[node_id].directory / "data")
    three.start()
    for node_id in (1, 2):
        eventually(
            lambda n=node_id: "does not let this one join" in three.log(n),
            f"{node_id} says why it waits",
        )
    assert three.controller(3) == -1


def test_a_second_process_on_one_data_directory_is_refused_with_a_sentence(
    three: Cluster,
) -> None:
    twin = Cluster(three.nodes[1].directory.parent / "twin", nodes=3)
    node = twin.nodes[1]
    text = node.config_file.read_text()
    ours = str(three.nodes[1].directory / "data")
    node.config_file.write_text(text.replace(str(node.directory / "data"), ours))
    twin.start(1)
    try:
        assert twin.wait_ended(1) == 1
        assert "another process" in twin.log(1)
    finally:
        twin.stop()
