"""The whole shape of a cluster on a real API server: examples run, settle, and are written to no
more; addresses and levels reach brokers that go on running."""

import json
from typing import Any

import pytest
import yaml

from quorate_bed import kube, paths, product
from quorate_bed.kube import CLIENT_IMAGE
from quorate_bed.polling import eventually
from quorate_bed.product import BrokerCluster, Json
from quorate_operator import render
from quorate_operator.facts import Subject
from quorate_operator.model import BrokerClusterSpec
from quorate_operator.names import MANAGER, Key, Names
from quorate_operator.plan import children
from quorate_operator.testing.golden import SUBJECTS

EXAMPLES = paths.REPOSITORY / "examples"
SETTLED_S = 240
LEVEL_S = 150
"""A kubelet looks at the files of a ConfigMap about once a minute."""
BROKERS = """
import json, sys
from confluent_kafka.admin import AdminClient
found = AdminClient({"bootstrap.servers": sys.argv[1]}).list_topics(timeout=20)
print(json.dumps(sorted([one.id, one.host, one.port] for one in found.brokers.values())))
"""
KINDS = (
    "statefulsets,services,configmaps,serviceaccounts,persistentvolumeclaims"
    ",poddisruptionbudgets,networkpolicies,horizontalpodautoscalers,brokerclusters"
)


def example(name: str) -> Json:
    written: Json = yaml.safe_load((EXAMPLES / name).read_text())
    written["spec"]["storage"]["size"] = "256Mi"
    return written


def made(kubectl: kube.Kubectl, api: product.Api, written: Json) -> BrokerCluster:
    """Applied and settled, in its own namespace under the restricted standard."""
    kubectl.apply(written)
    cluster = BrokerCluster(kubectl, api, written["metadata"]["name"])
    eventually(cluster.settled, deadline_s=SETTLED_S, what=f"{cluster.name} settled")
    return cluster


def versions(cluster: BrokerCluster) -> dict[str, str]:
    found = json.loads(cluster.kubectl("get", KINDS, "-o", "json"))["items"]
    return {
        f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
        for one in found
    }


def brokers_of(cluster: BrokerCluster) -> list[Json]:
    found: Any = cluster.admin(1, "/v1/brokers")
    return list(found or [])


def lives(cluster: BrokerCluster) -> list[tuple[str, int]]:
    return [(pod["metadata"]["uid"], product.restarts(pod)) for pod in cluster.pods("broker")]


def manifests(namespace: str, spec: Json) -> list[Json]:
    """Those of a cluster called `shape`, without an owner: there is none here."""
    parsed = BrokerClusterSpec.model_validate(spec)
    subject = Subject(
        spec=parsed,
        names=Names(Key(namespace, "shape")),
        uid="",
        image="quorate-broker:none",
        cluster_id="",
        claim_size=parsed.storage.size,
        brokers=parsed.replicas,
    )
    found = [json.loads(json.dumps(one)) for one in render.render(subject)]
    for manifest in found:
        del manifest["metadata"]["ownerReferences"]
    return [one for one in found if one["kind"] != "PodMonitor"]  # nobody here knows such a kind


SPECS = {
    **{name: dict(spec) for name, spec in SUBJECTS.items()},
    **{
        path.name: yaml.safe_load(path.read_text())["spec"]
        for path in sorted(EXAMPLES.glob("*.yaml"))
    },
}


