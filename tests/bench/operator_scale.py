"""What many clusters cost the operator: time to converge, memory, CPU, requests.

    python tests/bench/operator_scale.py [--clusters 100] [--brokers 3] [--seconds 60] [--json]

The real operator in a process of its own; beside it, over real HTTP, an API server with watches
(`quorate_operator.testing`) and the brokers' Admin APIs, all of them quiet. First everything is
made from nothing, then it is left alone for a while, then another operator begins anew on what is
there. The bars: with 100 clusters of three at most 90 MiB and 2 % of a core while idle, no write;
1,000 looked at within 60 s. Exit code 1 when one is missed.

Some packages import others where they are there, which costs memory (prometheus-client: snappy).
The image has only what the operator asks for; so has an environment made by

    UV_PROJECT_ENVIRONMENT=/tmp/operator uv sync --frozen --no-dev --package quorate-operator
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
from aiohttp import web

from quorate_operator import kube, model, news
from quorate_operator.testing.fake_kubernetes import FakeKubernetes
from quorate_operator.testing.objects import Objects

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
MEMORY_BAR_MIB = 90.0
CPU_BAR = 0.02
RESYNC_BAR_S = 60.0
CONVERGE_LIMIT_S = 1800.0
BOOKMARK_S = 50.0
QUIET_S = 40.0
"""Without a write for so long, every cluster has had the pass that follows its last write."""
Json = dict[str, Any]


class Kubernetes(FakeKubernetes):
    """With watches, discovery, and pods that are there at once."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: collections.Counter[str] = collections.Counter()
        self._watchers: set[tuple[str, asyncio.Queue[Json]]] = set()
        self._pods = 0
        self.store.watchers.append(self._changed)

    def _changed(self, what: str, key: tuple[str, str, str], found: Json) -> None:
        for plural, queue in self._watchers:
            if plural == key[0]:
                queue.put_nowait({"type": what, "object": _told(key[0], found)})
        if key[0] == "statefulsets" and "status" not in found:
            asyncio.get_running_loop().call_soon(self._run, key, found)

    def _run(self, key: tuple[str, str, str], workload: Json) -> None:
        """What its controller and the kubelets would make of it."""
        spec, (_, namespace, name) = workload["spec"], key
        generation = workload["metadata"]["generation"]
        workload["status"] = {"updateRevision": "r1", "observedGeneration": generation}
        self.store.touched(key)
        for ordinal in range(spec["replicas"]):
            self._pods += 1
            self._make(namespace, f"{name}-{ordinal}", spec)

    def _make(self, namespace: str, pod: str, spec: Json) -> None:
        template = spec["template"]
        for claim in spec.get("volumeClaimTemplates", []):
            size = claim["spec"]["resources"]["requests"]["storage"]
            metadata = {**claim["metadata"], "name": f"data-{pod}", "namespace": namespace}
            status = {"phase": "Bound", "capacity": {"storage": size}}
            body = {"metadata": metadata, "spec": dict(claim["spec"]), "status": status}
            self.put("persistentvolumeclaims", body)
        metadata = {
            "name": pod,
            "namespace": namespace,
            "labels": {**template["metadata"]["labels"], "controller-revision-hash": "r1"},
            "annotations": dict(template["metadata"].get("annotations", {})),
        }
        status = {
            "podIP": f"127.1.{self._pods >> 8}.{self._pods & 255}",
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        self.put("pods", {"metadata": metadata, "spec": template["spec"], "status": status})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.strip("/").count("/") < 3 and not request.query:
            found = _discovery(request.path.strip("/").split("/"))
            if found is not None:
                return web.json_response(found)
        plural = request.path.rstrip("/").rpartition("/")[2]
        if request.query.get("watch"):
            self.requests["WATCH"] += 1
            return await self._watch(request, plural)
        self.requests[request.method] += 1
        return await super()._handle(request)

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        entry = (plural, asyncio.Queue[Json]())
        self._watchers.add(entry)
        ends_s = time.monotonic() + float(request.query.get("timeoutSeconds", "60"))
        try:
            with contextlib.suppress(ConnectionError):
                while time.monotonic() < ends_s:
                    event = await _next(entry[1])
                    await response.write(json.dumps(event).encode() + b"\n")
        finally:
            self._watchers.discard(entry)
        return response

    def _get(self, plural: str, namespace: str, name: str, request: web.Request) -> web.Response:
        if name or namespace or request.headers["Accept"] == kube.METADATA:
            return super()._get(plural, namespace, name, request)
        items = [_told(plural, one) for one in self.store.some(plural, "", "")]
        return web.json_response({"items": items, "metadata": {"resourceVersion": "1"}})


async def _next(events: asyncio.Queue[Json]) -> Json:
    """As the API server does, something is said once a minute in any case."""
    try:
        async with asyncio.timeout(BOOKMARK_S):
            return await events.get()
    except TimeoutError:
        return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "1"}}}


