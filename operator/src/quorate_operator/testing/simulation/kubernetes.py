"""A Kubernetes in virtual time: an API that fails, controllers that lag, kubelets that start pods.

`Api` is what one operator sees: each call takes its time, may be refused (429, 500), may be lost on
the way there or on the way back, and may be the last one before that operator is killed. `Cluster`
is what is behind it: StatefulSets (Parallel, OnDelete), one pod per name, one volume per claim.

A pod goes through: created -> (scheduled) running -> the broker in it says that it is ready. Read
next: `brokers.py`, whose processes run in the pods.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import hashlib
import json
import random
from collections.abc import Callable
from typing import Any, Final

from quorate_operator.kube import KINDS, KubeError
from quorate_operator.testing.objects import Json, ObjectKey, Objects

NAMESPACE: Final = "shop"


@dataclasses.dataclass
class Trouble:
    """How often what goes wrong, as chances; all zero once the world has calmed down."""

    refused: float = 0.0
    lost: float = 0.0
    slow: float = 0.0
    killed: float = 0.0
    """Between any two calls."""


class Cluster:
    """The objects, and who moves them when the operator does not."""

    def __init__(self, source: random.Random) -> None:
        self.store = Objects()
        self.random = source
        self.down = False
        """The API server answers nobody."""
        self.started: Callable[[Json], None] = lambda pod: None
        self.stopped: Callable[[Json], None] = lambda pod: None
        self.taken: list[Callable[[str, Json], None]] = []
        """Told before anything is deleted: by whom (`operator`, `controller`), and what."""

    def objects(self, plural: str) -> list[Json]:
        return [one for key, one in list(self.store.objects.items()) if key[0] == plural]

    def find(self, plural: str, name: str) -> Json | None:
        return self.store.objects.get((plural, NAMESPACE, name))

    def touch(self, plural: str, name: str) -> None:
        self.store.touched((plural, NAMESPACE, name))

    def remove(self, who: str, key: ObjectKey) -> None:
        """A pod leaves in its own time; anything else at once."""
        found = self.store.objects[key]
        for tell in self.taken:
            tell(who, found)
        if key[0] != "pods":
            self.store.delete(key)
        elif "deletionTimestamp" not in found["metadata"]:
            found["metadata"]["deletionTimestamp"] = "now"
            self.store.touched(key)

    async def run(self) -> None:
        """The controllers and the kubelets."""
        while True:
            await asyncio.sleep(self.random.uniform(0.05, 0.6))
            for workload in self.objects("statefulsets"):
                self._roll(workload)
            for pod in self.objects("pods"):
                self._turn(pod)

    def _roll(self, workload: Json) -> None:
        name, spec = workload["metadata"]["name"], workload["spec"]
        revision = _digest(spec["template"])
        status = {
            "observedGeneration": workload["metadata"]["generation"],
            "updateRevision": revision,
        }
        if workload.get("status") != status:
            workload["status"] = status
            self.touch("statefulsets", name)
        wanted = {f"{name}-{n}" for n in range(spec["replicas"])}
        for pod in self.objects("pods"):
            mine = pod["metadata"]["name"].rpartition("-")[0] == name
            leaving = "deletionTimestamp" in pod["metadata"]
            if mine and not leaving and pod["metadata"]["name"] not in wanted:
                self.remove("controller", ("pods", NAMESPACE, pod["metadata"]["name"]))
        for pod_name in sorted(wanted):
            if self.find("pods", pod_name) is None:
                self._make(pod_name, workload, revision)

    def _make(self, name: str, workload: Json, revision: str) -> None:
        spec = workload["spec"]
        template = copy.deepcopy(spec["template"])
        for claim in spec.get("volumeClaimTemplates", []):
            claim_name = f"{claim['metadata']['name']}-{name}"
            if self.find("persistentvolumeclaims", claim_name) is None:
                self.store.put("persistentvolumeclaims", _claim(claim, claim_name))
        labels = {**template["metadata"]["labels"], "controller-revision-hash": revision}
        metadata = {**template["metadata"], "labels": labels, "name": name}
        self.store.put(
            "pods",
            {
                "metadata": {**metadata, "namespace": NAMESPACE},
                "spec": template["spec"],
                "status": {"conditions": [{"type": "Ready", "status": "False"}]},
            },
        )

    def _turn(self, pod: Json) -> None:
        name = pod["metadata"]["name"]
        if "deletionTimestamp" in pod["metadata"]:
            if self.random.random() < 0.3:
                self.stopped(pod)
                self.store.delete(("pods", NAMESPACE, name))
        elif not pod["status"].get("podIP") and self.random.random() < 0.5:
            pod["status"]["podIP"] = f"10.0.0.{self.random.randrange(2, 250)}"
            self.touch("pods", name)
            self.started(pod)

    def ready(self, pod: Json, now: bool) -> None:
        """The kubelet heard so from the probe."""
        status = [{"type": "Ready", "status": "True" if now else "False"}]
        if pod["status"]["conditions"] != status:
            pod["status"]["conditions"] = status
            self.touch("pods", pod["metadata"]["name"])


class Api:
    """The API as one operator reaches it: `kube.Talker`."""

    def __init__(self, cluster: Cluster, trouble: Trouble, source: random.Random) -> None:
        self._cluster = cluster
        self._trouble = trouble
        self._random = source
        self.may_write: Callable[[], bool] = lambda: True
        self.writes: list[str] = []
        self.paused_until_s = 0.0
        """The process is stopped until then; what it was about to send, it sends afterwards."""
        self.kill: Callable[[], None] = lambda: None
        self.written: Callable[[], None] = lambda: None

    async def get(self, kind: str, namespace: str, name: str) -> Json | None:
        await self._on_the_way()
        found = self._cluster.store.objects.get((KINDS[kind][1], namespace, name))
        answer = copy.deepcopy(found)
        await self._on_the_way_back()
        return answer

    async def all(self, kind: str, namespace: str | None, selector: str = "") -> list[Json]:
        await self._on_the_way()
        version, plural = KINDS[kind]
        found = self._cluster.store.some(plural, namespace or "", selector)
        answer = [{"apiVersion": version, "kind": kind, **copy.deepcopy(one)} for one in found]
        await self._on_the_way_back()
        return answer

    async def apply(self, manifest: Json, manager: str, *, force: bool, part: str = "") -> Json:
        key = _key(manifest)
        await self._write(f"apply {key[0]}/{key[2]}{part}")
        body = copy.deepcopy(manifest)
        answer = copy.deepcopy(self._cluster.store.apply(key, body, manager, force=force))
        await self._on_the_way_back()
        return answer

    async def merge(self, kind: str, namespace: str, name: str, body: Json) -> Json:
        plural = KINDS[kind][1]
        await self._write(f"merge {plural}/{name}", silent=kind == "Lease")
        answer = copy.deepcopy(
            self._cluster.store.merge((plural, namespace, name), copy.deepcopy(body))
        )
        await self._on_the_way_back()
        return answer

    async def delete(
        self, kind: str, namespace: str, name: str, *, uid: str, resource_version: str
    ) -> None:
        plural = KINDS[kind][1]
        await self._write(f"delete {plural}/{name}")
        self._cluster.store.expect((plural, namespace, name), uid, resource_version)
        self._cluster.remove("operator", (plural, namespace, name))
        await self._on_the_way_back()

    async def create(self, manifest: Json) -> Json:
        key = _key(manifest)
        await self._write(f"create {key[0]}/{key[2]}", silent=manifest["kind"] == "Lease")
        answer = copy.deepcopy(self._cluster.store.create(key[0], copy.deepcopy(manifest)))
        await self._on_the_way_back()
        return answer

    async def _write(self, text: str, *, silent: bool = False) -> None:
        if not silent and not self.may_write():
            raise KubeError(0, "this operator is not the active one")
        await self._on_the_way()
        if not silent:
            self.writes.append(text)
            self.written()

    async def _on_the_way(self) -> None:
        await self._pass_time()
        if self._cluster.down or self._happens(self._trouble.lost):
            await asyncio.sleep(self._random.uniform(0.1, 2))
            raise KubeError(0, "no answer from the Kubernetes API")
        if self._happens(self._trouble.refused):
            raise KubeError(self._random.choice((429, 500, 503)), "not now")

    async def _on_the_way_back(self) -> None:
        await self._pass_time()
        if self._happens(self._trouble.lost):
            raise KubeError(0, "the answer was lost")

    async def _pass_time(self) -> None:
        slow = self._happens(self._trouble.slow)
        await asyncio.sleep(self._random.uniform(0.001, 8.0 if slow else 0.02))
        now_s = asyncio.get_running_loop().time()
        if self.paused_until_s > now_s:
            await asyncio.sleep(self.paused_until_s - now_s)
        if self._happens(self._trouble.killed):
            self.kill()
            await asyncio.sleep(0)  # this is where it dies

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self._random.random() < chance


def _key(manifest: Json) -> ObjectKey:
    metadata = manifest["metadata"]
    return KINDS[manifest["kind"]][1], metadata["namespace"], metadata["name"]


def _claim(template: Json, name: str) -> Json:
    size = template["spec"]["resources"]["requests"]["storage"]
    return {
        "metadata": {**copy.deepcopy(template["metadata"]), "name": name, "namespace": NAMESPACE},
        "spec": copy.deepcopy(template["spec"]),
        "status": {"capacity": {"storage": size}},
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]
