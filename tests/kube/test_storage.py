"""Volumes grow while they are used, are given up for others, and a cluster sleeps on them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from quorate_bed import binaries, kube, nodes, product
from quorate_bed.polling import eventually
from quorate_bed.product import BrokerCluster, Json, condition, restarts

GROWN_S = 90
ASLEEP_S = 90
REPLACED_S = 240
STUCK_S = 150
FILLED_S = 120
MEBIBYTE = 1 << 20
SIZE = "import os;s=os.statvfs('/var/lib/quorate');print(s.f_blocks*s.f_frsize)"


def size(three: BrokerCluster, node_id: int) -> int:
    """Of the file system that the broker sees, in bytes."""
    return int(three.kubectl("exec", three.pod_of(node_id), "--", "python3", "-c", SIZE))


def claims(three: BrokerCluster) -> dict[str, str]:
    """Each broker's claim with the volume that it is bound to."""
    found = three.kubectl.list("pvc", f"quorate.dev/cluster={three.name}")
    return {one["metadata"]["name"]: one["spec"]["volumeName"] for one in found}


@pytest.mark.full
@pytest.mark.usefixtures("unrest")
def test_volumes_grow_under_load_and_no_broker_restarts_for_it(
    three: BrokerCluster, figure: Callable[[str, float], None]
) -> None:
    before = [(pod["metadata"]["uid"], restarts(pod)) for pod in three.pods("broker")]
    now = size(three, 1) // MEBIBYTE
    wanted = now + 100
    with three.load("grown") as load:
        began = time.monotonic()
        three.apply(storage={"size": f"{wanted}Mi"})

        def grown() -> bool:
            status = three.settled()
            assert not status.get("storage", {}).get("resizing"), status["storage"]
            sizes = [size(three, node_id) // MEBIBYTE for node_id in three.broker_ids()]
            assert min(sizes) > now + 50, sizes
            return True

        eventually(grown, deadline_s=GROWN_S, what="three larger file systems")
        figure("growth_s", time.monotonic() - began)
        load.finish()
    assert [(pod["metadata"]["uid"], restarts(pod)) for pod in three.pods("broker")] == before


@pytest.mark.full
@pytest.mark.usefixtures("unrest")
def test_a_cluster_that_hibernates_has_no_pod_keeps_its_volumes_and_wakes_with_all_its_records(
    three: BrokerCluster, figure: Callable[[str, float], None]
) -> None:
    with three.load("hibernated") as load:
        written = load.finish()
    volumes, before = claims(three), three.status()
    three.apply(hibernate=True)

    def asleep() -> bool:
        assert three.pods() == []
        assert "leader" not in three.status()
        return True

    eventually(asleep, deadline_s=ASLEEP_S, what="no pod, and nobody leads")
    assert claims(three) == volumes
    began = time.monotonic()
    three.apply()
    after = three.settle()
    figure("wake_s", time.monotonic() - began)
    assert claims(three) == volumes
    assert after["clusterId"] == before["clusterId"]
    script, count = kube.script("consume.py"), str(written.acknowledged)
    eventually(three.reached, what="the Service leads to brokers again")
    read = three.client.python(script, three.bootstrap, load.topic, count)
    assert read["different"] >= written.acknowledged


@pytest.mark.full
@pytest.mark.usefixtures("unrest")
def test_smaller_volumes_take_the_place_of_larger_ones_one_by_one_under_load(
    three: BrokerCluster, figure: Callable[[str, float], None]
) -> None:
    before, cluster_id = claims(three), three.status()["clusterId"]
    wanted = f"{size(three, 1) // MEBIBYTE - 20}Mi"
    with three.load("replaced") as load:
        began = time.monotonic()
        three.apply(storage={"size": wanted, "replace": "Guided"})

        def replaced() -> Json:
            status = three.settled()
            listed = three.kubectl.list("pvc", f"quorate.dev/cluster={three.name}")
            assert {one["status"]["capacity"]["storage"] for one in listed} == {wanted}
            assert not set(claims(three).values()) & set(before.values())
            return status

        status = eventually(replaced, deadline_s=REPLACED_S, what="three smaller volumes")
        figure("replaced_s", time.monotonic() - began)
        written = load.finish()
    figure("slowest_ack_s", written.slowest_ms / 1000)
    assert status["clusterId"] == cluster_id


@pytest.mark.full
def test_a_volume_on_a_node_that_takes_no_pods_is_given_up_when_somebody_says_so(
    kubectl: kube.Kubectl, api: product.Api, figure: Callable[[str, float], None]
) -> None:
    cluster = BrokerCluster(kubectl, api, "moved")
    cluster.apply()
    cluster.client.start()
    cluster.settle()
    lost = next(node_id for node_id in (1, 2, 3) if node_id != cluster.status()["leader"]["nodeId"])
    node, before = cluster.node_of(lost), claims(cluster)
    with cluster.load("unbound") as load, nodes.closed(kubectl.cluster, node):
        kubectl.delete_pods(cluster.pod_of(lost))

        def stuck() -> bool:
            ready = condition(cluster.status(), "StorageReady")
            assert ready["reason"] == "VolumeStuck", ready
            return True

        eventually(stuck, deadline_s=STUCK_S, what="the volume is said to be stuck")
        assert claims(cluster) == before, "nothing is given up unasked"
        said = plugin(kubectl, "explain", cluster.name)
        assert "kubectl quorate unbind" in " ".join(said.split()), said
        began = time.monotonic()
        plugin(kubectl, "unbind", cluster.name, "--node", str(lost))

        def filled() -> bool:
            cluster.settled()
            assert cluster.node_of(lost) != node
            return True

        eventually(filled, deadline_s=FILLED_S, what="the broker runs elsewhere, and is filled")
        figure("unbound_s", time.monotonic() - began)
        load.finish()
    changed = {name for name, volume in claims(cluster).items() if volume != before[name]}
    assert changed == {f"data-{cluster.pod_of(lost)}"}


def plugin(kubectl: kube.Kubectl, *words: str) -> str:
    """What `kubectl quorate` says in that namespace."""
    command = [str(Path(sys.executable).parent / "kubectl-quorate"), *words]
    tool = kubectl.cluster.kubeconfig_path
    path = os.pathsep.join([str(binaries.tool("kubectl").parent), "/usr/bin", "/bin"])
    done = subprocess.run(
        [*command, f"--namespace={kubectl.namespace}"],
        env={"KUBECONFIG": str(tool), "PATH": path, "HOME": str(tool.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
