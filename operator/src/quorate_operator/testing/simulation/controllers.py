"""Who moves the objects of `cluster.py` when neither the operator nor a person does.

One turn after the other, each a look at everything: as slow, and in as odd an order, as real
controllers can be. Numbers are shorter than Kubernetes' own, so that a run meets them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import zlib
from collections.abc import Hashable
from typing import Any, Final

from quorate_operator.seams import stamp
from quorate_operator.testing.objects import Json, copied
from quorate_operator.testing.simulation.cluster import (
    NAMESPACE,
    NODE_OF_VOLUME,
    Cluster,
    Node,
    is_ready,
    now_s,
)
from quorate_operator.testing.simulation.loop import VirtualClock

NOTICED_S: Final = 10.0
"""A node that is silent for so long is not ready."""
EVICTED_S: Final = 60.0
"""From then on its pods are taken away; they stay until it comes back or is removed."""


class Controllers:
    """All of them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._digests: dict[tuple[str, int], str] = {}
        self._random = cluster.random
        self._tossed = False
        """Something comes in its own time: another look may do what this one did not."""
        self._settled: Hashable = None
        """How everything stood when there was nothing to do."""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(0.05, 0.8))
            if not self._cluster.down:
                self.turn()

    def turn(self) -> None:
        """Nothing, where everything stands as it did when there was nothing to do."""
        before = self._cluster.standing()
        if before != self._settled:
            self._tossed = False
            self._look()
            self._settled = None if self._tossed else before

    def _happens(self, chance: float) -> bool:
        self._tossed = True
        return self._random.random() < chance

    def _look(self) -> None:
        cluster = self._cluster
        self._collect()
        if not cluster.leaving:
            for autoscaler in cluster.objects("horizontalpodautoscalers"):
                self._autoscale(autoscaler)
            for workload in cluster.objects("statefulsets"):
                self._scale(workload)
            for service in cluster.objects("services"):
                self._serve(service)
        for node in cluster.nodes.values():
            self._watch(node)
        for pod in cluster.objects("pods"):
            self._pod(pod)
        for claim in cluster.objects("persistentvolumeclaims"):
            self._claim(claim)

    def _collect(self) -> None:
        """Children of owners that are gone; all of a namespace that is to go."""
        cluster = self._cluster
        if cluster.leaving:
            for key in list(cluster.store.objects):
                if key[1] == NAMESPACE and key[0] != "leases":
                    cluster.remove("namespace", key)
            return
        alive = {one["metadata"]["uid"] for one in cluster.store.objects.values()}
        for key, found in list(cluster.store.objects.items()):
            owners = found["metadata"].get("ownerReferences")
            if owners and owners[0]["uid"] not in alive:
                cluster.remove("collector", key)

    # -------------------------------------------------------------- Services and autoscalers

    def _serve(self, service: Json) -> None:
        """Ports of the nodes at once; an address from outside in its own time.

        An apply takes the port away with the list that it is in, and it comes again: here lists are
        leaves.
        """
        spec, metadata = service["spec"], service["metadata"]
        changed = False
        if spec.get("type") in ("NodePort", "LoadBalancer"):
            for port in spec["ports"]:
                changed = changed or "nodePort" not in port
                port["nodePort"] = node_port(metadata["name"])
        balanced = service.get("status", {}).get("loadBalancer")
        if spec.get("type") == "LoadBalancer" and not balanced and self._happens(0.2):
            address = f"192.0.2.{self._random.randrange(1, 255)}"
            service["status"] = {"loadBalancer": {"ingress": [{"ip": address}]}}
            changed = True
        if changed:
            self._cluster.touch("services", metadata["name"])

    def _autoscale(self, autoscaler: Json) -> None:
        """As much as there is to do, within the limits; never one that was sent to sleep."""
        name, spec = autoscaler["spec"]["scaleTargetRef"]["name"], autoscaler["spec"]
        workload = self._cluster.find("statefulsets", name)
        wanted = max(spec["minReplicas"], min(spec["maxReplicas"], self._cluster.work))
        if workload is not None and workload["spec"]["replicas"] not in (0, wanted):
            workload["metadata"]["generation"] += 1
            key = ("statefulsets", NAMESPACE, name)
            self._cluster.store.own(key, ("spec", "replicas"), wanted)

    # ------------------------------------------------------------------------- StatefulSets

    def _scale(self, workload: Json) -> None:
        name, spec = workload["metadata"]["name"], workload["spec"]
        revision = self._revision(workload)
        pods = [
            one
            for one in self._cluster.objects("pods")
            if one["metadata"]["name"].rpartition("-")[0] == name
        ]
        for pod in pods:
            self._adopt(workload, pod)
        self._tell(workload, revision, pods)
        wanted = {f"{name}-{n}" for n in range(spec["replicas"])}
        names = {one["metadata"]["name"] for one in pods}
        for gone in sorted(names - wanted):
            self._cluster.remove("controller", ("pods", NAMESPACE, gone))
        for missing in sorted(wanted - names):
            self._make(missing, workload, revision)
        if spec.get("updateStrategy", {}).get("type") != "OnDelete":
            self._roll(pods, revision)

    def _revision(self, workload: Json) -> str:
        metadata = workload["metadata"]
        key = (metadata["uid"], metadata["generation"])
        if key not in self._digests:
            self._digests[key] = _digest(workload["spec"]["template"])
        return self._digests[key]

    def _tell(self, workload: Json, revision: str, pods: list[Json]) -> None:
        ready = sum(map(is_ready, pods))
        status = {
            "observedGeneration": workload["metadata"]["generation"],
            "updateRevision": revision,
            "replicas": len(pods),
            "readyReplicas": ready,
        }
        if workload.get("status") != status:
            workload["status"] = status
            self._cluster.touch("statefulsets", workload["metadata"]["name"])

    def _adopt(self, workload: Json, pod: Json) -> None:
        """One that nobody owns; and one that waits for a volume gets its claim."""
        if "ownerReferences" not in pod["metadata"]:
            pod["metadata"]["ownerReferences"] = [_owner(workload)]
            self._cluster.touch("pods", pod["metadata"]["name"])
        if not pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]:
            self._has_claims(pod["metadata"]["name"], workload)

    def _has_claims(self, name: str, workload: Json) -> bool:
        """Made now where there are none. False: one is still on its way out."""
        for claim in workload["spec"].get("volumeClaimTemplates", []):
            claim_name = f"{claim['metadata']['name']}-{name}"
            found = self._cluster.find("persistentvolumeclaims", claim_name)
            if found is None:
                self._cluster.create("persistentvolumeclaims", _claim(claim, claim_name))
            elif "deletionTimestamp" in found["metadata"]:
                return False
        return True

    def _make(self, name: str, workload: Json, revision: str) -> None:
        if not self._has_claims(name, workload):
            return
        template = copied(workload["spec"]["template"])
        metadata = {
            **template["metadata"],
            "labels": {**template["metadata"]["labels"], "controller-revision-hash": revision},
            "name": name,
            "namespace": NAMESPACE,
            "ownerReferences": [_owner(workload)],
        }
        status = {"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}]}
        self._cluster.create(
            "pods", {"metadata": metadata, "spec": template["spec"], "status": status}
        )

    def _roll(self, pods: list[Json], revision: str) -> None:
        """RollingUpdate: one at a time, the highest first, each ready before the next."""
        if not all(map(is_ready, pods)):
            return
        old = [
            one["metadata"]["name"]
            for one in pods
            if one["metadata"]["labels"]["controller-revision-hash"] != revision
        ]
        if old:
            self._cluster.remove("controller", ("pods", NAMESPACE, max(old)))

    # ------------------------------------------------------------------- scheduler, kubelets

    def _watch(self, node: Node) -> None:
        if node.up:
            node.ready = True
            return
        silent_s = now_s() - node.down_since_s
        node.ready = silent_s < NOTICED_S
        for pod in self._on(node):
            if not node.ready:
                self._cluster.set_ready(pod, False)
            if silent_s > NOTICED_S + EVICTED_S:
                self._cluster.remove("node controller", _key(pod))

    def _on(self, node: Node) -> list[Json]:
        pods = self._cluster.objects("pods")
        return [pod for pod in pods if pod["spec"].get("nodeName") == node.name]

    def _pod(self, pod: Json) -> None:
        where = pod["spec"].get("nodeName", "")
        leaving = "deletionTimestamp" in pod["metadata"]
        if not where:
            if leaving:
                self._cluster.store.delete(_key(pod))
            else:
                self._schedule(pod)
            return
        node = self._cluster.nodes.get(where)
        if node is None or (node.up and leaving and self._happens(0.3)):
            self._gone(pod)
        elif node.up and not leaving and not pod["status"].get("podIP"):
            self._start(pod)

    def _gone(self, pod: Json) -> None:
        self._cluster.stopped(pod)
        self._cluster.store.delete(_key(pod))

    def _schedule(self, pod: Json) -> None:
        claim = self._cluster.claim_of(pod)
        if claim is not None and "deletionTimestamp" in claim["metadata"]:
            return
        bound = _place(claim) if self._cluster.local_volumes else ""
        places = [
            node
            for node in self._cluster.nodes.values()
            if node.ready and not node.cordoned and bound in ("", node.name)
        ]
        if not places:
            self._unschedulable(pod)
            return
        loads = {node.name: len(self._on(node)) for node in places}
        node = min(places, key=lambda one: (loads[one.name], one.name))
        pod["spec"]["nodeName"] = node.name
        pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
        self._cluster.touch("pods", pod["metadata"]["name"])
        if claim is not None and not _place(claim):
            claim["metadata"].setdefault("annotations", {})[NODE_OF_VOLUME] = node.name
            self._cluster.touch("persistentvolumeclaims", claim["metadata"]["name"])

    def _unschedulable(self, pod: Json) -> None:
        if any(one["type"] == "PodScheduled" for one in pod["status"]["conditions"]):
            return
        pod["status"]["conditions"] = [
            {"type": "Ready", "status": "False"},
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "lastTransitionTime": stamp(VirtualClock().now()),
            },
        ]
        self._cluster.touch("pods", pod["metadata"]["name"])

    def _start(self, pod: Json) -> None:
        if self._happens(0.5):
            pod["status"]["podIP"] = f"10.0.0.{self._random.randrange(2, 250)}"
            pod["status"]["hostIP"] = self._cluster.nodes[pod["spec"]["nodeName"]].address
            pod["status"]["phase"] = "Running"
            self._cluster.touch("pods", pod["metadata"]["name"])
            self._cluster.started(pod)

    # ------------------------------------------------------------------------------ volumes

    def _claim(self, claim: Json) -> None:
        """Bound once its pod has a place; grown when asked; gone when nobody uses it any more."""
        name, status = claim["metadata"]["name"], claim["status"]
        if "deletionTimestamp" in claim["metadata"]:
            if not self._cluster.used(claim):
                self._cluster.store.delete(("persistentvolumeclaims", NAMESPACE, name))
            return
        if not _place(claim):
            return
        wanted = {"storage": claim["spec"]["resources"]["requests"]["storage"]}
        if (status.get("phase"), status.get("capacity")) != ("Bound", wanted):
            claim["spec"].setdefault("volumeName", f"pv-{claim['metadata']['uid']}")
            claim["status"] = {"phase": "Bound", "capacity": wanted}
            self._cluster.touch("persistentvolumeclaims", name)


def node_port(name: str) -> int:
    """The same for the same Service, always."""
    return 30000 + zlib.crc32(name.encode()) % 2768


def _owner(workload: Json) -> Json:
    return {"kind": "StatefulSet", "uid": workload["metadata"]["uid"]}


def _key(pod: Json) -> tuple[str, str, str]:
    return "pods", NAMESPACE, pod["metadata"]["name"]


def _place(claim: Json | None) -> str:
    """The node on which the volume stands."""
    annotations = (claim or {}).get("metadata", {}).get("annotations") or {}
    return str(annotations.get(NODE_OF_VOLUME, ""))


def _claim(template: Json, name: str) -> Json:
    return {
        "metadata": {**copied(template["metadata"]), "name": name, "namespace": NAMESPACE},
        "spec": copied(template["spec"]),
        "status": {"phase": "Pending"},
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]
