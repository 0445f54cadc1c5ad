"""The brokers' connections and their news: follows `GET /v1/watch` of each broker of a cluster.

Every broker is asked, not only the leader: when the leader dies the others have the news. A request
waits at the broker until something changes or the hold is over, so that a change arrives at once
and a broker that hangs is noticed within hold + 2 x slack (5 s), one that is gone at once. While
nothing changes in a healthy cluster the hold grows, up to a minute: so many requests are not worth
what a broker that hangs would tell. The others, who miss it, say so at once, and its own pod stops
being ready: whoever sees that says `doubt`, and it is asked again with a short hold. A broker that
does not answer is data.

Read next: `admin.py` for what is asked beside it; `facts.View`, which is what comes out;
`plan/leadership.py`, which weighs the views.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import socket
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from quorate_operator.facts import Claim, Json, Member, Standing, View
from quorate_operator.metrics import BROKER_ANSWERS
from quorate_operator.model import ADMIN_PORT

HOLD_MS: Final = 2000
MOST_HOLD_MS: Final = 60_000
"""Brokers hold no request for longer."""
SLACK_S: Final = 1.5
PAUSE_S: Final = 0.5
"""Between a failed request and the next one."""
ANSWER_LIMIT: Final = 1 << 20
NONE_YET: Final = -1
"""The version before all others: what is asked for after it comes at once."""


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """How long a broker may hold an answer, how much later it counts as silent, and so on."""

    hold_ms: int = HOLD_MS
    most_hold_ms: int = MOST_HOLD_MS
    slack_s: float = SLACK_S
    pause_s: float = PAUSE_S


class Addresses(AbstractResolver):
    """Names of pods to addresses, as the pods' own status tells them.

    DNS would tell the same, some seconds later: it is cached, also where a pod just came back.
    """

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def know(self, host: str, address: str) -> None:
        self._known[host] = address

    def forget(self, host: str) -> None:
        self._known.pop(host, None)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self._known.get(host)
        if address is None:
            raise OSError(f"the address of {host} is not known")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=family,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        self._known.clear()


class Brokers:
    """One HTTP client for the brokers of all clusters."""

    def __init__(self, timing: Timing | None = None, port: int = ADMIN_PORT) -> None:
        self.addresses = Addresses()
        self.timing = timing or Timing()
        self._port = port
        self._long: dict[str, asyncio.Timeout] = {}
        """Requests with more than the short hold, by host."""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Brokers:
        connector = aiohttp.TCPConnector(
            resolver=self.addresses, use_dns_cache=False, limit=0, keepalive_timeout=30
        )
        self._session = aiohttp.ClientSession(connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    def request(
        self,
        method: str,
        host: str,
        path: str,
        limit: aiohttp.ClientTimeout,
        body: Json | None = None,
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """One request to a broker whose address is known."""
        assert self._session is not None
        url = f"http://{host}:{self._port}{path}"
        return self._session.request(method, url, json=body, timeout=limit, allow_redirects=False)

    def doubt(self, host: str) -> None:
        """It may hang: what waits for its news is asked again, with the short hold."""
        if host in self._long:
            self._long[host].reschedule(asyncio.get_running_loop().time())

    async def follow(self, host: str, tell: Callable[[View | None], None]) -> None:
        """Until cancelled: call `tell` with each new view, and with None when there is none.

        The first answer is always told, also when there is none.
        """
        last: View | None = None
        version = NONE_YET
        first = True
        hold_ms = self.timing.hold_ms
        while True:
            try:
                view = await self._patiently(host, version, hold_ms)
            except TimeoutError:  # doubted
                hold_ms = self.timing.hold_ms
                continue
            if view is None and last is not None:
                # Once more: the connection may have been closed under the request.
                view = await self._watch(host, NONE_YET, hold_ms)
            BROKER_ANSWERS.labels("answered" if view else "silent").inc()
            version = view.version if view else NONE_YET
            is_news = first or not _alike(view, last)
            if is_news:
                tell(view)
            else:
                view = last  # what was told: one of two that are alike is enough to keep
            is_quiet = view is not None and not is_news and view.healthy
            hold_ms = (
                min(2 * hold_ms, self.timing.most_hold_ms) if is_quiet else self.timing.hold_ms
            )
            first, last = False, view
            if view is None:
                await asyncio.sleep(self.timing.pause_s)

    async def _patiently(self, host: str, after: int, hold_ms: int) -> View | None:
        """As `_watch`. TimeoutError: the broker was doubted meanwhile."""
        if hold_ms <= self.timing.hold_ms:
            return await self._watch(host, after, hold_ms)
        try:
            async with asyncio.timeout(None) as self._long[host]:
                return await self._watch(host, after, hold_ms)
        finally:
            del self._long[host]

    async def _watch(self, host: str, after: int, hold_ms: int) -> View | None:
        """The next view; None if there is no proper answer in time. The first comes at once."""
        assert self._session is not None
        hold_ms = 0 if after == NONE_YET else hold_ms
        query = {"after": str(after), "timeout_ms": str(hold_ms)}
        limit = aiohttp.ClientTimeout(total=hold_ms / 1000 + self.timing.slack_s)
        try:
            async with self._session.get(
                f"http://{host}:{self._port}/v1/watch", params=query, timeout=limit
            ) as response:
                if response.status != 200:
                    return None
                return parse(json.loads(await bounded(response.content, ANSWER_LIMIT)))
        except (OSError, TimeoutError, ValueError, aiohttp.ClientError):
            return None


def _alike(one: View | None, other: View | None) -> bool:
    """Equal but for the version: nothing that anybody would act on."""
    if one is None or other is None:
        return one is other
    return dataclasses.replace(one, version=other.version) == other


async def bounded(content: aiohttp.StreamReader, limit: int) -> bytes:
    """The body, refused beyond the limit: a broker's answer is never that long."""
    found = bytearray()
    async for piece in content.iter_any():
        found += piece
        if len(found) > limit:
            raise ValueError("the answer is too long")
    return bytes(found)


def parse(body: Any) -> View:
    """ValueError for anything that is not such an answer: then the broker counts as silent."""
    try:
        leader = body["leader"]
        return View(
            version=int(body["version"]),
            cluster_id=str(body["cluster_id"] or ""),
            leader=Claim(int(leader["node_id"]), int(leader["term"])) if leader else None,
            transitions=int(body["transitions"]),
            members=_members(body["members"]),
            flanking=_members(body["flanking"]),
            healthy=bool(body["healthy"]),
            unhealthy_reasons=tuple(str(reason) for reason in body["unhealthy_reasons"]),
            feature_level=int(body.get("feature_level") or 0),
            config={str(k): str(v) for k, v in (body.get("config") or {}).items()},
            config_version=int(body.get("config_version") or 0),
            under_replicated=bool(body.get("under_replicated")),
            departed=tuple(int(node_id) for node_id in body.get("departed") or ()),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an answer of /v1/watch: {error!r}") from error


def _members(rows: Any) -> tuple[Member, ...]:
    return tuple(
        Member(
            int(row["node_id"]),
            str(row.get("incarnation") or ""),
            str(row.get("version") or ""),
            row.get("membership_status") == "draining",
            int(row.get("feature_level") or 0),
            _standing(row.get("config")),
            str(row.get("rack") or ""),
        )
        for row in rows
    )


def _standing(row: Any) -> Standing | None:
    if not row:
        return None
    lists = (tuple(map(str, row[name])) for name in ("invalid", "unknown", "own"))
    return Standing(int(row["version"]), bool(row["restart"]), *lists)
