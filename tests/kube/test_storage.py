"""Volumes grow while they are used, and a cluster sleeps on them."""

import time
from collections.abc import Callable

import pytest

from quorate_bed import kube
from quorate_bed.polling import eventually
from quorate_bed.product import BrokerCluster, restarts

GROWN_S = 90
ASLEEP_S = 90
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
        load.goes_on()
        written = load.finish()
    written.check()
    assert [(pod["metadata"]["uid"], restarts(pod)) for pod in three.pods("broker")] == before


@pytest.mark.full
@pytest.mark.usefixtures("unrest")
def test_a_cluster_that_hibernates_has_no_pod_keeps_its_volumes_and_wakes_with_all_its_records(
    three: BrokerCluster, figure: Callable[[str, float], None]
) -> None:
    with three.load("hibernated") as load:
        load.goes_on()
        written = load.finish()
    written.check()
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
    read = three.client.python(script, three.bootstrap, "hibernated", count)
    assert read["different"] >= written.acknowledged
