"""As much of a Kubernetes API as the operator uses, over real HTTP, with every write on record.

`run_controllers` does what Kubernetes' own controllers would: it makes the pods of StatefulSets.

Read next: `objects.py`, which keeps the objects.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from kubernetes.aio import client

from quorate_operator.kube import METADATA, Conflict, KubeError
from quorate_operator.testing.objects import ObjectKey, Objects

Json = dict[str, Any]


class FakeKubernetes:
    """One API server with its objects."""

    def __init__(self) -> None:
        self.store = Objects()
        self.objects = self.store.objects
        self.writes: list[str] = []
        """`apply statefulsets/x`, in order."""
        self.refuse: dict[str, tuple[int, str]] = {}
        """Writes that are answered with an error, by the text they would have in `writes`."""
        self.leaving: set[str] = set()
        """Namespaces that are being deleted."""
        self.revision = "r1"
        """Of the template that StatefulSets have now, as far as `run_controllers` knows."""

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[client.Configuration]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            yield client.Configuration(host=f"http://127.0.0.1:{port}")
        finally:
            await runner.cleanup()

    def put(self, plural: str, manifest: Json) -> Json:
        """An object as somebody else made it."""
        return self.store.put(plural, manifest)

    def own(
        self, plural: str, namespace: str, name: str, path: tuple[str, ...], value: Any
    ) -> None:
        """Another manager (`somebody`) sets a field."""
        self.store.own((plural, namespace, name), path, value)

    def run_controllers(self, address: str = "127.0.0.{ordinal}") -> None:
        """Pods for every StatefulSet, running and ready; surplus ones go."""
        for (plural, namespace, name), workload in list(self.objects.items()):
            if plural == "statefulsets":
                self._scale(namespace, name, workload, address)

    def _scale(self, namespace: str, name: str, workload: Json, address: str) -> None:
        wanted = {f"{name}-{n}": n for n in range(workload["spec"]["replicas"])}
        workload["status"] = {
            "updateRevision": self.revision,
            "observedGeneration": workload["metadata"]["generation"],
        }
        for plural, where, pod in list(self.objects):
            if plural == "pods" and where == namespace and pod.rpartition("-")[0] == name:
                if pod not in wanted:
                    del self.objects[plural, where, pod]
                wanted.pop(pod, None)
        for pod, ordinal in wanted.items():
            template = workload["spec"]["template"]
            labels = template["metadata"]["labels"]
            self.put(
                "pods",
                {
                    "metadata": {
                        "name": pod,
                        "namespace": namespace,
                        "labels": {**labels, "controller-revision-hash": self.revision},
                        "annotations": dict(template["metadata"].get("annotations", {})),
                    },
                    "spec": copy.deepcopy(template["spec"]),
                    "status": {
                        "podIP": address.format(ordinal=ordinal + 1),
                        "conditions": [{"type": "Ready", "status": "True"}],
                    },
                },
            )

    async def _handle(self, request: web.Request) -> web.Response:
        plural, namespace, name, part = _parts(request.path)
        if request.method == "GET":
            return self._get(plural, namespace, name, request)
        body = json.loads(await request.read())
        key = (plural, namespace, name or body["metadata"]["name"])
        verb = _verb(request)
        write = f"{verb} {plural}/{key[2]}" + (f"/{part}" if part else "")
        self.writes.append(write)
        if write in self.refuse:
            status, message = self.refuse[write]
            return web.json_response({"message": message}, status=status)
        if namespace in self.leaving and key not in self.objects:
            body = {"message": "no", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}
            return web.json_response(body, status=403)
        try:
            return web.json_response(self._write(verb, key, body, request))
        except Conflict as conflict:
            return web.json_response(_told(conflict), status=409)
        except KubeError as error:
            return web.json_response({"message": error.message}, status=error.status)

    def _write(self, verb: str, key: ObjectKey, body: Json, request: web.Request) -> Json:
        match verb:
            case "apply":
                manager, force = request.query["fieldManager"], request.query["force"] == "true"
                return self.store.apply(key, body, manager, force=force)
            case "merge":
                return self.store.merge(key, body)
            case "delete":
                wanted = body.get("preconditions") or {}
                self.store.delete(key, wanted.get("uid", ""), wanted.get("resourceVersion", ""))
                return {}
            case _:
                return self.store.create(key[0], body)

    def _get(self, plural: str, namespace: str, name: str, request: web.Request) -> web.Response:
        if name:
            found = self.objects.get((plural, namespace, name))
            if found is None:
                return web.json_response({"message": "not found"}, status=404)
            return web.json_response(found)
        items = self.store.some(plural, namespace, request.query.get("labelSelector", ""))
        alone = request.headers["Accept"] == METADATA
        if alone:
            items = [{"metadata": one["metadata"]} for one in items]
        begin, limit = int(request.query.get("continue", "0")), int(request.query.get("limit", "0"))
        end = begin + limit if limit else len(items)
        metadata = {"continue": str(end)} if end < len(items) else {}
        nothing: list[Json] | None = None if alone else []  # as Kubernetes says it
        return web.json_response({"items": items[begin:end] or nothing, "metadata": metadata})


def _verb(request: web.Request) -> str:
    if request.method == "DELETE":
        return "delete"
    kinds = {"application/apply-patch+yaml": "apply", "application/json": "create"}
    return kinds.get(request.content_type, "merge")


def _told(conflict: Conflict) -> Json:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{owner.manager}" using v1',
            "field": owner.field,
        }
        for owner in conflict.owners
    ]
    return {"message": conflict.message, "details": {"causes": causes}}


def _parts(path: str) -> tuple[str, str, str, str]:
    """Plural, namespace, name, subresource; empty where absent."""
    steps = path.strip("/").split("/")
    rest = steps[2:] if steps[0] == "api" else steps[3:]
    namespace = ""
    if rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    plural, name, part = [*rest, "", ""][:3]
    return plural, namespace, name, part
