"""A BrokerCluster as a test sees it: its resource, its pods, its brokers' own Admin APIs.

Everything is read over one `kubectl proxy`: a process per question would take more of a small
machine than the brokers do, and be too slow to see an election. Next: `load.py`, which writes from
a pod while things are being broken.
"""

import contextlib
import itertools
import json
import os
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from quorate_bed import binaries, cluster, kube
from quorate_bed import load as loads
from quorate_bed.polling import eventually

Json = dict[str, Any]

_LOADS = itertools.count(1)
ADMIN_PORT = 9644
FIRST_FLANKING_ID = 101
ANSWER_S = 5
SETTLED_S = 120
REACH = """
import json, socket, sys
def reached():
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2).close()
    except OSError:
        return False
    return True
print(json.dumps(all(reached() for _ in range(10))))
"""


@dataclass(frozen=True, slots=True)
class Api:
    """The API server, through a proxy on this machine that knows the credentials."""

    url: str

    def get(self, path: str) -> Json | None:
        """The JSON at that path; None where there is nothing, or nobody who answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=ANSWER_S) as reply:
                found: Json = json.load(reply)
                return found
        except urllib.error.HTTPError as error:
            error.close()
            return None
        except OSError:
            return None

    def post(self, path: str) -> int:
        """The HTTP status of a POST without a body."""
        request = urllib.request.Request(self.url + path, method="POST", data=b"")
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def text(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=ANSWER_S) as reply:
            text: bytes = reply.read()
            return text.decode()


@contextlib.contextmanager
def api(target: cluster.Cluster) -> Iterator[Api]:
    command = [str(binaries.tool("kubectl")), "--kubeconfig", str(target.kubeconfig_path)]
    process = subprocess.Popen(
        [*command, "proxy", "--port=0"], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    with process.stdout as lines:
        try:
            yield Api(f"http://{lines.readline().split()[-1]}")
        finally:
            process.terminate()
            process.wait()


@dataclass(frozen=True, slots=True)
class BrokerCluster:
    """One BrokerCluster and what belongs to it."""

    kubectl: kube.Kubectl
    api: Api
    name: str
    brokers: int = 3
    flanking: int = 0

    # -- the resource ---------------------------------------------------------------------------

    def manifest(self) -> Json:
        return {
            "apiVersion": "quorate.dev/v1alpha1",
            "kind": "BrokerCluster",
            "metadata": {"name": self.name},
            "spec": {
                "replicas": self.brokers,
                "flanking": {"replicas": self.flanking},
                "storage": {"size": "256Mi"},
                "listeners": [
                    {"name": name, "port": port, "authentication": {"type": "none"}}
                    for name, port in (("internal", 9092), ("second", 9093))
                ],
            },
        }

    def apply(self, **spec: Any) -> None:
        """As it was made, but for these fields. What an earlier call said otherwise is undone,
        except that volumes never shrink."""
        manifest = self.manifest()
        there = self._found()
        if there is not None:
            manifest["spec"]["storage"] = {"size": there["spec"]["storage"]["size"]}
        manifest["spec"] |= spec
        self.kubectl.apply(manifest)

    def resource(self) -> Json:
        found = self._found()
        assert found is not None, "no such BrokerCluster"
        return found

    def _found(self) -> Json | None:
        path = f"/apis/quorate.dev/v1alpha1/namespaces/{self.kubectl.namespace}/brokerclusters"
        return self.api.get(f"{path}/{self.name}")

    def status(self) -> Json:
        found: Json = self.resource().get("status") or {}
        return found

    def condition(self, kind: str) -> Json:
        return condition(self.status(), kind)

    def scale_flanking(self, replicas: int) -> None:
        self.kubectl.patch("bc", self.name, {"spec": {"flanking": {"replicas": replicas}}})

    # -- waiting --------------------------------------------------------------------------------

    def settled(self) -> Json:
        """The status, once all is as the spec asks for and every node serves."""
        resource = self.resource()
        status: Json = resource.get("status") or {}
        assert status.get("observedGeneration") == resource["metadata"]["generation"]
        for kind, wanted in (("Ready", "True"), ("FullyReplicated", "True")):
            assert condition(status, kind)["status"] == wanted, condition(status, kind)
        assert condition(status, "Reconciling")["status"] == "False", condition(
            status, "Reconciling"
        )
        waiting = [node["pod"] for node in status["nodes"] if not node["ready"]]
        assert not waiting, f"not ready: {waiting}"
        flanking = resource["spec"].get("flanking", {}).get("replicas", 0)
        assert len(status["nodes"]) == resource["spec"]["replicas"] + flanking
        return status

    def settle(self) -> Json:
        return eventually(self.settled, deadline_s=SETTLED_S, what=f"{self.name} settled")

    def recover(self) -> None:
        """As it was made, whatever the test before has done.

        The node restarts a killed container later each time; a new pod has no such past.
        """
        self.apply()
        worn = [pod["metadata"]["name"] for pod in self.pods() if restarts(pod)]
        if worn:
            self.kubectl.delete_pods(*worn)
        self.settle()
        eventually(self.reached, what=f"{self.bootstrap} reached from a pod")

    def reached(self) -> bool:
        """Whether the Service leads to brokers: a node learns of ready pods after everybody else.

        Each of several connections in a row, since the Service may lead each to another broker.
        """
        host, _, port = self.bootstrap.partition(":")
        found: bool = self.client.python(REACH, host, port)
        return found

    # -- pods and brokers -----------------------------------------------------------------------

    def pod_of(self, node_id: int) -> str:
        if node_id >= FIRST_FLANKING_ID:
            return f"{self.name}-flanking-{node_id - FIRST_FLANKING_ID}"
        return f"{self.name}-broker-{node_id - 1}"

    def broker_ids(self) -> list[int]:
        return list(range(1, self.brokers + 1))

    def pods(self, role: str = "") -> list[Json]:
        labels = f"quorate.dev/cluster%3D{self.name}"
        labels += f",quorate.dev/role%3D{role}" if role else ""
        path = f"/api/v1/namespaces/{self.kubectl.namespace}/pods?labelSelector={labels}"
        found = self.api.get(path)
        assert found is not None
        items: list[Json] = found["items"]
        return items

    def admin(self, node_id: int, path: str) -> Json | None:
        """What a node's own Admin API answers; None when it does not."""
        return self.api.get(self._admin_path(node_id, path))

    def post(self, node_id: int, path: str) -> int:
        """The HTTP status with which a node's own Admin API answers a POST."""
        return self.api.post(self._admin_path(node_id, path))

    def pod(self, node_id: int) -> Json:
        name = self.pod_of(node_id)
        found = next((pod for pod in self.pods() if pod["metadata"]["name"] == name), None)
        assert found is not None, f"no pod {name}"
        return found

    def _admin_path(self, node_id: int, path: str) -> str:
        pod = f"/api/v1/namespaces/{self.kubectl.namespace}/pods/{self.pod_of(node_id)}"
        return f"{pod}:{ADMIN_PORT}/proxy{path}"

    def health(self, node_id: int) -> Json:
        found = self.admin(node_id, "/v1/cluster/health_overview")
        assert found is not None, f"node {node_id} does not answer"
        return found

    def stateful_set(self, role: str = "broker") -> Json:
        path = f"/apis/apps/v1/namespaces/{self.kubectl.namespace}/statefulsets"
        found = self.api.get(f"{path}/{self.name}-{role}")
        assert found is not None
        return found

    def disruptions(self) -> int:
        """How many brokers the PodDisruptionBudget lets go now."""
        path = f"/apis/policy/v1/namespaces/{self.kubectl.namespace}/poddisruptionbudgets"
        found = self.api.get(f"{path}/{self.name}-broker")
        assert found is not None
        return int(found["spec"]["maxUnavailable"])

    def events(self) -> list[Json]:
        """All that were told in its namespace, oldest first."""
        found = self.api.get(f"/apis/events.k8s.io/v1/namespaces/{self.kubectl.namespace}/events")
        assert found is not None
        return sorted(found["items"], key=lambda one: str(one["eventTime"]))

    def kill(self, node_id: int, *, hold: bool = False) -> cluster.Hold:
        """SIGKILL from the node's side; with `hold` it stays dead until the hold is released."""
        namespace = self.kubectl.namespace
        return self.kubectl.cluster.kill(self.pod_of(node_id), hold=hold, namespace=namespace)

    @contextlib.contextmanager
    def statuses(self) -> Iterator[list[Json]]:
        """Every status that there is while the block runs; the list is filled at its end."""
        found: list[Json] = []
        command = [str(binaries.tool("kubectl")), "-n", self.kubectl.namespace, "--kubeconfig"]
        command += [str(self.kubectl.cluster.kubeconfig_path), "get", "brokerclusters", self.name]
        with tempfile.TemporaryFile("w+") as seen:
            watch = subprocess.Popen(
                [*command, "--watch", "--output=json"], stdout=seen, stdin=subprocess.DEVNULL
            )
            try:
                eventually(lambda: os.fstat(seen.fileno()).st_size, what="the watch")
                yield found
            finally:
                watch.terminate()
                watch.wait()
                seen.seek(0)
                found += [each["status"] for each in _documents(seen.read())]

    # -- clients --------------------------------------------------------------------------------

    @property
    def bootstrap(self) -> str:
        return f"{self.name}-bootstrap:9092"

    def node_of(self, node_id: int) -> str:
        """The Kubernetes node on which it runs; empty while it waits for one."""
        name: str = self.pod(node_id)["spec"].get("nodeName", "")
        return name

    def host(self, node_id: int) -> str:
        domain = f"{self.name}-brokers.{self.kubectl.namespace}.svc"
        return f"{self.pod_of(node_id)}.{domain}"

    @property
    def client(self) -> kube.ClientPod:
        return kube.ClientPod(self.kubectl)

    @contextlib.contextmanager
    def load(
        self, topic: str, *, patience_s: int = loads.DEFAULT_PATIENCE_S
    ) -> Iterator[loads.Load]:
        """Records are written with acks=all from a pod while the block runs, to a topic of its own
        whose name begins so."""
        load = loads.Load(self.client, f"{topic}-{next(_LOADS)}")
        load.start(self.bootstrap, patience_s)
        try:
            load.goes_on()
            yield load
        finally:
            load.end()


