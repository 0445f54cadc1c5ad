"""The cluster does what a Kubernetes has to do for the product: names, storage, images, kills.

Most of it is among the long tests: those of the product use it all, and would be red with it.
"""

import signal
import urllib.request
from typing import Any

import pytest

from quorate_bed import cluster as clusters
from quorate_bed import images
from quorate_bed.kube import ClientPod, Kubectl
from quorate_bed.polling import eventually
from quorate_bed.shell import CommandError

pytestmark = pytest.mark.kube

SERVER = """date >> /data/starts
cp /data/starts /data/index.html
exec python3 -m http.server -d /data 8000"""
MEBIBYTE = 1 << 20


def web(name: str, size: str) -> list[dict[str, Any]]:
    """A StatefulSet of two web servers, each with a volume, and both kinds of Service."""
    labels = {"app": name}
    container = {
        "name": "web",
        "image": "quorate-client:dev",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", SERVER],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "20m"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    security = {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    service = {"selector": labels, "ports": [{"port": 80, "targetPort": 8000}]}
    metadata = {"apiVersion": "v1", "kind": "Service"}
    return [
        {**metadata, "metadata": {"name": name}, "spec": {**service, "clusterIP": "None"}},
        {**metadata, "metadata": {"name": f"{name}-front"}, "spec": service},
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": name},
            "spec": {
                "serviceName": name,
                "replicas": 2,
                "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "securityContext": {
                            **security,
                            "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "containers": [container],
                    },
                },
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
            },
        },
    ]


def ready(kubectl: Kubectl, pod: str) -> bool:
    found = kubectl.get("pod", pod)
    assert found is not None
    statuses = found["status"].get("containerStatuses", [])
    return bool(statuses) and all(status["ready"] for status in statuses)


def start(kubectl: Kubectl, size: str = "64Mi") -> None:
    kubectl.apply(*web("web", size))
    for pod in ("web-0", "web-1"):
        eventually(lambda pod=pod: kubectl.get("pod", pod), what=pod)
        eventually(lambda pod=pod: ready(kubectl, pod), deadline_s=60, what=f"{pod} ready")


def test_services_and_pods_are_reached_by_their_names_from_a_restricted_pod(
    kubectl: Kubectl,
) -> None:
    start(kubectl)
    client = ClientPod(kubectl)
    client.start()
    fetch = "import sys,json,urllib.request as u;print(json.dumps(u.urlopen(sys.argv[1]).status))"
    for host in ("web-front", "web-0.web:8000", f"web-1.web.{kubectl.namespace}.svc:8000"):
        assert eventually(lambda host=host: client.python(fetch, f"http://{host}/")) == 200
    with pytest.raises(CommandError, match="URLError"):
        client.python(fetch, f"http://web-7.web.{kubectl.namespace}.svc/")


@pytest.mark.full
def test_a_claim_is_a_file_system_of_its_size_that_its_group_may_fill_to_the_end(
    kubectl: Kubectl,
) -> None:
    start(kubectl, "64Mi")
    fill = (
        "import json\n"
        "written = 0\n"
        "try:\n"
        "    with open('/data/full', 'wb', buffering=0) as file:\n"
        "        while True:\n"
        "            written += file.write(bytes(65536))\n"
        "except OSError as error:\n"
        "    print(json.dumps([written, error.strerror]))\n"
    )
    said = kubectl("exec", "web-0", "--", "python3", "-c", fill)
    assert "No space left on device" in said
    assert 40 * MEBIBYTE < int(said.strip("[\n").partition(",")[0]) < 64 * MEBIBYTE
    assert kubectl("exec", "web-1", "--", "touch", "/data/its-own-is-not-full") == ""


@pytest.mark.full
def test_a_claim_that_grows_grows_while_it_is_used(kubectl: Kubectl) -> None:
    start(kubectl, "64Mi")
    measure = "import os;s=os.statvfs('/data');print(s.f_blocks*s.f_frsize)"

    def size() -> int:
        return int(kubectl("exec", "web-0", "--", "python3", "-c", measure))

    assert size() < 64 * MEBIBYTE
    kubectl.patch("pvc", "data-web-0", {"spec": {"resources": {"requests": {"storage": "160Mi"}}}})
    eventually(lambda: size() > 120 * MEBIBYTE, what="a larger file system")

    def told() -> bool:
        claim = kubectl.get("pvc", "data-web-0")
        assert claim is not None
        return bool(claim["status"]["capacity"]["storage"] == "160Mi")

    eventually(told, what="the claim's new capacity")


@pytest.mark.full
def test_a_pod_that_comes_back_has_its_volume_again(kubectl: Kubectl) -> None:
    start(kubectl)
    kubectl.delete_pods("web-0")
    eventually(lambda: ready(kubectl, "web-0"), deadline_s=60, what="web-0 ready again")
    starts = kubectl("exec", "web-0", "--", "cat", "/data/starts").splitlines()
    assert len(starts) == 2


@pytest.mark.full
def test_a_killed_pod_is_started_again_by_its_node(
    kubectl: Kubectl, cluster: clusters.Cluster
) -> None:
    start(kubectl)
    cluster.kill("web-0", signal.SIGKILL, namespace=kubectl.namespace)

    def restarted() -> bool:
        pod = kubectl.get("pod", "web-0")
        assert pod is not None
        status = pod["status"]["containerStatuses"][0]
        return bool(status["restartCount"] == 1 and status["ready"])

    eventually(restarted, what="the restarted container")
    pod = kubectl.get("pod", "web-0")
    assert pod is not None
    ended = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert ended["exitCode"] == 128 + signal.SIGKILL