def _told(plural: str, found: Json) -> Json:
    version, kind = next((v, k) for k, (v, p) in kube.KINDS.items() if p == plural)
    return {"apiVersion": version, "kind": kind, **found}


def _discovery(steps: list[str]) -> Json | None:
    """What there is, as `kubectl api-resources` asks for it."""
    kinds = {**kube.KINDS, "Namespace": ("v1", "namespaces")}  # kopf watches nothing without
    versions = {version for version, _ in kinds.values()}
    match steps:
        case ["api"]:
            return {"versions": ["v1"]}
        case ["apis"]:
            groups = sorted(version for version in versions if "/" in version)
            return {"groups": [_group(version) for version in groups]}
        case ["api", version]:
            pass
        case ["apis", group, number]:
            version = f"{group}/{number}"
        case _:
            return None
    resources = [
        {
            "name": plural,
            "singularName": kind.lower(),
            "kind": kind,
            "namespaced": True,
            "verbs": ["get", "list", "watch", "patch", "create", "delete"],
        }
        for kind, (where, plural) in kinds.items()
        if where == version
    ]
    return {"groupVersion": version, "resources": resources} if resources else None


def _group(version: str) -> Json:
    name, _, number = version.partition("/")
    told = {"groupVersion": version, "version": number}
    return {"name": name, "versions": [told], "preferredVersion": told}


class Admin:
    """The Admin API of every broker there is, on all addresses; nothing ever changes."""

    def __init__(self, brokers: int) -> None:
        self.requests = 0
        self._brokers = brokers

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/v1/watch", self._watch)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "0.0.0.0", model.ADMIN_PORT).start()
            yield
        finally:
            await runner.cleanup()

    async def _watch(self, request: web.Request) -> web.Response:
        self.requests += 1
        if request.query["after"] == "1":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(float(request.query["timeout_ms"]) / 1000):
                    await asyncio.Event().wait()
        members = [
            {"node_id": node_id, "incarnation": f"i{node_id}", "version": "1"}
            for node_id in range(1, self._brokers + 1)
        ]
        return web.json_response(
            {
                "version": 1,
                "cluster_id": request.host.split(".")[2],
                "leader": {"node_id": 1, "term": 1},
                "transitions": 1,
                "members": members,
                "flanking": [],
                "healthy": True,
                "unhealthy_reasons": [],
            }
        )


@dataclasses.dataclass(frozen=True)
class Figures:
    """What was measured."""

    clusters: int
    brokers: int
    converge_s: float
    converge_cpu_s: float
    requests_to_converge: dict[str, int]
    idle_mib: float
    idle_cores: float
    idle_writes: int
    idle_requests_per_s: float
    idle_broker_requests_per_s: float
    anew_s: float
    anew_writes: int

    def missed(self) -> list[str]:
        found = []
        if self.clusters <= 100 and self.idle_mib > MEMORY_BAR_MIB:
            found.append(f"{self.idle_mib:.0f} MiB")
        if self.clusters <= 100 and self.idle_cores > CPU_BAR:
            found.append(f"{self.idle_cores:.3f} of a core")
        if self.anew_s > RESYNC_BAR_S:
            found.append(f"{self.anew_s:.0f} s to look at all of them")
        if self.idle_writes or self.anew_writes:
            found.append("writes in a steady state")
        return found


