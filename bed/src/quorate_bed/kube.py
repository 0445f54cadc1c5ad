"""kubectl for programs: JSON in and out, bound to one namespace. And the pod with Kafka clients.

Demo and tests share it. `ClientPod` runs Python in a pod, where the brokers' names resolve and
their addresses can be reached, as any Kafka client of a user would.
"""

import contextlib
import functools
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from quorate_bed import cluster
from quorate_bed.polling import eventually

Json = dict[str, Any]
GONE_S = 90
CLIENT_IMAGE = "quorate-client:dev"


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl in one namespace of one cluster. Calling it gives what kubectl printed."""

    cluster: cluster.Cluster
    namespace: str

    def __call__(self, *args: str, stdin: str | None = None, timeout_s: float = 120) -> str:
        return self.cluster.kubectl(
            "--namespace", self.namespace, *args, stdin=stdin, timeout_s=timeout_s
        )

    def json(self, *args: str) -> Json:
        """The answer of `kubectl … --output=json`."""
        found: Json = json.loads(self(*args, "--output=json"))
        return found

    def get(self, kind: str, name: str) -> Json | None:
        """The object, or None where there is none."""
        text = self("get", kind, name, "--ignore-not-found", "--output=json")
        found: Json | None = json.loads(text) if text.strip() else None
        return found

    def list(self, kind: str, selector: str = "") -> list[Json]:
        items: list[Json] = self.json("get", kind, f"--selector={selector}")["items"]
        return items

    def apply(self, *objects: Mapping[str, Any]) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self("apply", "--filename=-", stdin=json.dumps(listed))

    def apply_text(self, text: str) -> None:
        self("apply", "--filename=-", stdin=text)

    def patch(self, kind: str, name: str, change: Mapping[str, Any]) -> None:
        """A merge patch."""
        self("patch", kind, name, "--type=merge", f"--patch={json.dumps(change)}")

    def delete_pods(self, *names: str, grace_s: int | None = None) -> None:
        """Delete these pods: afterwards they are gone, and others of their names may have come.
        One that was on its way out already is no error.

        kubectl's own wait is not used: when a StatefulSet makes a pod anew at once, it may miss
        that the old one went and wait for ever.
        """
        old = {pod["metadata"]["uid"] for pod in self.list("pods") if _name(pod) in names}
        grace = [] if grace_s is None else [f"--grace-period={grace_s}"]
        self("delete", "pods", *names, *grace, "--wait=false", "--ignore-not-found")

        def gone() -> bool:
            left = [_name(pod) for pod in self.list("pods") if pod["metadata"]["uid"] in old]
            assert not left, left
            return True

        eventually(gone, deadline_s=GONE_S, what=f"{', '.join(names)} gone")


def _name(item: Json) -> str:
    name: str = item["metadata"]["name"]
    return name


@contextlib.contextmanager
def namespace(cluster: cluster.Cluster, test: str) -> Iterator[str]:
    """A namespace named after a test, under the restricted pod security standard. Long names begin
    alike, hence the digest: to wait for the one before to be gone costs ten seconds.

    One of that name that a killed run has left is waited out first. At the end it is only told to
    go, and its pods are ended at once, so that they do not use the machine any more.
    """
    words = re.sub(r"[^a-z0-9]+", "-", test.removeprefix("test_").lower())
    name = f"t-{words[:40].strip('-')}-{zlib.crc32(test.encode()):08x}"
    kubectl = Kubectl(cluster, name)
    _end_namespace(kubectl)
    gone = functools.partial(_gone, kubectl)
    eventually(gone, deadline_s=GONE_S, what=f"namespace {name} of an older run gone")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": name, "labels": labels}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    account = functools.partial(kubectl.get, "serviceaccount", "default")
    eventually(account, what=f"the account of pods in {name}")
    try:
        yield name
    finally:
        _end_namespace(kubectl)


def _gone(kubectl: Kubectl) -> bool:
    return kubectl.get("namespace", kubectl.namespace) is None


def _end_namespace(kubectl: Kubectl) -> None:
    """Pods cannot be made anew in a namespace that is being deleted."""
    if not _gone(kubectl):
        kubectl("delete", "namespace", kubectl.namespace, "--ignore-not-found", "--wait=false")
        kubectl("delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false")


@dataclass(frozen=True, slots=True)
class ClientPod:
    """A pod of the client image that waits to be used."""

    kubectl: Kubectl
    name: str = "client"
    image: str = CLIENT_IMAGE

    def start(self, node: str | None = None) -> None:
        """The pod is there and ready afterwards, on that node when one is named."""
        self.kubectl.apply(_client(self.name, self.image, node))
        eventually(self._ready, deadline_s=60, what=f"pod {self.name} ready")

    def run(self, *command: str, stdin: str | None = None, timeout_s: float = 120) -> str:
        """What a command in the pod printed; raises CommandError."""
        return self.kubectl(
            "exec", "-i", self.name, "--", *command, stdin=stdin, timeout_s=timeout_s
        )

    def python(self, script: str, *args: str, timeout_s: float = 120) -> Any:
        """Run a Python script in the pod: the JSON of the last line that it printed."""
        text = self.run("python3", "-", *args, stdin=script, timeout_s=timeout_s)
        lines = text.strip().splitlines()
        return json.loads(lines[-1]) if lines else None

    def _ready(self) -> bool:
        found = self.kubectl.get("pod", self.name) or {}
        conditions = found.get("status", {}).get("conditions", [])
        return {"type": "Ready", "status": "True"}.items() <= next(
            (one for one in conditions if one["type"] == "Ready"), {}
        ).items()


def script(name: str) -> str:
    """A Python script of the test bed, to be run in a client pod."""
    return resources.files("quorate_bed").joinpath("scripts", name).read_text()


def _client(name: str, image: str, node: str | None) -> Json:
    container = {
        "name": "client",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "quorate-client"}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            **({"nodeName": node} if node else {}),
        },
    }
