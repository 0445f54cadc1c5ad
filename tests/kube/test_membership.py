"""Brokers come: by growing a cluster, and with an empty volume in the place of a lost one."""

import json
from collections.abc import Iterator

import pytest

from quorate_bed import cluster as clusters
from quorate_bed import kube, product
from quorate_bed.polling import eventually
from quorate_bed.product import BrokerCluster, Json
from quorate_bed.shell import CommandError

GROWN_S = 120
BACK_S = 120

REPLICATED = """
import json, sys
from confluent_kafka.admin import AdminClient, NewTopic

admin = AdminClient({"bootstrap.servers": sys.argv[1]})
for made in admin.create_topics([NewTopic(sys.argv[2], 3, 3)]).values():
    made.result(30)
found = admin.list_topics(sys.argv[2], timeout=30).topics[sys.argv[2]]
print(json.dumps([sorted(each.replicas) for each in found.partitions.values()]))
"""


@pytest.fixture
def lone(cluster: clusters.Cluster, api: product.Api) -> Iterator[BrokerCluster]:
    """One broker that serves, with a client pod, in a namespace of its own."""
    with kube.namespace(cluster, "growing") as name:
        made = BrokerCluster(kube.Kubectl(cluster, name), api, "grown", brokers=1)
        made.apply()
        made.client.start()
        made.settle()
        eventually(made.reached, what="its Service leads to it")
        yield made


def test_one_broker_grows_to_three_under_load_and_new_topics_are_on_all_of_them(
    lone: BrokerCluster,
) -> None:
    first = lone.status()
    with lone.load("before") as load:
        lone.kubectl.patch("bc", lone.name, {"spec": {"replicas": 3}})

        def voting() -> Json:
            status = lone.settled()
            assert [node["role"] for node in status["nodes"]] == ["broker"] * 3
            return status

        status = eventually(voting, deadline_s=GROWN_S, what="three brokers")
        load.finish()
    assert status["clusterId"] == first["clusterId"]
    assert status["leader"] == first["leader"], "nobody has to be elected for it"
    assert lone.client.python(REPLICATED, lone.bootstrap, "after") == [[1, 2, 3]] * 3


@pytest.mark.usefixtures("unrest")
def test_a_broker_whose_volume_is_lost_comes_back_empty_and_is_filled_while_the_others_serve(
    three: BrokerCluster,
) -> None:
    leader = three.status()["leader"]["nodeId"]
    lost = leader % len(three.broker_ids()) + 1
    with three.load("lost-volume") as load:
        before = identity(three, lost)
        assert before
        claim = f"data-{three.pod_of(lost)}"
        three.kubectl("delete", "pvc", claim, "--wait=false")
        three.kubectl.delete_pods(three.pod_of(lost))

        def back() -> Json:
            three.settled()
            assert identity(three, lost) not in ("", before)
            health = three.health(leader)
            assert health["is_healthy"], health
            assert health["under_replicated_count"] == 0, health
            return health

        eventually(back, deadline_s=BACK_S, what="the empty broker filled")
        load.finish()
    assert three.status()["leader"]["nodeId"] == leader


def identity(three: BrokerCluster, node_id: int) -> str:
    """The incarnation that is written on the broker's disk; empty while that cannot be read.

    A status may still be that of before, while nobody looks: the operator is being killed.
    """
    path = "/var/lib/quorate/node.json"
    try:
        stored = three.kubectl("exec", three.pod_of(node_id), "--", "cat", path)
    except CommandError:
        return ""
    return str(json.loads(stored)["incarnation"])
