"""The Admin API of a flanking node: is it ready, what is it set to, how is it.

It knows nothing of the cluster that the brokers do not know better, so it answers nothing about
it. Read next: `app`, the brokers' one.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterable

from prometheus_client.core import Metric
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quorate_broker.admin import access, metrics, shapes
from quorate_broker.admin.app import ERROR_HANDLERS, EVERYBODY
from quorate_broker.admin.view import FlankingView
from quorate_broker.api.principal import Authorizer


def build(view: FlankingView, authorizer: Authorizer = EVERYBODY) -> Starlette:
    """The app; `serve` runs it."""

    async def ready(request: Request) -> Response:
        status = {"status": "ready" if view.ready else "booting"}
        return JSONResponse(status, status_code=200 if view.ready else 503)

    async def node_config(request: Request) -> Response:
        return JSONResponse(shapes.node_config(view.settings))

    async def public_metrics(request: Request) -> Response:
        text = await asyncio.to_thread(metrics.text_of, _Collector(view))
        return Response(text, media_type=metrics.CONTENT_TYPE)

    return Starlette(
        routes=[
            Route("/v1/status/ready", ready, methods=["GET"]),
            Route("/v1/node_config", node_config, methods=["GET"]),
            Route("/public_metrics", public_metrics, methods=["GET"]),
            Route("/metrics", public_metrics, methods=["GET"]),
        ],
        middleware=[Middleware(access.Guard, authorizer=authorizer)],
        exception_handlers=ERROR_HANDLERS,
    )


class _Collector:
    def __init__(self, view: FlankingView) -> None:
        self._view = view

    def collect(self) -> Iterable[Metric]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        view = self._view
        yield from metrics.process(
            view.version, view.uptime_seconds, usage.ru_utime + usage.ru_stime
        )
        yield metrics.gauge("quorate_ready", "1 if this node serves", int(view.ready))
        yield metrics.gauge(
            "quorate_flanking_registered",
            "1 if a broker took this node's last registration",
            int(view.registered),
        )
