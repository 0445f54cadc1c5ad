"""A broker's Admin API as the operator sees it: `GET /v1/watch`, which waits for news."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

Json = dict[str, Any]


class FakeBroker:
    """Tells what it is told to tell, to whoever waits for it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.port = 0
        self.asked: list[tuple[int, int]] = []
        """(after, timeout_ms) of each request."""
        self.hangs = False
        """Take requests and never answer, as a stopped process does."""
        self.drops = 0
        """So many requests lose their connection."""
        self.status = 200
        self.answers: dict[str, tuple[int, Any]] = {}
        """Other calls, `GET /v1/brokers`, with status and body."""
        self.called: list[str] = []
        """Calls other than the watch."""
        self._body: Json = answer()
        self._news = asyncio.Condition()

    async def tell(self, **changes: Any) -> None:
        """News: everybody who waits hears it."""
        async with self._news:
            self._body = {**self._body, **changes, "version": self._body["version"] + 1}
            self._news.notify_all()

    @contextlib.asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[FakeBroker]:
        app = web.Application()
        app.router.add_get("/v1/watch", self._watch)
        app.router.add_route("*", "/{path:.*}", self._other)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.address, port).start()
            self.port = runner.addresses[0][1]
            yield self
        finally:
            await runner.cleanup()

    async def _other(self, request: web.Request) -> web.Response:
        call = f"{request.method} {request.path_qs}"
        self.called.append(call)
        if self.hangs:
            await asyncio.Event().wait()
        status, body = self.answers.get(call, (404, {"message": "no such path", "code": 404}))
        return web.json_response(body, status=status)

    async def _watch(self, request: web.Request) -> web.Response:
        after, timeout_ms = int(request.query["after"]), int(request.query["timeout_ms"])
        self.asked.append((after, timeout_ms))
        if self.drops and request.transport is not None:
            self.drops -= 1
            request.transport.abort()
        if self.hangs:
            await asyncio.Event().wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_ms / 1000), self._news:
                await self._news.wait_for(lambda: self._body["version"] > after)
        return web.json_response(self._body, status=self.status)


def answer(leader: int | None = None, term: int = 0, **other: Any) -> Json:
    """A body of /v1/watch."""
    return {
        "version": 1,
        "cluster_id": "id-1",
        "leader": {"node_id": leader, "term": term} if leader else None,
        "transitions": max(term - 1, 0),
        "members": [
            {"node_id": n, "incarnation": f"inc-{n}", "alive": True, "rack": "", "version": "1"}
            for n in (1, 2, 3)
        ],
        "flanking": [],
        "healthy": True,
        "unhealthy_reasons": [],
        **other,
    }


async def refresh(brokers: list[FakeBroker], leader: int | None, term: int = 0) -> None:
    """All of them say the same."""
    for broker in brokers:
        body = answer(leader, term)
        await broker.tell(leader=body["leader"], transitions=body["transitions"])
