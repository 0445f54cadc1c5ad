"""/livez, /readyz and /metrics on one port.

Alive: the loop turns, the resync keeps being tried, and every watch delivers what lists show.
Ready: the last resync reached the API server, or this is the standby. An API server that is down
makes the operator not ready, and never restarts it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Mapping
from typing import Final, NamedTuple

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


class Thing(NamedTuple):
    """An object of the Kubernetes API, and whose it is."""

    plural: str
    namespace: str
    name: str
    cluster: str

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.cluster)


@dataclasses.dataclass(frozen=True, slots=True)
class Missing:
    """A list shows another version than the watch delivered."""

    heard: str
    """The version that the watch had delivered by then."""
    since: float
    again: bool
    """A later list showed the same."""


class Pulse:
    """What the parts of the operator last did."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tried = self._beat = clock.monotonic()
        self._succeeded: float | None = None
        self._heard: dict[str, dict[Thing, str]] = {}
        """By plural, of what watches told, the last version."""
        self._listed: dict[str, dict[Thing, str]] = {}
        """By plural, what the last list showed."""
        self._absent: dict[str, set[Thing]] = {}
        """By plural, what it did not show although it was there before."""
        self._missing: dict[str, dict[Thing, Missing]] = {}
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

    def heard(self, thing: Thing, version: str) -> bool:
        """A watch delivered an object in that version; empty: that it is gone.

        False: that is no news, since it was delivered before, or a list has shown it.
        """
        heard = self._heard.setdefault(thing.plural, {})
        if not version:
            heard.pop(thing, None)
            self._listed.get(thing.plural, {}).pop(thing, None)
            return True
        known = (heard.get(thing), self._listed.get(thing.plural, {}).get(thing))
        heard[thing] = version
        return version not in known

    def listed(self, plural: str, versions: Mapping[Thing, str]) -> list[Thing]:
        """A list shows these. Returns those of which the watch has not said the same.

        One list alone does not prove that it never will: news may come in between its making and
        its reading.
        """
        now = self._clock.monotonic()
        heard = self._heard.setdefault(plural, {})
        before, missing = self._missing.get(plural, {}), {}
        for thing, version in versions.items():
            last = heard.get(thing, "")
            known = before.get(thing)
            if last == version:
                continue
            same = known is not None and known.heard == last
            since = known.since if known is not None and same else now
            missing[thing] = Missing(last, since, again=same)
        self._missing[plural] = missing
        gone = self._gone(plural, versions)
        self._listed[plural] = dict(versions)
        return [*missing, *gone]

    def _gone(self, plural: str, versions: Mapping[Thing, str]) -> list[Thing]:
        """What was there by a watch or the last list, is not in this one, and no watch said so.

        A watch that begins with a list tells nobody of what was deleted before. Forgotten is what
        two lists in a row do not show: one may be older than what the watch has said since.
        """
        heard, before = self._heard[plural], self._absent.get(plural, set())
        absent = {*heard, *self._listed.get(plural, {})} - versions.keys()
        for thing in absent & before:
            del heard[thing]
        self._absent[plural] = absent - before
        return sorted(absent)

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
        for missing in self._missing.values():
            for thing, one in missing.items():
                silent = one.again and now - one.since > DEAF_S
                if silent and self._heard[thing.plural].get(thing, "") == one.heard:
                    return f"the watch of {thing.plural} does not deliver what a list shows"
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
