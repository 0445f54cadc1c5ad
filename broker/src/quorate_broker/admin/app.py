"""Paths of the Admin API, on top of `AdminView`. Read `view` first; the JSON is made in `shapes`.

Every path but the readiness probe goes through one question to the authorizer, and every failure
is `{"message", "code"}` with the HTTP status as the code, as Redpanda's clients expect. Reading
never waits for a quorum. `watch` is a long poll: a supervisor hears of a new leader within a
round trip, and still has a full picture in every answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quorate_broker.admin import (
    access,
    cluster_config,
    flanking_registry,
    metrics,
    probes,
    requests,
    shapes,
)
from quorate_broker.admin.flanking_registry import FlankingNode
from quorate_broker.admin.view import AdminView, PartitionState
from quorate_broker.api.principal import AllowAll, Authorizer
from quorate_broker.errors import ErrorCode, KafkaError

MAX_WATCHERS = 500
WATCH_TIMEOUT_MS = 30_000
MAX_WATCH_TIMEOUT_MS = 60_000

EVERYBODY = AllowAll()

STATUS_OF = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: 404,
    ErrorCode.RESOURCE_NOT_FOUND: 404,
    ErrorCode.REPLICA_NOT_AVAILABLE: 400,
    ErrorCode.UNSUPPORTED_VERSION: 400,
    ErrorCode.INVALID_REQUEST: 400,
    ErrorCode.ELECTION_NOT_NEEDED: 400,
    ErrorCode.NOT_LEADER_OR_FOLLOWER: 503,
    ErrorCode.LEADER_NOT_AVAILABLE: 503,
    ErrorCode.NOT_CONTROLLER: 503,
    ErrorCode.NETWORK_EXCEPTION: 503,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS: 503,
    ErrorCode.REQUEST_TIMED_OUT: 504,
    ErrorCode.THROTTLING_QUOTA_EXCEEDED: 429,
}


def build(view: AdminView, authorizer: Authorizer = EVERYBODY) -> Starlette:
    """The app of a broker; `admin.serve` runs it."""
    handlers = _Handlers(view)
    group = "/v1/partitions/{ns}/{topic}"
    get, post = ["GET"], ["POST"]
    app = Starlette(
        routes=[
            Route("/v1/status/ready", handlers.ready, methods=get),
            Route("/v1/cluster/health_overview", handlers.health_overview, methods=get),
            Route("/v1/watch", handlers.watch, methods=get),
            Route("/v1/brokers", handlers.brokers, methods=get),
            Route("/v1/brokers/{id:int}", handlers.broker, methods=get),
            Route("/v1/brokers/{id:int}/decommission", handlers.decommissioning, methods=get),
            Route("/v1/brokers/{id:int}/decommission", handlers.decommission, methods=["PUT"]),
            Route("/v1/brokers/{id:int}/recommission", handlers.recommission, methods=["PUT"]),
            Route("/v1/cluster_view", handlers.cluster_view, methods=get),
            Route("/v1/broker_uuids", handlers.broker_uuids, methods=get),
            Route("/v1/cluster/uuid", handlers.cluster_uuid, methods=get),
            Route("/v1/cluster/metrics_uuid", handlers.metrics_uuid, methods=get),
            Route("/v1/cluster/partitions", handlers.cluster_partitions, methods=get),
            Route("/v1/node_config", handlers.node_config, methods=get),
            Route("/v1/partitions", handlers.partitions, methods=get),
            Route("/v1/partitions/local_summary", handlers.local_summary, methods=get),
            Route(group, handlers.topic, methods=get),
            Route(group + "/{p:int}", handlers.partition, methods=get),
            Route(group + "/{p:int}/transfer_leadership", handlers.transfer, methods=post),
            Route("/v1/raft/{group:int}/transfer_leadership", handlers.transfer_raft, methods=post),
            Route("/v1/flanking", handlers.flanking, methods=get),
            Route("/v1/flanking/{id:int}", handlers.register, methods=["PUT"]),
            Route("/v1/flanking/{id:int}", handlers.deregister, methods=["DELETE"]),
            Route("/public_metrics", handlers.public_metrics, methods=get),
            Route("/metrics", handlers.public_metrics, methods=get),
            *cluster_config.routes(view),
            *probes.routes(view),
        ],
        middleware=[Middleware(access.Guard, authorizer=authorizer)],
        exception_handlers=ERROR_HANDLERS,
    )
    app.state.closing = handlers.closing
    return app


class Registration(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /v1/flanking/{id}."""

    pod: str
    incarnation: str
    ready: bool = True
    version: str = ""
    proxy: str = ""


