"""Paths of the HTTP Proxy, on top of `ProxyPort`. Bodies are decoded in `payload`.

What a request may take is known before it is read: a body has a longest length, and all bodies
that are being read together have a budget; beyond it the answer is 503 with `Retry-After: 0`, and
the client comes again. Nothing that a client sends ends more than its own request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from quorate_broker.api.principal import (
    ANONYMOUS,
    AllowAll,
    Authorizer,
    Operation,
    ResourceType,
)
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.proxy import payload
from quorate_broker.proxy.payload import Refusal
from quorate_broker.proxy.port import ProxyPort

log = logging.getLogger(__name__)

EVERYBODY = AllowAll()
MAX_BODY_BYTES = 4 * 1024 * 1024
BODY_SECONDS = 30
BODY_BUDGET_FACTOR = 8
"""Bodies of so many requests of the greatest length may be in memory at once."""


def build(
    port: ProxyPort,
    max_body_bytes: int = MAX_BODY_BYTES,
    authorizer: Authorizer = EVERYBODY,
) -> Starlette:
    """The app; `admin.serve` runs it. Its `state.limit` sets another longest body."""
    handlers = _Handlers(port, max_body_bytes, authorizer)
    app = Starlette(
        routes=[
            Route("/topics", handlers.topics, methods=["GET"]),
            Route("/topics/{topic}", handlers.produce, methods=["POST"]),
            Route("/brokers", handlers.brokers, methods=["GET"]),
            Route("/status/ready", handlers.ready, methods=["GET"]),
        ],
        exception_handlers=ERROR_HANDLERS,
    )
    app.state.limit = handlers.limit
    return app


class _Handlers:
    def __init__(self, port: ProxyPort, max_body_bytes: int, authorizer: Authorizer) -> None:
        self._port = port
        self.limit(max_body_bytes)
        self._buffered_bytes = 0
        self._authorizer = authorizer

    def limit(self, max_body_bytes: int) -> None:
        """Bodies may be so long from now on."""
        self._max_body_bytes = max_body_bytes
        self._budget_bytes = max_body_bytes * BODY_BUDGET_FACTOR

    async def ready(self, request: Request) -> Response:
        ready = self._port.ready
        status = {"status": "ready" if ready else "booting"}
        return JSONResponse(status, status_code=200 if ready else 503)

    async def topics(self, request: Request) -> Response:
        media_type = payload.response_type(request.headers.get("accept"))
        names = [name for name in await self._port.topics() if self._may(Operation.DESCRIBE, name)]
        return JSONResponse(names, media_type=media_type)

    async def brokers(self, request: Request) -> Response:
        media_type = payload.response_type(request.headers.get("accept"))
        return JSONResponse({"brokers": await self._port.brokers()}, media_type=media_type)

    async def produce(self, request: Request) -> Response:
        media_type = payload.response_type(request.headers.get("accept"))
        form = payload.record_format(request.headers.get("content-type"))
        topic = request.path_params["topic"]
        if not self._may(Operation.WRITE, topic):
            raise KafkaError(ErrorCode.TOPIC_AUTHORIZATION_FAILED, topic)
        body = bytearray()
        try:
            await self._read(request, body)
            placed = await self._port.produce(topic, payload.records(bytes(body), form))
        finally:
            self._buffered_bytes -= len(body)
        return JSONResponse(payload.produced(placed), media_type=media_type)

    async def _read(self, request: Request, body: bytearray) -> None:
        """Into `body`, which counts towards the budget as it grows."""
        told = request.headers.get("content-length", "")
        if told.isdigit() and int(told) > self._max_body_bytes:
            raise self._too_long()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in request.stream():
                    body += chunk
                    self._buffered_bytes += len(chunk)
                    if len(body) > self._max_body_bytes:
                        raise self._too_long()
                    if self._buffered_bytes > self._budget_bytes:
                        raise Refusal(503, "too many requests at once; try again")
        except TimeoutError:
            raise Refusal(408, f"the body did not come within {BODY_SECONDS} s") from None
        except ClientDisconnect:
            raise Refusal(400, "the connection ended within the body") from None

    def _too_long(self) -> Refusal:
        return Refusal(413, f"the body is longer than {self._max_body_bytes} bytes")

    def _may(self, operation: Operation, topic: str) -> bool:
        return self._authorizer.allows(ANONYMOUS, operation, ResourceType.TOPIC, topic)


def _refuse(refusal: Refusal) -> JSONResponse:
    return JSONResponse(
        {"error_code": refusal.code, "message": refusal.message},
        status_code=refusal.status,
        headers={"Retry-After": "0"} if refusal.status in (429, 503) else None,
        media_type=payload.CONTROL,
    )


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _refuse(error)


async def _on_kafka(request: Request, error: Exception) -> Response:
    assert isinstance(error, KafkaError)
    return _refuse(payload.refusal_of(error))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _refuse(Refusal(error.status_code, error.detail))


async def _on_bug(request: Request, error: Exception) -> Response:
    log.error("request failed", exc_info=error)
    return _refuse(Refusal(500, f"internal error: {type(error).__name__}"))


ERROR_HANDLERS: dict[int | type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    Refusal: _on_refusal,
    KafkaError: _on_kafka,
    HTTPException: _on_http,
    Exception: _on_bug,
}
