"""As much of a Kubernetes API as the operator uses, in memory, with every write on record.

Server-side apply is the real thing in small: a manager owns the leaves it applied, loses what it no
longer names, and meets a conflict where another manager holds a leaf with another value. Lists are
leaves. `run_controllers` does what Kubernetes' own controllers would: it makes the pods of
StatefulSets.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from aiohttp import web
from kubernetes.aio import client

Json = dict[str, Any]
Leaves = dict[tuple[str, ...], Any]
ObjectKey = tuple[str, str, str]
"""Plural, namespace, name."""


class FakeKubernetes:
    """One API server with its objects."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, Json] = {}
        self.writes: list[str] = []
        """`apply statefulsets/x`, in order."""
        self.refuse: dict[str, tuple[int, str]] = {}
        """Writes that are answered with an error, by the text they would have in `writes`."""
        self.leaving: set[str] = set()
        """Namespaces that are being deleted."""
        self._owned: dict[ObjectKey, dict[str, set[tuple[str, ...]]]] = {}
        self._versions = itertools.count(1)

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
        metadata = manifest["metadata"]
        metadata.setdefault("uid", f"uid-{next(self._versions)}")
        metadata.setdefault("generation", 1)
        self.objects[plural, metadata["namespace"], metadata["name"]] = manifest
        return manifest

    def own(
        self, plural: str, namespace: str, name: str, path: tuple[str, ...], value: Any
    ) -> None:
        """Another manager (`somebody`) sets a field."""
        key = (plural, namespace, name)
        _set(self.objects[key], path, value)
        self._owned[key].setdefault("somebody", set()).add(path)
        for manager, paths in self._owned[key].items():
            if manager != "somebody":
                paths.discard(path)

    def run_controllers(self, address: str = "127.0.0.{ordinal}") -> None:
        """Pods for every StatefulSet, running and ready; surplus ones go."""
        for (plural, namespace, name), workload in list(self.objects.items()):
            if plural == "statefulsets":
                self._scale(namespace, name, workload, address)

    def _scale(self, namespace: str, name: str, workload: Json, address: str) -> None:
        wanted = {f"{name}-{n}": n for n in range(workload["spec"]["replicas"])}
        workload["status"] = {"updateRevision": "r1"}
        for plural, where, pod in list(self.objects):
            if plural == "pods" and where == namespace and pod.rpartition("-")[0] == name:
                if pod not in wanted:
                    del self.objects[plural, where, pod]
                wanted.pop(pod, None)
        for pod, ordinal in wanted.items():
            labels = workload["spec"]["template"]["metadata"]["labels"]
            self.put(
                "pods",
                {
                    "metadata": {
                        "name": pod,
                        "namespace": namespace,
                        "labels": {**labels, "controller-revision-hash": "r1"},
                    },
                    "status": {
                        "podIP": address.format(ordinal=ordinal + 1),
                        "conditions": [{"type": "Ready", "status": "True"}],
                    },
                },
            )

    async def _handle(self, request: web.Request) -> web.Response:
        plural, namespace, name, part = _parts(request.path)
        if request.method == "GET":
            return self._get(plural, namespace, name, request.query.get("labelSelector", ""))
        body = json.loads(await request.read())
        name = name or body["metadata"]["name"]
        kind = request.content_type
        verb = {"application/apply-patch+yaml": "apply", "application/json": "create"}.get(
            kind, "merge"
        )
        write = f"{verb} {plural}/{name}" + (f"/{part}" if part else "")
        self.writes.append(write)
        if write in self.refuse:
            status, message = self.refuse[write]
            return web.json_response({"message": message}, status=status)
        key = (plural, namespace, name)
        if namespace in self.leaving and key not in self.objects:
            body = {"message": "no", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}
            return web.json_response(body, status=403)
        match verb:
            case "apply":
                manager, force = request.query["fieldManager"], request.query["force"] == "true"
                return self._apply(key, body, manager, force=force)
            case "merge":
                return self._merge(key, body)
            case _:
                return web.json_response(self.put(plural, body), status=201)

    def _get(self, plural: str, namespace: str, name: str, selector: str) -> web.Response:
        if name:
            found = self.objects.get((plural, namespace, name))
            if found is None:
                return web.json_response({"message": "not found"}, status=404)
            return web.json_response(found)
        items = [
            item
            for (kind, where, _), item in self.objects.items()
            if kind == plural and namespace in ("", where) and _selected(item, selector)
        ]
        return web.json_response({"items": items})

    def _apply(self, key: ObjectKey, body: Json, manager: str, *, force: bool) -> web.Response:
        wanted = dict(_leaves({k: v for k, v in body.items() if k not in ("apiVersion", "kind")}))
        owned = self._owned.setdefault(key, {})
        live = self.objects.get(key)
        if live is None:
            if "status" in body:
                return web.json_response({"message": "not found"}, status=404)
            live = self.put(key[0], {"metadata": {"name": key[2], "namespace": key[1]}})
        present = dict(_leaves(live))
        conflicts = [
            {
                "reason": "FieldManagerConflict",
                "message": f'conflict with "{other}" using v1',
                "field": "." + ".".join(path),
            }
            for other, paths in owned.items()
            if other != manager
            for path in sorted(paths)
            if path in wanted and wanted[path] != present.get(path)
        ]
        if conflicts and not force:
            return web.json_response(
                {"message": "conflict", "details": {"causes": conflicts}}, status=409
            )
        before = copy.deepcopy(live.get("spec"))
        for path in owned.get(manager, set()) - set(wanted):
            _remove(live, path)
        for path, value in wanted.items():
            _set(live, path, value)
        owned[manager] = set(wanted)
        if live.get("spec") != before and before is not None:
            live["metadata"]["generation"] += 1
        return web.json_response(live)

    def _merge(self, key: ObjectKey, body: Json) -> web.Response:
        live = self.objects.get(key)
        if live is None:
            return web.json_response({"message": "not found"}, status=404)
        uid = body["metadata"].pop("uid", live["metadata"]["uid"])
        if uid != live["metadata"]["uid"]:
            return web.json_response({"message": "another uid"}, status=409)
        for path, value in _leaves(body):
            if value is None:
                _remove(live, path)
            else:
                _set(live, path, value)
        return web.json_response(live)


def _parts(path: str) -> tuple[str, str, str, str]:
    """Plural, namespace, name, subresource; empty where absent."""
    steps = path.strip("/").split("/")
    rest = steps[2:] if steps[0] == "api" else steps[3:]
    namespace = ""
    if rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    plural, name, part = [*rest, "", ""][:3]
    return plural, namespace, name, part


def _selected(item: Json, selector: str) -> bool:
    labels = item["metadata"].get("labels", {})
    terms = (term.partition("=") for term in selector.split(",") if term)
    return all(labels.get(key) == value for key, _, value in terms)


def _leaves(value: Json, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from _leaves(inner, (*path, key))
        else:
            yield (*path, key), copy.deepcopy(inner)


def _set(target: Json, path: tuple[str, ...], value: Any) -> None:
    for step in path[:-1]:
        target = target.setdefault(step, {})
    target[path[-1]] = value


def _remove(target: Json, path: tuple[str, ...]) -> None:
    for step in path[:-1]:
        target = target.get(step, {})
    target.pop(path[-1], None)