class _Handlers:
    def __init__(self, view: AdminView) -> None:
        self._view = view
        self.closing = asyncio.Event()
        self._watchers = 0

    async def ready(self, request: Request) -> Response:
        """200 or 503 about this process alone; Redpanda answers 200 always, with this body."""
        if self._view.ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "booting"}, status_code=503)

    async def health_overview(self, request: Request) -> Response:
        return JSONResponse(shapes.health_overview(self._view.overview()))

    async def watch(self, request: Request) -> Response:
        """At once when something changed after `after`; else then, or unchanged after a while.

        Versions are this process's own. A greater `after` than ours is that of another process
        (this one was restarted, or a Service led elsewhere): that caller needs the picture now.
        """
        after = requests.integer(request, "after", -1)
        timeout_ms = requests.integer(request, "timeout_ms", WATCH_TIMEOUT_MS)
        timeout_ms = max(0, min(timeout_ms, MAX_WATCH_TIMEOUT_MS))
        if self._view.overview().version == after:
            if self._watchers >= MAX_WATCHERS:
                raise HTTPException(429, f"more than {MAX_WATCHERS} watches at once")
            self._watchers += 1
            try:
                await self._wait(request, after, timeout_ms)
            finally:
                self._watchers -= 1
        return JSONResponse(shapes.watch(self._view.overview()))

    async def _wait(self, request: Request, after: int, timeout_ms: int) -> None:
        """Until a change, the timeout, the end of the server, or the end of the connection."""
        await first_of(
            timeout_ms / 1000,
            lambda: self._view.changed(after),
            self.closing.wait,
            lambda: _disconnected(request),
        )

    async def brokers(self, request: Request) -> Response:
        return JSONResponse(shapes.brokers(self._view.overview()))

    async def broker(self, request: Request) -> Response:
        node_id = request.path_params["id"]
        for member in self._view.overview().members:
            if member.node_id == node_id:
                return JSONResponse(shapes.broker(member))
        raise HTTPException(404, f"broker with id {node_id} not found")

    async def decommission(self, request: Request) -> Response:
        """What lies on the broker moves elsewhere, then it is no member any more."""
        await self._view.decommission(request.path_params["id"], True)
        return Response(status_code=200)

    async def recommission(self, request: Request) -> Response:
        await self._view.decommission(request.path_params["id"], False)
        return Response(status_code=200)

    async def decommissioning(self, request: Request) -> Response:
        node_id = request.path_params["id"]
        try:
            status = self._view.decommission_status(node_id)
        except KeyError:
            raise HTTPException(404, f"broker with id {node_id} not found") from None
        if status is None:
            raise HTTPException(400, f"broker {node_id} is not being decommissioned")
        return JSONResponse(shapes.decommission(status))

    async def cluster_view(self, request: Request) -> Response:
        return JSONResponse(shapes.cluster_view(self._view.overview()))

    async def broker_uuids(self, request: Request) -> Response:
        return JSONResponse(shapes.broker_uuids(self._view.overview()))

    async def cluster_uuid(self, request: Request) -> Response:
        return JSONResponse({"cluster_uuid": self._cluster_id()})

    async def metrics_uuid(self, request: Request) -> Response:
        return JSONResponse({"uuid": self._cluster_id()})

    def _cluster_id(self) -> str:
        cluster_id = self._view.overview().cluster_id
        if not cluster_id:
            raise HTTPException(404, "the cluster is not formed yet")
        return cluster_id

    async def node_config(self, request: Request) -> Response:
        return JSONResponse(shapes.node_config(self._view.settings))

    async def partitions(self, request: Request) -> Response:
        return JSONResponse([shapes.partition(state) for state in self._view.partitions()])

    async def cluster_partitions(self, request: Request) -> Response:
        internal = request.query_params.get("with_internal") == "true"
        states = [state for state in self._view.partitions() if internal or not state.internal]
        return JSONResponse([shapes.cluster_partition(state) for state in states])

    async def local_summary(self, request: Request) -> Response:
        me = self._view.settings.node_id
        local = [state for state in self._view.partitions() if me in state.replicas]
        return JSONResponse(shapes.partition_summary(local))

    async def topic(self, request: Request) -> Response:
        states = self._states(request)
        return JSONResponse([shapes.partition(state) for state in states])

    async def partition(self, request: Request) -> Response:
        return JSONResponse(shapes.partition(self._state(request)))

    def _states(self, request: Request) -> list[PartitionState]:
        ns, topic = request.path_params["ns"], request.path_params["topic"]
        states = [
            state
            for state in self._view.partitions()
            if state.namespace == ns and state.topic == topic
        ]
        if not states:
            raise HTTPException(404, f"topic {ns}/{topic} not found")
        return states

    def _state(self, request: Request) -> PartitionState:
        number = request.path_params["p"]
        for state in self._states(request):
            if state.partition == number:
                return state
        raise HTTPException(404, f"partition {number} of that topic not found")

    async def transfer(self, request: Request) -> Response:
        return await self._transfer(request, self._state(request))

    async def transfer_raft(self, request: Request) -> Response:
        group_id = request.path_params["group"]
        for state in self._view.partitions():
            if state.group_id == group_id:
                return await self._transfer(request, state)
        raise HTTPException(404, f"raft group {group_id} not found")

    async def _transfer(self, request: Request, state: PartitionState) -> Response:
        target = requests.integer(request, "target", -1)
        wanted = target if "target" in request.query_params else None
        if wanted is not None and wanted not in state.replicas:
            raise HTTPException(400, f"node {wanted} is no replica of {state.path}")
        await self._view.transfer_leadership(state.group_id, wanted)
        return Response(status_code=200)

    async def flanking(self, request: Request) -> Response:
        return JSONResponse([shapes.flanking(node) for node in self._view.overview().flanking])

    async def register(self, request: Request) -> Response:
        """A flanking node says that it lives, every 3 s; forgotten after 10 s without."""
        node_id = _flanking_id(request)
        body: Registration = await requests.decoded(request, Registration)
        node = FlankingNode(node_id=node_id, **msgspec.structs.asdict(body))
        await self._view.register_flanking(node)
        return JSONResponse({"ttl_ms": flanking_registry.TIME_TO_LIVE_MS})

    async def deregister(self, request: Request) -> Response:
        incarnation = request.query_params.get("incarnation")
        if not incarnation:
            raise HTTPException(400, "incarnation must be given")
        await self._view.remove_flanking(_flanking_id(request), incarnation)
        return Response(status_code=204)

    async def public_metrics(self, request: Request) -> Response:
        """Gathered here in one moment, put into text in a thread: 6,000 series take a while."""
        text = await asyncio.to_thread(metrics.render, metrics.gather(self._view))
        return Response(text, media_type=metrics.CONTENT_TYPE)