@pytest.mark.full
def test_a_held_pod_stays_dead_even_when_it_is_deleted_until_the_hold_is_released(
    kubectl: Kubectl, cluster: clusters.Cluster
) -> None:
    start(kubectl)
    before = kubectl.get("pod", "web-0")
    assert before is not None
    with cluster.kill("web-0", hold=True, namespace=kubectl.namespace):
        eventually(lambda: not ready(kubectl, "web-0"), what="web-0 not ready")
        kubectl.delete_pods("web-0", grace_s=1)

        def refused() -> bool:
            """A new pod of that name came, and its container was refused twice."""
            pod = kubectl.get("pod", "web-0")
            assert pod is not None
            assert pod["metadata"]["uid"] != before["metadata"]["uid"]
            (status,) = pod["status"].get("containerStatuses", [None])
            assert status is not None, "the node has not looked at it yet"
            assert not status["ready"]
            return bool(status["restartCount"] >= 1)

        eventually(refused, what="the new pod refused")
        assert ready(kubectl, "web-1")
    eventually(lambda: ready(kubectl, "web-0"), what="web-0 ready after the release")
    starts = kubectl("exec", "web-0", "--", "cat", "/data/starts").splitlines()
    assert len(starts) == 2


@pytest.mark.full
def test_a_paused_pod_answers_nothing_until_it_goes_on(
    kubectl: Kubectl, cluster: clusters.Cluster
) -> None:
    start(kubectl)
    cluster.kill("web-0", signal.SIGSTOP, namespace=kubectl.namespace)
    eventually(lambda: not ready(kubectl, "web-0"), what="web-0 not ready")
    cluster.kill("web-0", signal.SIGCONT, namespace=kubectl.namespace)
    eventually(lambda: ready(kubectl, "web-0"), what="web-0 ready")
    starts = kubectl("exec", "web-0", "--", "cat", "/data/starts").splitlines()
    assert len(starts) == 1


@pytest.mark.full
def test_a_port_of_a_service_is_reached_from_this_machine(
    kubectl: Kubectl, cluster: clusters.Cluster
) -> None:
    start(kubectl)
    forward = cluster.port_forward("service/web-front", 80, namespace=kubectl.namespace)
    with forward as port, urllib.request.urlopen(f"http://127.0.0.1:{port}/") as reply:
        assert reply.status == 200


def test_an_image_that_a_node_has_is_not_loaded_again(cluster: clusters.Cluster) -> None:
    client = images.IMAGES["client"]
    archive = images.build(client)
    cluster.load_image(archive, client.reference)
    assert cluster.load_image(archive, client.reference) is False


FETCH = """
import json, sys, urllib.request
try:
    print(json.dumps(urllib.request.urlopen(sys.argv[1], timeout=2).status))
except OSError as error:
    print(json.dumps(repr(error)))
"""


def node_of(kubectl: Kubectl, pod: str) -> str:
    found = kubectl.get("pod", pod)
    assert found is not None
    return str(found["spec"]["nodeName"])


@pytest.mark.full
def test_a_node_without_power_is_silent_and_starts_its_pods_again_when_it_is_back(
    kubectl: Kubectl, cluster: clusters.Cluster
) -> None:
    start(kubectl)
    client = ClientPod(kubectl)
    dead, *others = [node_of(kubectl, "web-1"), *cluster.nodes()]
    client.start(next(node for node in others if node != dead))
    addresses = {
        pod: (kubectl.get("pod", pod) or {})["status"]["podIP"] for pod in ("web-0", "web-1")
    }
    uid = (kubectl.get("pod", "web-1") or {})["metadata"]["uid"]
    assert client.python(FETCH, f"http://{addresses['web-1']}:8000/") == 200
    with cluster.power_cut(dead):
        said = client.python(FETCH, f"http://{addresses['web-1']}:8000/")
        assert "timed out" in said, "silent: nobody even refuses"
        if node_of(kubectl, "web-0") != dead:
            assert client.python(FETCH, f"http://{addresses['web-0']}:8000/") == 200
    eventually(lambda: ready(kubectl, "web-1"), deadline_s=60, what="web-1 ready again")
    assert (kubectl.get("pod", "web-1") or {})["metadata"]["uid"] == uid
    assert len(kubectl("exec", "web-1", "--", "cat", "/data/starts").splitlines()) == 2
    assert cluster.exists(), "a node that was cut off on purpose is no dead part"


@pytest.mark.full
def test_pods_go_on_while_the_api_server_is_away(
    kubectl: Kubectl, cluster: clusters.Cluster
) -> None:
    start(kubectl)
    count = "i=0; while sleep 0.1; do i=$((i+1)); echo $i >/data/count; done"
    kubectl("exec", "web-0", "--", "sh", "-c", f"nohup sh -c '{count}' >/dev/null 2>&1 &")

    def counted() -> int:
        return int(kubectl("exec", "web-0", "--", "cat", "/data/count"))

    before = eventually(counted, what="it counts")
    with cluster.api_stopped():
        assert not cluster.exists()
        with pytest.raises(CommandError):
            kubectl("get", "pods")
    assert counted() > before
    assert cluster.exists()


@pytest.mark.full
def test_an_image_that_every_node_has_gets_a_second_name(
    kubectl: Kubectl, cluster: clusters.Cluster
) -> None:
    reference = images.IMAGES["client"].reference
    cluster.tag_image(reference, f"{reference}-too")
    for node in cluster.nodes():
        pod = ClientPod(kubectl, f"on-{node}", image="quorate-client:dev-too")
        pod.start(node)