@dataclass(frozen=True, slots=True)
class Operator:
    """The operator's deployment, and what it counts."""

    kubectl: kube.Kubectl
    api: Api
    name: str = "quorate-operator"

    def scale(self, replicas: int) -> None:
        """That many of it are ready afterwards, and none is left of those before."""
        self.kubectl("scale", "deployment", self.name, f"--replicas={replicas}")

        def there() -> bool:
            pods = self.kubectl.list("pods", f"app.kubernetes.io/name={self.name}")
            ready = [pod for pod in pods if condition(pod["status"], "Ready")["status"] == "True"]
            return len(pods) == len(ready) == replicas

        eventually(there, deadline_s=60, what=f"{replicas} operators")

    def metrics(self) -> str:
        path = f"/api/v1/namespaces/{self.kubectl.namespace}/services/{self.name}:http/proxy"
        return self.api.text(f"{path}/metrics")

    def writes(self, what: str = "") -> int:
        """Writes to the Kubernetes API since it started, of one sort or of all."""
        return count(self.metrics(), "quorate_operator_writes_total", f'what="{what}"' * bool(what))


def condition(status: Json, kind: str) -> Json:
    """A condition of that status; one that says nothing where there is none."""
    found: Json = next(
        (one for one in status.get("conditions", []) if one["type"] == kind),
        {"type": kind, "status": "Unknown", "reason": "", "message": ""},
    )
    return found


def count(metrics: str, name: str, *labels: str) -> int:
    """The sum of all series of that name that have all these labels."""
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in metrics.splitlines()
        if line.partition("{")[0] == name and all(label in line for label in labels)
    )


def restarts(pod: Json) -> int:
    return sum(one["restartCount"] for one in pod["status"].get("containerStatuses", []))


def _documents(text: str) -> Iterator[Json]:
    """JSON objects that stand one behind the other; one that was cut off at the end is left out."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text.rstrip()):
        try:
            found, at = decoder.raw_decode(text, at)
        except ValueError:
            return
        yield found
        at += len(text[at:]) - len(text[at:].lstrip())
