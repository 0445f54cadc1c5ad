"""The other brokers, as a node uses them: the seam of the network between brokers.

`Peers` is what everything above `net` talks to; `mesh.Mesh` is the one over TCP, and a simulator
brings its own. What arrives goes to a `Handler`, which is the node. Calls never block; Raft
messages and soft state are dropped where the other end is not there, since both are repeated;
only a request has an answer. Read next: `mesh`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from quorate_broker.net.rpc import Buffer
from quorate_broker.raft.messages import Message, Peer

REQUEST_TIMEOUT_MS = 5_000


class PeerLost(Exception):
    """The peer cannot be reached, or went away before it answered."""


class Handler(Protocol):
    """What arrives from other brokers."""

    def on_raft(self, sender: Peer, group: str, message: Message) -> None: ...

    async def on_request(self, sender: Peer, method: str, body: bytes, bulk: memoryview) -> bytes:
        """The response's body. A KafkaError travels back as such."""
        ...

    def on_soft(self, sender: Peer, body: memoryview) -> None: ...

    def on_connected(self, peer: Peer) -> None: ...

    def on_lost(self, node_id: int) -> None: ...

    def on_retired(self, told_by: Peer) -> None:
        """A member of our cluster refused us for good: this incarnation was replaced or removed."""
        ...


class Peers(Protocol):
    """All lines of one broker. `run` owns the tasks; everything else is a plain call."""

    cluster_id: str
    """Empty until this broker is a member; set by `joined`."""

    @property
    def me(self) -> Peer: ...

    async def run(self, seeds: Mapping[int, tuple[str, int]], ready: asyncio.Event) -> None:
        """Listen (then set `ready`) and stay connected to everyone known, until cancelled."""
        ...

    def joined(self, cluster_id: str) -> None:
        """This broker has become a member: lines to members of another cluster end here."""
        ...

    def set_address(self, node_id: int, host: str, port: int) -> None:
        """Where a broker is reached, a new one perhaps; lines that stand are left alone."""
        ...

    def forget(self, node_id: int) -> None:
        """A broker that was removed: no longer dialled."""
        ...

    def retire(self, retired: frozenset[Peer]) -> None:
        """All incarnations that are no members any more: their lines end, none is accepted."""
        ...

    def send(self, to: Peer, group: str, message: Message) -> None:
        """One Raft message. Dropped where the peer is not there: Raft repeats itself."""
        ...

    def broadcast(self, body: bytes) -> None:
        """Soft state, to everyone who is connected."""
        ...

    async def request(
        self,
        node_id: int,
        method: str,
        body: bytes,
        bulk: Sequence[Buffer] = (),
        timeout_ms: int = REQUEST_TIMEOUT_MS,
    ) -> bytes:
        """Ask another broker. Raises PeerLost, TimeoutError, or the KafkaError it answered."""
        ...

    def alive(self, node_id: int) -> bool:
        """Connected and heard lately; this broker itself always is."""
        ...

    def incarnation(self, node_id: int) -> str | None:
        """Of the broker that is connected under this id; None when none is."""
        ...
