"""The lines that other brokers dialled to this one: what comes in on them.

A peer that calls again has lost its line before: the older one is dead, whatever it looks like.
Before its HELLO a line may send nothing, and it has `GREET_MS` to say it. Read next: `exchange`.
"""

from __future__ import annotations

import logging

import msgspec

from quorate_broker import seams
from quorate_broker.net import rpc
from quorate_broker.net.exchange import Serving
from quorate_broker.net.greeting import Hello, Ourselves, decode
from quorate_broker.net.lines import CONTROL, SILENCE_MS, Line, Roster
from quorate_broker.net.peers import Handler
from quorate_broker.net.rpc import Frame, Kind, RaftHead, RpcProtocol
from quorate_broker.raft import encoding
from quorate_broker.raft.messages import Peer

log = logging.getLogger(__name__)

GREET_MS = 5_000


_heads = msgspec.msgpack.Decoder(RaftHead)
_beats = msgspec.msgpack.Decoder(tuple[RaftHead, ...])


class Accepting:
    """Serves the accepted lines, greeted or not."""

    def __init__(
        self,
        ourselves: Ourselves,
        roster: Roster,
        serving: Serving,
        handler: Handler,
        clock: seams.Clock,
    ) -> None:
        self._ourselves = ourselves
        self._roster = roster
        self._serving = serving
        self._handler = handler
        self._clock = clock

    def accept(self) -> RpcProtocol:
        """A connection has come."""
        protocol = RpcProtocol(self._frame, self._lost)
        self._roster.accepted[protocol] = Line(
            protocol=protocol, since_ms=self._clock.monotonic_ms()
        )
        return protocol

    def drop_ungreeted(self, now_ms: int) -> None:
        for protocol, line in list(self._roster.accepted.items()):
            if line.peer is None and now_ms - line.since_ms >= GREET_MS:
                protocol.abort()

    def _lost(self, protocol: RpcProtocol) -> None:
        line = self._roster.accepted.pop(protocol, None)
        if line is not None and line.peer is not None and line.purpose == CONTROL:
            peer = line.peer
            if any(other.is_of(peer, CONTROL) for other in self._roster.accepted.values()):
                return  # it has called again since
            remote = self._roster.get(peer.node_id)
            if remote is not None:
                remote.heard_ms = -SILENCE_MS
            self._handler.on_lost(peer.node_id)

    def _frame(self, protocol: RpcProtocol, frame: Frame) -> None:
        line = self._roster.accepted.get(protocol)
        if line is None:
            return
        if line.peer is None:
            self._greet(line, frame)
            return
        self._roster.hear(line.peer)
        match frame.kind:
            case Kind.BEATS if line.version >= 2:
                self._small(line.peer, frame)
            case Kind.RAFT:
                self._raft(line.peer, frame)
            case Kind.SOFT:
                self._handler.on_soft(line.peer, frame.head)
            case Kind.REQUEST:
                self._serving.start(line, frame)
            case _:
                raise rpc.FrameError(f"{frame.kind.name} on an accepted line")

    def _greet(self, line: Line, frame: Frame) -> None:
        if frame.kind is not Kind.HELLO:
            raise rpc.FrameError(f"{frame.kind.name} before HELLO")
        assert line.protocol is not None
        hello = decode(frame, Hello)
        welcome = self._ourselves.welcome(hello)
        line.protocol.send(rpc.encode(Kind.WELCOME, 0, msgspec.msgpack.encode(welcome)))
        if welcome.refused is not None:
            log.warning("refused broker %d: %s", hello.node_id, welcome.refused)
            return
        line.peer = Peer(hello.node_id, hello.incarnation)
        line.purpose, line.boot = hello.line, hello.boot
        line.cluster_id, line.version = hello.cluster_id, welcome.version
        line.protocol.greeted()
        self._roster.hear(line.peer)
        for other in self._roster.superseded_by(line):
            other.abort()

    def _raft(self, sender: Peer, frame: Frame) -> None:
        if self._ourselves.cluster_id:
            try:
                head = _heads.decode(frame.head)
            except msgspec.MsgspecError as error:
                raise rpc.FrameError(f"unreadable Raft message: {error}") from error
            self._deliver(sender, head, frame.bulk)

    def _small(self, sender: Peer, frame: Frame) -> None:
        """Many messages in one frame."""
        if self._ourselves.cluster_id:
            try:
                heads = _beats.decode(frame.head)
            except msgspec.MsgspecError as error:
                raise rpc.FrameError(f"unreadable Raft messages: {error}") from error
            for head in heads:
                self._deliver(sender, head, frame.bulk)

    def _deliver(self, sender: Peer, head: RaftHead, bulk: memoryview) -> None:
        try:
            message = encoding.decode(head.message, bulk)
        except ValueError as error:
            raise rpc.FrameError(f"unreadable Raft message: {error}") from error
        self._handler.on_raft(sender, head.group, message)
