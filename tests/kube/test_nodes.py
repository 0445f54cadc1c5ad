"""Kubernetes nodes are drained, die and come back; a broker's volume stays where it is."""

import json
import time
from collections.abc import Callable

import pytest

from quorate_bed import nodes
from quorate_bed.polling import eventually
from quorate_bed.product import BrokerCluster, Json, condition
from quorate_bed.shell import CommandError

SEEN_S = 60
"""A quiet broker is asked every half a minute, and one without power closes no connection."""
BACK_S = 180
NOT_READY_S = 120
"""Kubernetes itself waits most of a minute before it calls a node NotReady."""


def broker_on(three: BrokerCluster, node: str) -> int:
    """The id of the broker that runs there."""
    found = [node_id for node_id in three.broker_ids() if three.node_of(node_id) == node]
    assert len(found) == 1, f"{len(found)} brokers on {node}: they are not spread"
    return found[0]


def evict(three: BrokerCluster, node_id: int) -> str:
    """What the API server says to an eviction; empty when it agrees."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": three.pod_of(node_id), "namespace": three.kubectl.namespace},
    }
    namespace = f"/api/v1/namespaces/{three.kubectl.namespace}"
    path = f"{namespace}/pods/{three.pod_of(node_id)}/eviction"
    try:
        three.kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(eviction))
    except CommandError as error:
        return str(error)
    return ""


def test_the_brokers_are_spread_over_nodes_and_zones(three: BrokerCluster) -> None:
    places = [three.node_of(node_id) for node_id in three.broker_ids()]
    zones = {nodes.zone(three.kubectl.cluster, node) for node in places}
    assert len(set(places)) == len(zones) == 3, places


@pytest.mark.full
@pytest.mark.usefixtures("unrest")
def test_each_node_is_drained_in_turn_and_its_broker_waits_with_its_volume_for_the_uncordon(
    three: BrokerCluster, figure: Callable[[str, float], None]
) -> None:
    cluster = three.kubectl.cluster
    with three.load("drained") as load:
        for node in cluster.nodes():
            node_id = broker_on(three, node)
            others = [other for other in three.broker_ids() if other != node_id]
            began = time.monotonic()
            with nodes.drained(cluster, node):
                figure(f"drain_{node}_s", time.monotonic() - began)

                def waits(node_id: int = node_id) -> Json:
                    assert three.pod(node_id)["status"]["phase"] == "Pending"
                    assert not three.node_of(node_id)
                    status = three.status()
                    assert condition(status, "Ready")["status"] == "True"
                    assert condition(status, "FullyReplicated")["status"] == "False"
                    assert status["leader"]["nodeId"] != node_id
                    return status

                eventually(waits, deadline_s=SEEN_S, what="it waits, and the others serve")
                for other in others:
                    assert "disruption budget" in evict(three, other)
                load.goes_on()
                assert [three.pod(other)["status"]["phase"] for other in others] == ["Running"] * 2
            eventually(three.settled, deadline_s=BACK_S, what="it is back")
            assert three.node_of(node_id) == node, "its volume is there"
        written = load.finish()
    figure("slowest_ack_s", written.slowest_ms / 1000)


@pytest.mark.full
@pytest.mark.usefixtures("unrest")
def test_a_node_without_power_takes_one_broker_with_it_and_brings_it_back(
    three: BrokerCluster, figure: Callable[[str, float], None]
) -> None:
    cluster = three.kubectl.cluster
    needed = (client(three), operators(three))
    dead = next(node for node in cluster.nodes() if node not in needed)
    lost = broker_on(three, dead)
    others = [node_id for node_id in three.broker_ids() if node_id != lost]
    uids = [three.pod(other)["metadata"]["uid"] for other in others]
    with three.load("power-cut") as load:
        with cluster.power_cut(dead):
            load.goes_on()

            def honest() -> Json:
                status = three.status()
                node = next(one for one in status["nodes"] if one["nodeId"] == lost)
                assert not node["ready"]
                assert node["state"] == "down"
                assert status["leader"]["nodeId"] in others
                assert condition(status, "Ready")["status"] == "True"
                assert condition(status, "FullyReplicated")["status"] == "False"
                return status

            eventually(honest, deadline_s=SEEN_S, what="the status says what is gone")

            def not_ready() -> bool:
                return condition(three.pod(lost)["status"], "Ready")["status"] == "False"

            eventually(not_ready, deadline_s=NOT_READY_S, what="Kubernetes has noticed, too")
            assert three.node_of(lost) == dead, "its volume is there, so it goes nowhere else"
            assert honest()
            load.goes_on()
        eventually(three.settled, deadline_s=BACK_S, what="it is back with its node")
        written = load.finish()
    figure("slowest_ack_s", written.slowest_ms / 1000)
    assert [three.pod(other)["metadata"]["uid"] for other in others] == uids


def client(three: BrokerCluster) -> str:
    """The node on which the load runs."""
    return str(three.kubectl.json("get", "pod", three.client.name)["spec"]["nodeName"])


def operators(three: BrokerCluster) -> str:
    """The node on which the operator runs."""
    pods = json.loads(
        three.kubectl.cluster.kubectl(
            *("get", "pods", "--all-namespaces", "--output=json"),
            "--selector=app.kubernetes.io/name=quorate-operator",
        )
    )
    return str(pods["items"][0]["spec"]["nodeName"])
