"""Empty pods become one cluster, once; a volume of another cluster does not get in."""

import dataclasses
import time
from collections.abc import Iterator

import pytest

from quorate_bed import cluster as clusters
from quorate_bed import kube, nodes, product
from quorate_bed.polling import eventually
from quorate_bed.product import BrokerCluster, Json, condition, restarts

SEEN_S = 5.5
"""T of the requirements: two polls of the operator and an election."""
UP_S = 90
ALONE_S = 3
"""Twice the longest election: long enough for one that should not be."""
ORDER = (3, 1, 2)


@pytest.fixture(scope="module")
def late(cluster: clusters.Cluster, api: product.Api) -> Iterator[BrokerCluster]:
    """A cluster whose brokers are all held back, in a namespace of its own."""
    with kube.namespace(cluster, "forming") as name:
        made = BrokerCluster(kube.Kubectl(cluster, name), api, "late", flanking=1)
        yield made


def formed(late: BrokerCluster) -> Json:
    status = late.status()
    assert "leader" in status, condition(status, "Ready")
    told = {late.health(node_id)["controller_id"] for node_id in late.broker_ids()}
    assert told == {status["leader"]["nodeId"]}, told
    ids = {late.health(node_id)["cluster_id"] for node_id in late.broker_ids()}
    assert ids == {status["clusterId"]}, ids
    return status


def test_three_empty_pods_let_in_one_by_one_form_one_cluster_when_the_last_has_come(
    late: BrokerCluster,
) -> None:
    holds = {node_id: late.kill(node_id, hold=True) for node_id in late.broker_ids()}

    def let_in(node_id: int) -> None:
        """A new pod, since the node would start the refused one only after a pause."""
        holds.pop(node_id).release()
        name = late.pod_of(node_id)
        late.kubectl("delete", "pod", name, "--now", "--wait=false", "--ignore-not-found")
        eventually(lambda: late.health(node_id), deadline_s=UP_S, what="an answer")

    try:
        late.apply()
        for node_id in ORDER[:-1]:
            let_in(node_id)
            until = time.monotonic() + ALONE_S
            while time.monotonic() < until:
                health = late.health(node_id)
                assert health["controller_id"] == -1, "fewer than all seeds form no cluster"
                status = late.status()
                assert "leader" not in status
                assert "clusterId" not in status
                ready = condition(status, "Ready")
                assert (ready["status"], ready["reason"]) == ("False", "Provisioning"), ready
                time.sleep(0.5)
        let_in(ORDER[-1])
        status = eventually(
            lambda: formed(late), deadline_s=SEEN_S, what="one leader, told by all and the status"
        )
    finally:
        for hold in holds.values():
            hold.release()
    assert status["leader"]["nodeId"] in late.broker_ids(), "ids begin at 1"
    assert status["leader"]["pod"] == late.pod_of(status["leader"]["nodeId"])
    status = late.settle()
    roles = [(node["nodeId"], node["role"]) for node in status["nodes"]]
    assert roles == [(1, "broker"), (2, "broker"), (3, "broker"), (101, "flanking")]


def test_a_broker_with_the_volume_of_another_cluster_is_kept_out_and_the_others_go_on(
    late: BrokerCluster,
) -> None:
    other = dataclasses.replace(late, name="other", brokers=1, flanking=0)
    with nodes.only(late.kubectl.cluster, late.node_of(1)):  # whose volumes one pod has to see
        other.apply()
        stranger = other.settle()["clusterId"]
    late.client.start()
    late.kubectl.apply(surgeon(f"data-{late.pod_of(1)}", f"data-{other.pod_of(1)}"))
    cluster_id = late.settle()["clusterId"]
    assert stranger != cluster_id
    with late.load("strangers") as load:
        with late.kill(1, hold=True):
            eventually(lambda: surgeon_ready(late), deadline_s=UP_S, what="the surgeon ready")
            late.kubectl("exec", "surgeon", "--", "sh", "-c", TRANSPLANT)
        name = late.pod_of(1)

        def refused() -> bool:
            assert restarts(late.pod(1)) > 0
            said = late.kubectl("logs", name) + late.kubectl("logs", name, "--previous")
            assert stranger in said, said[-1000:]
            return cluster_id in said

        eventually(refused, deadline_s=UP_S, what="its log names both clusters")

        def shown_out() -> Json:
            status = late.status()
            first = next(node for node in status["nodes"] if node["nodeId"] == 1)
            assert not first["ready"]
            return status

        status = eventually(shown_out, deadline_s=SEEN_S, what="the kept out one shown as such")
        assert status["clusterId"] == cluster_id
        assert status["leader"]["nodeId"] in (2, 3)
        assert condition(status, "Ready")["status"] == "True"
        for node_id in (2, 3):
            assert late.health(node_id)["cluster_id"] == cluster_id
        load.finish()


TRANSPLANT = "rm -rf /ours/* && cp -r /theirs/* /ours/ && ls /ours/node.json"


def surgeon(ours: str, theirs: str) -> Json:
    """A pod that has two brokers' volumes at hand."""
    volumes = {"ours": ours, "theirs": theirs}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "surgeon"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "surgeon",
                    "image": kube.CLIENT_IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": one, "mountPath": f"/{one}"} for one in volumes],
                }
            ],
            "volumes": [
                {"name": one, "persistentVolumeClaim": {"claimName": claim}}
                for one, claim in volumes.items()
            ],
        },
    }


def surgeon_ready(late: BrokerCluster) -> bool:
    pod = late.kubectl.get("pod", "surgeon")
    return pod is not None and condition(pod["status"], "Ready")["status"] == "True"
