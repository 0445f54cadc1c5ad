"""/livez, /readyz and /metrics on one port.

Alive: the loop turns and the resync keeps being tried. Ready: the last resync reached the API
server. An API server that is down makes the operator not ready, and never restarts it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import prometheus_client
from aiohttp import web

from quorate_operator.seams import Clock

LATE_S: Final = 300.0


class Pulse:
    """When the resync was last tried, and when it last succeeded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tried = clock.monotonic()
        self._succeeded: float | None = None

    def tried(self) -> None:
        self._tried = self._clock.monotonic()

    def succeeded(self) -> None:
        self._succeeded = self._clock.monotonic()

    @property
    def alive(self) -> bool:
        return self._clock.monotonic() - self._tried < LATE_S

    @property
    def ready(self) -> bool:
        last = self._succeeded
        return last is not None and self._clock.monotonic() - last < LATE_S


def build(pulse: Pulse) -> web.Application:
    async def livez(_: web.Request) -> web.Response:
        return _answer(pulse.alive, "the resync has not been tried for too long")

    async def readyz(_: web.Request) -> web.Response:
        return _answer(pulse.ready, "the Kubernetes API has not answered lately")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=prometheus_client.generate_latest(),
            headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST},
        )

    app = web.Application()
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app


def _answer(good: bool, why: str) -> web.Response:
    return web.Response(text="ok\n") if good else web.Response(status=503, text=f"{why}\n")


@contextlib.asynccontextmanager
async def serve(pulse: Pulse, port: int) -> AsyncIterator[None]:
    runner = web.AppRunner(build(pulse), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, None, port).start()
        yield
    finally:
        await runner.cleanup()
