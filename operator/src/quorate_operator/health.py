"""/livez, /readyz and /metrics on one port.

Alive: the loop turns, the resync keeps being tried, and the watch delivers what a list shows.
Ready: the last resync reached the API server, or this is the standby. An API server that is down
makes the operator not ready, and never restarts it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Final

import prometheus_client
from aiohttp import web

from quorate_operator.metrics import LOOP_LAG_SECONDS
from quorate_operator.names import Key
from quorate_operator.seams import Clock

LATE_S: Final = 300.0
DEAF_S: Final = 150.0
"""So long a list may show what the watch has not delivered: more than one of its reconnects."""
STUCK_S: Final = 30.0
BEAT_S: Final = 1.0


class Pulse:
    """What the parts of the operator last did."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tried = self._beat = clock.monotonic()
        self._succeeded: float | None = None
        self._heard: dict[Key, str] = {}
        self._missing: dict[Key, tuple[str, float]] = {}
        """Clusters of which a list shows another version: what was heard then, and since when."""
        self.standby = False

    def beat(self) -> None:
        """Every `BEAT_S`, if the loop turns."""
        now = self._clock.monotonic()
        LOOP_LAG_SECONDS.set(max(0.0, now - self._beat - BEAT_S))
        self._beat = now

    def tried(self) -> None:
        self._tried = self._clock.monotonic()

    def succeeded(self) -> None:
        self._succeeded = self._clock.monotonic()

    def heard(self, key: Key, version: str) -> None:
        """The watch delivered a cluster in that version."""
        self._heard[key] = version

    def listed(self, versions: Mapping[Key, str]) -> None:
        """A list shows these. Whether the watch said the same is seen at the next list."""
        now = self._clock.monotonic()
        for key in set(self._heard) - set(versions):
            del self._heard[key]
        missing = {}
        for key, version in versions.items():
            heard = self._heard.get(key, "")
            if heard == version:
                continue
            before = self._missing.get(key)
            missing[key] = before if before and before[0] == heard else (heard, now)
        self._missing = missing

    @property
    def trouble(self) -> str:
        """Why a restart would help; empty: it would not."""
        now = self._clock.monotonic()
        if now - self._beat > STUCK_S:
            return "the event loop does not turn"
        if self.standby:
            return ""
        if now - self._tried > LATE_S:
            return "the resync has not been tried for too long"
        if any(
            now - since > DEAF_S and self._heard.get(key, "") == heard
            for key, (heard, since) in self._missing.items()
        ):
            return "the watch does not deliver what a list shows"
        return ""

    @property
    def ready(self) -> bool:
        last = self._succeeded
        return self.standby or (last is not None and self._clock.monotonic() - last < LATE_S)


def build(pulse: Pulse) -> web.Application:
    async def livez(_: web.Request) -> web.Response:
        return _answer(pulse.trouble)

    async def readyz(_: web.Request) -> web.Response:
        return _answer("" if pulse.ready else "the Kubernetes API has not answered lately")

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


def _answer(trouble: str) -> web.Response:
    return web.Response(status=503, text=f"{trouble}\n") if trouble else web.Response(text="ok\n")


@contextlib.asynccontextmanager
async def serve(pulse: Pulse, port: int) -> AsyncIterator[None]:
    runner = web.AppRunner(build(pulse), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, None, port).start()
        yield
    finally:
        await runner.cleanup()