class Operator:
    """The real one, as a process."""

    def __init__(self, folder: pathlib.Path, port: int, server: str) -> None:
        config = folder / "kubeconfig"
        config.write_text(json.dumps(_kubeconfig(server)))
        self.port = port
        self._log = folder / "operator.log"
        self._environ = {
            **os.environ,
            "KUBECONFIG": str(config),
            "QUORATE_OPERATOR_HTTP_PORT": str(port),
            "QUORATE_OPERATOR_LOG_LEVEL": "warning",
        }
        self.process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Operator:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "quorate_operator", env=self._environ, stderr=log
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    @property
    def cpu_s(self) -> float:
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    @property
    def mib(self) -> float:
        return int(self._proc("statm").split()[1]) * PAGE / 2**20

    def _proc(self, name: str) -> str:
        assert self.process is not None
        if self.process.returncode is not None:
            raise SystemExit(f"the operator has ended:\n{self._log.read_text()[-3000:]}")
        return pathlib.Path(f"/proc/{self.process.pid}/{name}").read_text()

    async def passes(self) -> int:
        """How many it has made."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}/metrics") as response,
            ):
                text = await response.text()
        except aiohttp.ClientError:
            return 0
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in lines
            if line.startswith("quorate_operator_reconciles_total{")
        )


def _kubeconfig(server: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": {"server": server}}],
        "users": [{"name": "it", "user": {"token": "none"}}],
    }


async def measure(clusters: int, brokers: int, seconds: float) -> Figures:
    api, admin = Kubernetes(), Admin(brokers)
    for number in range(clusters):
        api.put(model.PLURAL, _cluster(number, brokers))
    with tempfile.TemporaryDirectory() as name:
        async with api.serve() as configuration, admin.serve():
            folder, port = pathlib.Path(name), _free_port()
            async with Operator(folder, port, configuration.host) as operator:
                began_s = time.perf_counter()
                await _until(lambda: _is_converged(api.store, clusters), CONVERGE_LIMIT_S)
                converge_s = time.perf_counter() - began_s
                converge_cpu_s = operator.cpu_s
                requests = dict(api.requests)
                print(f"converged after {converge_s:.1f} s: {requests}", flush=True)
                if requests.get("WATCH", 0) < len(news.WATCHED):
                    raise SystemExit("the operator watches nothing: what else it costs is no news")
                await _quiet(api)
                writes, asked = len(api.writes), (sum(api.requests.values()), admin.requests)
                cpu_s, began_idle_s = operator.cpu_s, time.perf_counter()
                while time.perf_counter() < began_idle_s + seconds:
                    await asyncio.sleep(1)
                passed_s = time.perf_counter() - began_idle_s
                idle = {
                    "idle_mib": operator.mib,
                    "idle_cores": (operator.cpu_s - cpu_s) / passed_s,
                    "idle_writes": len(api.writes) - writes,
                    "idle_requests_per_s": (sum(api.requests.values()) - asked[0]) / passed_s,
                    "idle_broker_requests_per_s": (admin.requests - asked[1]) / passed_s,
                }
                print(idle, flush=True)
            writes, began_s = len(api.writes), time.perf_counter()
            async with Operator(folder, port, configuration.host) as operator:
                while await operator.passes() < clusters:
                    await asyncio.sleep(0.5)
                anew_s = time.perf_counter() - began_s
            return Figures(
                clusters=clusters,
                brokers=brokers,
                converge_s=converge_s,
                converge_cpu_s=converge_cpu_s,
                requests_to_converge=requests,
                anew_s=anew_s,
                anew_writes=len(api.writes) - writes,
                **idle,
            )


def _cluster(number: int, brokers: int) -> Json:
    listeners = [{"name": "internal", "port": 9092, "authentication": {"type": "none"}}]
    spec = {"version": "1.0", "replicas": brokers, "storage": {"size": "1Gi"}}
    metadata = {"name": "orders", "namespace": f"shop-{number}"}
    return {"metadata": metadata, "spec": {**spec, "listeners": listeners}}


def _is_converged(store: Objects, clusters: int) -> bool:
    settled = 0
    for one in store.some(model.PLURAL, "", ""):
        conditions = {
            each["type"]: each["status"] for each in one.get("status", {}).get("conditions", ())
        }
        settled += conditions.get("Ready") == "True" and conditions.get("Reconciling") == "False"
    return settled == clusters


async def _quiet(api: Kubernetes) -> None:
    """Until nothing is written for a while."""
    before = -1
    while before != len(api.writes):
        before = len(api.writes)
        await asyncio.sleep(QUIET_S)


async def _until(holds: Callable[[], bool], limit_s: float) -> None:
    async with asyncio.timeout(limit_s):
        while not holds():
            await asyncio.sleep(0.5)


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--brokers", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    figures = asyncio.run(measure(chosen.clusters, chosen.brokers, chosen.seconds))
    if chosen.json:
        print(json.dumps(dataclasses.asdict(figures)))
    else:
        for name, value in dataclasses.asdict(figures).items():
            print(f"{name:28} {value:.3f}" if isinstance(value, float) else f"{name:28} {value}")
    missed = figures.missed()
    print(f"missed: {'; '.join(missed)}" if missed else "every bar is held")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
