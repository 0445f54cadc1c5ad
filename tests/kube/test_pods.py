"""The pods themselves: restricted, without Java, and the same node again with its volume."""

import json

from quorate_bed import install
from quorate_bed.kube import Kubectl
from quorate_bed.polling import eventually
from quorate_bed.product import BrokerCluster, Json

BACK_S = 60
USER = 10001

LOOK = """
import json, os, pathlib, re
status = pathlib.Path("/proc/1/status").read_text()
field = lambda name: re.search(rf"^{name}:\\s+(.*)$", status, re.M)[1]
def writable(path):
    try:
        (pathlib.Path(path) / "probe").write_text("")
        (pathlib.Path(path) / "probe").unlink()
        return True
    except OSError as error:
        return error.strerror
java = [
    os.path.join(folder, name)
    for folder, folders, names in os.walk("/")
    if not folder.startswith(("/proc", "/sys"))
    for name in [*folders, *names]
    if re.search(r"^(java|javac|jvm|jre|jdk|zookeeper)([-_0-9].*)?$|\\.jar$|^libjvm", name, re.I)
]
print(json.dumps({
    "users": field("Uid").split(),
    "capabilities": field("CapEff"),
    "no_new_privileges": field("NoNewPrivs"),
    "seccomp": field("Seccomp"),
    "writable": {path: writable(path) for path in ("/", "/etc", "/opt/quorate", "/tmp")},
    "data": writable("/var/lib/quorate"),
    "token": os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"),
    "java": java,
    "processes": sorted(
        (pathlib.Path("/proc") / pid / "comm").read_text().strip()
        for pid in os.listdir("/proc") if pid.isdigit() and pid != str(os.getpid())
    ),
}))
"""


def look_inside(three: BrokerCluster, pod: str) -> Json:
    found: Json = json.loads(three.kubectl("exec", pod, "--", "python3", "-c", LOOK))
    return found


def test_a_broker_runs_restricted_on_a_read_only_root_with_nothing_else_beside_it(
    three: BrokerCluster,
) -> None:
    namespace = three.kubectl.get("namespace", three.kubectl.namespace)
    assert namespace is not None
    labels = namespace["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    found = look_inside(three, three.pod_of(1))
    assert found["users"] == [str(USER)] * 4
    assert int(found["capabilities"], 16) == 0
    assert found["no_new_privileges"] == "1"
    assert found["seccomp"] == "2", "a filter"
    read_only = {path: found["writable"][path] for path in ("/", "/etc", "/opt/quorate")}
    assert set(read_only.values()) == {"Read-only file system"}, read_only
    assert found["writable"]["/tmp"] is True
    assert found["data"] is True
    assert found["token"] is False, "no rights in Kubernetes"
    pod = three.pod(1)
    assert len(pod["spec"]["containers"]) == 1
    assert not pod["spec"].get("initContainers")


def test_there_is_no_java_in_the_image_and_no_coordination_service_in_the_namespace(
    three: BrokerCluster,
) -> None:
    found = look_inside(three, three.pod_of(1))
    assert found["java"] == []
    assert found["processes"] == ["quorate-broker"]
    sets = {one["metadata"]["name"] for one in three.kubectl.list("statefulsets,deployments")}
    assert sets == {f"{three.name}-broker", f"{three.name}-flanking"}
    pods = {one["metadata"]["name"] for one in three.kubectl.list("pods")}
    brokers = {three.pod_of(node_id) for node_id in three.broker_ids()}
    assert pods == {"client", *brokers}, "brokers and the test's own client, and they serve"


def test_a_deleted_pod_comes_back_as_the_same_node_with_its_data(three: BrokerCluster) -> None:
    before = three.status()
    node_id = next(i for i in three.broker_ids() if i != before["leader"]["nodeId"])
    name = three.pod_of(node_id)
    claim = f"data-{name}"

    def identity() -> tuple[str, Json]:
        volume = three.kubectl.get("pvc", claim)
        assert volume is not None
        shown = next(n for n in three.status()["nodes"] if n["nodeId"] == node_id)
        stored = three.kubectl("exec", name, "--", "cat", "/var/lib/quorate/node.json")
        assert shown["ready"]
        return volume["metadata"]["uid"], {"shown": shown, "stored": json.loads(stored)}

    with three.load("deleted-pod") as load:
        old = identity()
        uid = three.pod(node_id)["metadata"]["uid"]
        three.kubectl.delete_pods(name)

        def back() -> bool:
            assert three.pod(node_id)["metadata"]["uid"] != uid
            three.settled()
            return True

        eventually(back, deadline_s=BACK_S, what="the deleted pod back")
        assert identity() == old
        load.finish()
    after = three.status()
    assert after["clusterId"] == before["clusterId"]
    summary = three.admin(node_id, f"/v1/partitions/kafka/{load.topic}")
    assert summary is not None
    assert any(node_id in [r["node_id"] for r in p["replicas"]] for p in summary), "it has replicas"


def test_another_order_of_the_same_spec_changes_nothing(three: BrokerCluster) -> None:
    kinds = ("configmap/three-config", "statefulset/three-broker", "statefulset/three-flanking")
    kinds += ("service/three-bootstrap",)

    def versions() -> list[str]:
        template = "--output=jsonpath={range .items[*]}{.metadata.resourceVersion} {end}"
        return three.kubectl("get", *kinds, template).split()

    before, generation = versions(), three.resource()["metadata"]["generation"]
    assert len(before) == len(kinds)
    listeners = three.resource()["spec"]["listeners"]
    assert len(listeners) == 2
    three.kubectl.patch("bc", three.name, {"spec": {"listeners": listeners[::-1]}})
    status = three.settle()
    assert status["observedGeneration"] == generation + 1
    assert versions() == before


def test_operator_and_brokers_live_in_namespaces_that_enforce_the_restricted_standard(
    three: BrokerCluster,
) -> None:
    for name in (three.kubectl.namespace, install.NAMESPACE):
        labels = three.kubectl.json("get", "namespace", name)["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    operators = Kubectl(three.kubectl.cluster, install.NAMESPACE).list("pods")
    assert operators, "it runs there"
    assert three.pods("broker")
