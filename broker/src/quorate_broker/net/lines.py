"""What a broker knows of its lines to others and of who is at their ends.

A `Line` is one connection, either way; a `Remote` is another broker, with the two lines that this
one dialled to it; the `Roster` holds them all and notes when each was last heard. Nothing here
touches a socket. Read next: `dialling`, `accepting`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from quorate_broker import seams
from quorate_broker.net.greeting import Welcome
from quorate_broker.net.lookup import Lookup
from quorate_broker.net.rpc import RpcProtocol
from quorate_broker.raft.messages import Peer

CONTROL = "control"
BULK = "bulk"
SILENCE_MS = 3_000
DROP_MS = 6_000

Address = tuple[str, int]


@dataclass(slots=True)
class Line:
    """What is known of one connection, either way."""

    protocol: RpcProtocol | None = None
    peer: Peer | None = None
    purpose: str = ""
    cluster_id: str = ""
    boot: str = ""
    version: int = 1
    since_ms: int = 0
    requests: int = 0
    """Under way, asked by the other end."""
    welcome: asyncio.Future[Welcome] | None = None
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    def is_of(self, peer: Peer, purpose: str) -> bool:
        return self.peer == peer and self.purpose == purpose


@dataclass(slots=True)
class Remote:
    """A broker as this one sees it."""

    node_id: int
    address: Address
    lookup: Lookup
    control: Line | None = None
    bulk: Line | None = None
    heard_ms: int = -SILENCE_MS
    """For `alive`: set back when it is known to be gone."""
    word_ms: int = 0
    """When anything came from it last, or a line to it was made."""
    reported: str = ""
    keepers: list[asyncio.Task[None]] = field(default_factory=list)


class Roster:
    """The other brokers by node id, and all lines that stand or are about to."""

    def __init__(self, clock: seams.Clock) -> None:
        self._clock = clock
        self.remotes: dict[int, Remote] = {}
        self.dialled: dict[RpcProtocol, Line] = {}
        self.accepted: dict[RpcProtocol, Line] = {}

    def lines(self) -> list[tuple[RpcProtocol, Line]]:
        return [*self.accepted.items(), *self.dialled.items()]

    def get(self, node_id: int) -> Remote | None:
        return self.remotes.get(node_id)

    def hear(self, peer: Peer | None) -> None:
        """Something came from it."""
        remote = self.remotes.get(peer.node_id) if peer is not None else None
        if remote is not None:
            remote.heard_ms = remote.word_ms = self._clock.monotonic_ms()

    def superseded_by(self, line: Line) -> list[RpcProtocol]:
        """A peer called: its older line of this kind is dead, and so, if this is another process
        on its disk, is every line to the process before."""
        assert line.peer is not None
        older = [
            protocol
            for protocol, known in self.accepted.items()
            if known is not line and known.is_of(line.peer, line.purpose)
        ]
        return older + [
            protocol
            for protocol, known in self.dialled.items()
            if known.peer == line.peer and "" != known.boot != line.boot != ""
        ]

    def drop(self, node_id: int) -> None:
        """End all lines to and from a broker."""
        for protocol, line in self.lines():
            if line.peer is not None and line.peer.node_id == node_id:
                protocol.abort()

    def alive(self, node_id: int) -> bool:
        """Heard within the last `SILENCE_MS`, and its control line stands."""
        remote = self.remotes.get(node_id)
        if remote is None or remote.control is None:
            return False
        return self._clock.monotonic_ms() - remote.heard_ms < SILENCE_MS

    def incarnation(self, node_id: int) -> str | None:
        """Of the broker at the other end of the control line."""
        remote = self.remotes.get(node_id)
        line = remote.control if remote is not None else None
        return line.peer.incarnation if line is not None and line.peer is not None else None

    def silent(self, now_ms: int) -> list[Remote]:
        """Those with a line that should have gossiped long since."""
        return [
            remote
            for remote in self.remotes.values()
            if remote.control is not None and now_ms - remote.word_ms >= DROP_MS
        ]