@pytest.mark.parametrize("name", SPECS)
def test_what_the_api_server_makes_of_each_manifest_is_what_is_wanted(
    name: str, kubectl: kube.Kubectl
) -> None:
    """Its defaults, the ports and addresses that it chooses, what it leaves out: no difference."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-pods"}}
    kubectl.apply({**quota, "spec": {"hard": {"pods": "0"}}})
    wanted = manifests(kubectl.namespace, SPECS[name])
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted})
    said = kubectl(
        *("apply", "--server-side", f"--field-manager={MANAGER}", "--filename=-", "--output=json"),
        stdin=text,
    )
    assert "forbidden" not in said
    live = {
        (one["kind"], one["metadata"]["name"]): one
        for kind in sorted({one["kind"] for one in wanted})
        for one in kubectl.json("get", kind)["items"]
    }
    assert list(children.differences(wanted, live)) == []


def test_everything_that_can_be_asked_for_runs_restricted_and_settles_without_writes(
    kubectl: kube.Kubectl, api: product.Api, operator: product.Operator
) -> None:
    written = example("everything.yaml")
    (client,) = written["spec"]["flanking"]["containers"]
    client |= {"image": CLIENT_IMAGE, "imagePullPolicy": "IfNotPresent"}
    cluster = made(kubectl, api, written)
    assert cluster.condition("RacksKnown")["status"] == "True"
    for node_id in cluster.broker_ids():
        (mine,) = [one for one in brokers_of(cluster) if one["node_id"] == node_id]
        assert mine["rack"].startswith("zone-")

    for claim in kubectl.list("persistentvolumeclaims", "quorate.dev/cluster"):
        notes = claim["metadata"]["annotations"]
        assert notes["argocd.argoproj.io/sync-options"] == "Prune=false"
        assert claim["metadata"]["labels"]["backup"] == "daily"
    for pod in cluster.pods("broker"):
        assert pod["spec"]["securityContext"]["runAsUser"] == 20001
        assert pod["metadata"]["labels"]["team"] == "streaming"
    (front,) = cluster.pods("flanking")
    told = {one["name"]: one.get("value") for one in front["spec"]["containers"][1]["env"]}
    assert told["QUORATE_BOOTSTRAP_SERVERS"].startswith("everything-bootstrap.")

    def still() -> bool:
        before = versions(cluster), operator.writes()
        for _ in range(10):
            kubectl("get", "pods")
        return (versions(cluster), operator.writes()) == before

    eventually(still, deadline_s=60, what="nothing is written")

    alive = lives(cluster)
    change: Json = {"spec": {"logging": {"level": "debug", "format": "json"}}}
    kubectl.patch("bc", cluster.name, change)

    def heeded() -> bool:
        said = kubectl("logs", f"{cluster.name}-broker-0", "-c", "broker", "--tail=5")
        return any(line.startswith("{") for line in said.splitlines())

    eventually(heeded, deadline_s=LEVEL_S, what="JSON is logged")
    assert lives(cluster) == alive


def test_addresses_reach_brokers_that_run_and_nobody_waits_for_them(
    kubectl: kube.Kubectl, api: product.Api, client_pod: kube.ClientPod
) -> None:
    """There is no load balancer here: the cluster serves all the same, and says what is missing."""
    written = example("listeners.yaml")
    for listener in written["spec"]["listeners"]:
        listener.pop("networkPolicyPeers", None)
        listener.pop("advertised", None)
    cluster = made(kubectl, api, written)
    waiting = cluster.condition("ListenersReady")
    assert waiting["reason"] == "WaitingForAddresses"
    assert "reachable-internet-0" in waiting["message"]
    alive = lives(cluster)

    def seen(address: str) -> Any:
        return client_pod.python(BROKERS, address)

    assert [host for _, host, _ in seen("reachable-fixed-bootstrap:9093")] == [
        f"reachable-fixed-{n}.{kubectl.namespace}.svc" for n in range(3)
    ]
    ports = [
        kubectl.get("service", f"reachable-nodes-{n}")["spec"]["ports"][0]["nodePort"]  # type: ignore[index]
        for n in range(3)
    ]

    def by_node_port() -> Any:
        return [port for _, _, port in seen("reachable-nodes-bootstrap:9094")] == ports

    eventually(by_node_port, deadline_s=60, what="node ports are told")

    services = [f"reachable-internet-{n}" for n in range(3)]
    for number, name in enumerate([*services, "reachable-internet-bootstrap"]):
        given = {"status": {"loadBalancer": {"ingress": [{"ip": f"203.0.113.{number}"}]}}}
        kubectl("patch", "service", name, "--subresource=status", "--patch", json.dumps(given))

    def by_balancer() -> bool:
        found = seen("reachable-internet-bootstrap:9095")
        return bool(found == [[n + 1, f"203.0.113.{n}", 9095] for n in range(3)])

    eventually(by_balancer, deadline_s=60, what="addresses of load balancers are told")
    eventually(
        lambda: cluster.condition("ListenersReady")["status"] == "True",
        deadline_s=60,
        what="all addresses known",
    )
    told = {one["name"]: one for one in cluster.status()["listeners"]}
    assert told["internet"]["bootstrapServers"] == "203.0.113.3:9095"
    assert lives(cluster) == alive

    kubectl.patch("bc", cluster.name, {"spec": {"networkPolicy": "None"}})
    eventually(
        lambda: not kubectl.list("networkpolicies", "quorate.dev/cluster"),
        deadline_s=60,
        what="policies are gone",
    )