def error_response(status: int, message: str) -> JSONResponse:
    return JSONResponse({"message": message, "code": status}, status_code=status)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return error_response(error.status_code, error.detail)


async def _on_kafka(request: Request, error: Exception) -> Response:
    assert isinstance(error, KafkaError)
    return error_response(STATUS_OF.get(error.code, 500), str(error))


async def _on_bug(request: Request, error: Exception) -> Response:
    return error_response(500, f"internal error: {type(error).__name__}")


ERROR_HANDLERS: dict[int | type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    HTTPException: _on_http,
    KafkaError: _on_kafka,
    Exception: _on_bug,
}


def _flanking_id(request: Request) -> int:
    node_id: int = request.path_params["id"]
    if node_id < flanking_registry.FIRST_ID:
        raise HTTPException(400, f"flanking nodes have ids from {flanking_registry.FIRST_ID}")
    return node_id


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _First(Exception):
    """One of them is done."""


async def first_of(timeout_seconds: float, *waits: Callable[[], Awaitable[object]]) -> None:
    """Return when the first of `waits` is done or the time is over; the others are cancelled."""

    async def wait(one: Callable[[], Awaitable[object]]) -> None:
        await one()
        raise _First

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_seconds):
            try:
                async with asyncio.TaskGroup() as group:
                    for one in waits:
                        group.create_task(wait(one))
            except* _First:
                pass
