"""Flanking nodes, as the brokers know them.

The metadata leader keeps the registry, soft state with a short time to live; the other brokers
forward what they are told to it, and show what it gossips. A new leader takes over what it was
told last, so that nobody vanishes with the old one; a leader of an older term is not heard any
more. Read next: `admin.flanking_registry`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from quorate_broker import seams
from quorate_broker.admin.flanking_registry import FlankingNode, FlankingRegistry, RegistryFullError
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.net.peers import PeerLost, Peers
from quorate_broker.node.controller import Controller

REGISTER = "flanking-register"
REMOVE = "flanking-remove"


class Goodbye(msgspec.Struct, frozen=True):
    node_id: int
    incarnation: str


class Flank:
    """One per broker; `changed` is called when the list is another one."""

    def __init__(
        self,
        controller: Controller,
        peers: Peers,
        clock: seams.Clock,
        changed: Callable[[], None],
    ) -> None:
        self._controller = controller
        self._peers = peers
        self._clock = clock
        self._changed = changed
        self._registry = FlankingRegistry()
        self._told: tuple[FlankingNode, ...] = ()
        self._told_term = -1
        self._led = False

    @property
    def term(self) -> int:
        """Of this broker's leadership; -1 where another one leads."""
        return self._controller.partition.leader_epoch if self._controller.leads else -1

    def nodes(self) -> tuple[FlankingNode, ...]:
        """As registered here, or as the metadata leader told last."""
        return self._registry.nodes() if self._leading() else self._told

    def gossip(self) -> tuple[FlankingNode, ...] | None:
        """What to tell the others; None where another broker leads."""
        return self._registry.nodes() if self._leading() else None

    def hear(self, nodes: tuple[FlankingNode, ...] | None, term: int) -> None:
        """The metadata leader of `term` told its list."""
        if nodes is None or term < self._told_term:
            return
        self._told_term = term
        if nodes != self._told:
            self._told = nodes
            self._changed()

    def tick(self, now_ms: int) -> None:
        """Forget who was silent; and everyone, where this broker leads no longer."""
        registry = self._registry
        if registry.expire(now_ms) if self._leading() else registry.clear():
            self._changed()

    def _leading(self) -> bool:
        """Whether this broker leads; if it is new to that, it takes over what it was told."""
        leads = self._controller.leads
        if leads:
            self._told_term = self.term
        if leads and not self._led:
            now_ms = self._clock.monotonic_ms()
            for node in self._told:
                self._registry.register(node, now_ms)
        elif self._led and not leads:
            self._told = self._registry.nodes()
        self._led = leads
        return leads

    async def register(self, node: FlankingNode) -> None:
        if self._leading():
            self._register(node)
        else:
            await self._forward(REGISTER, msgspec.msgpack.encode(node))

    async def remove(self, node_id: int, incarnation: str) -> None:
        if self._leading():
            self._remove(Goodbye(node_id, incarnation))
        else:
            await self._forward(REMOVE, msgspec.msgpack.encode(Goodbye(node_id, incarnation)))

    async def serve(self, method: str, body: bytes) -> bytes:
        """What another broker forwarded."""
        if not self._leading():
            raise KafkaError(ErrorCode.NOT_CONTROLLER, None)
        if method == REGISTER:
            self._register(msgspec.msgpack.decode(body, type=FlankingNode))
        else:
            self._remove(msgspec.msgpack.decode(body, type=Goodbye))
        return b""

    def _register(self, node: FlankingNode) -> None:
        try:
            if self._registry.register(node, self._clock.monotonic_ms()):
                self._changed()
        except RegistryFullError as error:
            raise KafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED, str(error)) from error

    def _remove(self, goodbye: Goodbye) -> None:
        if self._registry.remove(goodbye.node_id, goodbye.incarnation):
            self._changed()

    async def _forward(self, method: str, body: bytes) -> None:
        leader = self._controller.leader_id
        if leader in (-1, self._peers.me.node_id):
            raise KafkaError(ErrorCode.NOT_CONTROLLER, "the cluster has no leader")
        try:
            await self._peers.request(leader, method, body)
        except (PeerLost, TimeoutError) as error:
            raise KafkaError(ErrorCode.NOT_CONTROLLER, str(error)) from error
