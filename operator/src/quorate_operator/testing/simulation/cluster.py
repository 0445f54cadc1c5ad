"""A Kubernetes in virtual time: its objects, its controllers, its nodes.

Nothing in it belongs to the operator: StatefulSets (Parallel; OnDelete or RollingUpdate),
autoscalers, addresses of Services, the scheduler, volumes that are bound to nodes, kubelets, the
node controller, evictions under a PodDisruptionBudget, garbage collection, a namespace that is
being deleted.

A pod goes through: made -> scheduled -> running -> the broker in it says that it is ready.

Read next: `controllers.py`, which moves the objects; `api.py`, by which operators reach them;
`brokers.py`, whose processes run in the pods.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import random
from collections.abc import Callable, Hashable
from typing import Final

from quorate_operator.kube import KubeError
from quorate_operator.names import CLUSTER_LABEL
from quorate_operator.seams import stamp
from quorate_operator.testing.objects import Json, ObjectKey, Objects
from quorate_operator.testing.simulation.loop import VirtualClock

NAMESPACE: Final = "shop"
ZONES: Final = ("a", "b", "c")
ZONE: Final = "topology.kubernetes.io/zone"
NODE_OF_VOLUME: Final = "volume.kubernetes.io/selected-node"
GRACE: Final = datetime.timedelta(seconds=30)
"""A pod that is deleted has to be gone after that."""


@dataclasses.dataclass
class Node:
    """A machine, and what Kubernetes thinks of it."""

    name: str
    zone: str
    up: bool = True
    """It runs and is connected."""
    ready: bool = True
    """What the node controller has noticed of that."""
    cordoned: bool = False
    down_since_s: float = 0.0

    @property
    def address(self) -> str:
        return f"10.1.0.{int(self.name.rpartition('-')[2]) + 1}"


class Cluster:
    """The objects, and what is true of them behind the API."""

    def __init__(self, source: random.Random, nodes: int, *, local_volumes: bool) -> None:
        self.store = Objects()
        self.events = Objects()
        """Kubernetes' Event objects, apart from the rest: there are many, and nobody reads them."""
        self.random = source
        self.local_volumes = local_volumes
        self.nodes = {f"node-{n}": Node(f"node-{n}", ZONES[n % 3]) for n in range(nodes)}
        self.down = False
        """The API server answers nobody."""
        self.work = 1
        """So many flanking nodes would do what there is to do."""
        self.leaving = False
        """The namespace is being deleted."""
        self.started: Callable[[Json], None] = lambda pod: None
        self.stopping: Callable[[Json], None] = lambda pod: None
        self.stopped: Callable[[Json], None] = lambda pod: None
        self.taken: list[Callable[[str, Json], None]] = []
        """Told before anything is deleted: by whom (`operator`, `controller`...), and what."""
        for node in self.nodes.values():
            labels = {ZONE: node.zone, "kubernetes.io/hostname": node.name}
            self.store.put(
                "nodes", {"metadata": {"name": node.name, "namespace": "", "labels": labels}}
            )

    def standing(self) -> Hashable:
        """All that controllers go by; of a node that is down also for how long."""
        nodes = ((one.up or now_s(), one.ready, one.cordoned) for one in self.nodes.values())
        return self.store.changes, self.work, self.leaving, *nodes

    def has_zone(self, node: Node) -> bool:
        """By its label."""
        return ZONE in self.store.objects["nodes", "", node.name]["metadata"]["labels"]

    def label(self, node: Node, *, zone: bool) -> None:
        """With its zone, or with none."""
        if zone != self.has_zone(node):
            labels = self.store.objects["nodes", "", node.name]["metadata"]["labels"]
            labels[ZONE] = node.zone
            if not zone:
                del labels[ZONE]
            self.store.touched(("nodes", "", node.name))

    def objects(self, plural: str) -> list[Json]:
        return [one for key, one in self.store.objects.items() if key[0] == plural]

    def find(self, plural: str, name: str) -> Json | None:
        return self.store.objects.get((plural, NAMESPACE, name))

    def touch(self, plural: str, name: str) -> None:
        self.store.touched((plural, NAMESPACE, name))

    def create(self, plural: str, manifest: Json) -> Json:
        if self.leaving:
            raise KubeError(403, "the namespace is being terminated", leaving=True)
        store = self.events if plural == "events" else self.store
        return store.create(plural, manifest)

    def remove(self, who: str, key: ObjectKey, *, now: bool = False) -> None:
        """A pod leaves in its own time, a volume when no pod uses it; anything else at once.

        `now`: nobody waits for the pod's node to say that it has stopped.
        """
        found = self.store.objects[key]
        if "deletionTimestamp" in found["metadata"] and not now:
            return
        for tell in self.taken:
            tell(who, found)
        if now:
            self.stopped(found)
            self.store.delete(key)
        elif key[0] == "pods" or (key[0] == "persistentvolumeclaims" and self.used(found)):
            found["metadata"]["deletionTimestamp"] = stamp(VirtualClock().now() + GRACE)
            self.store.touched(key)
            if key[0] == "pods":
                self.stopping(found)
        else:
            self.store.delete(key)

    def let_go(self, owner: str) -> None:
        """What it owns has no owner any more."""
        for key, found in self.store.objects.items():
            owners = found["metadata"].get("ownerReferences")
            if owners and owners[0]["uid"] == owner:
                del found["metadata"]["ownerReferences"]
                self.store.touched(key)

    def used(self, claim: Json) -> bool:
        """By a pod that runs or is about to."""
        pod = self.find("pods", claim["metadata"]["name"].partition("-")[2])
        return pod is not None and bool(pod["spec"].get("nodeName"))

    def claim_of(self, pod: Json) -> Json | None:
        return self.find("persistentvolumeclaims", f"data-{pod['metadata']['name']}")

    def evict(self, name: str) -> bool:
        """As `kubectl drain` asks for it. False: the budget does not allow it now."""
        pod = self.find("pods", name)
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return True
        if is_ready(pod) and not self._budget_allows(pod):
            return False
        self.remove("drain", ("pods", NAMESPACE, name))
        return True

    def _budget_allows(self, pod: Json) -> bool:
        for budget in self.objects("poddisruptionbudgets"):
            wanted = budget["spec"]["selector"]["matchLabels"]
            if not wanted.items() <= pod["metadata"].get("labels", {}).items():
                continue
            pods = [
                one
                for one in self.objects("pods")
                if wanted.items() <= one["metadata"].get("labels", {}).items()
            ]
            healthy = sum(is_ready(one) for one in pods)
            expected = sum(
                workload["spec"]["replicas"]
                for workload in self.objects("statefulsets")
                if wanted.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
            )
            if healthy - 1 < _least(budget["spec"], expected):
                return False
        return True

    def ready(self, pod: Json, now: bool) -> None:
        """The kubelet heard so from the probe; a node that is cut off tells nothing."""
        node = self.nodes.get(pod["spec"].get("nodeName", ""))
        if node is None or not node.up:
            return
        self.set_ready(pod, now)

    def set_ready(self, pod: Json, now: bool) -> None:
        if is_ready(pod) != now:
            pod["status"]["conditions"] = [{"type": "Ready", "status": "True" if now else "False"}]
            self.touch("pods", pod["metadata"]["name"])


def _least(spec: Json, expected: int) -> int:
    """How many have to stay healthy."""
    if "minAvailable" in spec:
        return int(spec["minAvailable"])
    return expected - int(spec["maxUnavailable"])


def is_ready(pod: Json) -> bool:
    """As the API tells it; a pod that is leaving counts as gone."""
    if "deletionTimestamp" in pod["metadata"]:
        return False
    return any(
        one["type"] == "Ready" and one["status"] == "True"
        for one in pod.get("status", {}).get("conditions", ())
    )


def owner_of(found: Json) -> str:
    """The cluster (by its label) that an object belongs to; empty: none."""
    return str((found["metadata"].get("labels") or {}).get(CLUSTER_LABEL, ""))


def now_s() -> float:
    return asyncio.get_running_loop().time()
