"""The connections between brokers.

Every broker dials every other twice: a control line (votes, heartbeats, requests and their
responses, soft state) and a bulk line (appends with their batches), so that a megabyte on its way
to a follower never holds up a heartbeat. What a broker sends goes out on the lines it dialled;
responses come back on the line of their request. A line begins with HELLO (version, cluster, who
I am) and WELCOME (who you reached) or a refusal in words; from then on both ends know the other's
(node id, incarnation), and Raft messages to or from another incarnation are dropped here.

A lost control line is told at once: Raft takes it as a hint, and the peer counts as not alive
until it is heard again. A line may also be dead without anyone having said so, when a machine or
an address vanished: a peer that calls from a new process, or stays silent where it should gossip,
has its lines dropped and dialled anew, under whatever address its name has then (`lookup`).
Read next: `node`, which owns what the calls reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import msgspec

from quorate_broker import seams
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.net import rpc
from quorate_broker.net.lookup import Addresses, Lookup
from quorate_broker.net.rpc import Buffer, Frame, Kind, RpcProtocol
from quorate_broker.raft import encoding
from quorate_broker.raft.messages import Message, Peer

log = logging.getLogger(__name__)

VERSION = 1
DIAL_TIMEOUT_S = 3.0
REDIAL_MIN_S = 0.1
REDIAL_MAX_S = 1.0
SILENCE_MS = 3_000
DROP_MS = 6_000
GREET_MS = 5_000
WATCH_S = 0.5


class Hello(msgspec.Struct, frozen=True):
    min_version: int
    max_version: int
    cluster_id: str
    node_id: int
    incarnation: str
    line: str
    boot: str = ""
    """Of the process: another one each time it is started."""


class Welcome(msgspec.Struct, frozen=True):
    """`refused` is the reason in words, None when welcome."""

    version: int
    cluster_id: str
    node_id: int
    incarnation: str
    refused: str | None = None
    boot: str = ""


class RequestHead(msgspec.Struct, frozen=True):
    method: str
    body: bytes


class ResponseHead(msgspec.Struct, frozen=True):
    """`error` is (Kafka error code, message) when the request failed."""

    body: bytes
    error: tuple[int, str | None] | None = None


class RaftHead(msgspec.Struct, frozen=True, array_like=True):
    group: str
    message: bytes


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


@dataclass(slots=True)
class _Line:
    """What is known of one connection, either way."""

    protocol: RpcProtocol | None = None
    peer: Peer | None = None
    purpose: str = ""
    cluster_id: str = ""
    boot: str = ""
    since_ms: int = 0
    welcome: asyncio.Future[Welcome] | None = None
    lost: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Remote:
    """A broker as this one sees it."""

    node_id: int
    address: tuple[str, int]
    lookup: Lookup
    control: _Line | None = None
    bulk: _Line | None = None
    heard_ms: int = -SILENCE_MS
    """For `alive`: set back when it is known to be gone."""
    word_ms: int = 0
    """When anything came from it last, or a line to it was made."""
    reported: str = ""


class Peers:
    """All lines of one broker. `run` owns the tasks; everything else is a plain call."""

    def __init__(
        self, me: Peer, handler: Handler, clock: seams.Clock, source: random.Random
    ) -> None:
        self.me = me
        self.cluster_id = ""
        self._handler = handler
        self._clock = clock
        self._random = source
        self._boot = f"{source.getrandbits(64):x}"
        self._watched_ms = clock.monotonic_ms()
        self._remotes: dict[int, _Remote] = {}
        self._accepted: dict[RpcProtocol, _Line] = {}
        self._dialled: dict[RpcProtocol, _Line] = {}
        self._requests: dict[int, asyncio.Future[bytes]] = {}
        self._request_line: dict[int, RpcProtocol] = {}
        self._next_request = 1
        self._tasks: asyncio.TaskGroup | None = None

    # -- life

    async def run(
        self, host: str, port: int, addresses: dict[int, tuple[str, int]], ready: asyncio.Event
    ) -> None:
        """Listen, dial everyone in `addresses`, until cancelled."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            self._accept, host, port, reuse_address=True, start_serving=False
        )
        try:
            await server.start_serving()
            async with asyncio.TaskGroup() as self._tasks:
                for node_id, address in addresses.items():
                    if node_id != self.me.node_id:
                        self.add(node_id, address)
                ready.set()
                while True:
                    await asyncio.sleep(WATCH_S)
                    self.watch()
        finally:
            self._tasks = None
            server.close()
            for protocol in [*self._accepted, *self._dialled]:
                protocol.abort()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await server.wait_closed()

    def add(self, node_id: int, address: tuple[str, int]) -> None:
        """Begin to dial a broker, once."""
        if node_id in self._remotes or self._tasks is None:
            return
        remote = self._remotes[node_id] = _Remote(node_id, address, Lookup(*address))
        for line in ("control", "bulk"):
            self._tasks.create_task(self._keep(remote, line), name=f"{line} line to {node_id}")

    def joined(self, cluster_id: str) -> None:
        """This broker has become a member: lines to members of another cluster end here."""
        self.cluster_id = cluster_id
        for protocol, line in [*self._accepted.items(), *self._dialled.items()]:
            if line.cluster_id not in ("", cluster_id):
                protocol.close()

    # -- what goes out

    def send(self, to: Peer, group: str, message: Message) -> None:
        """One Raft message. Dropped where the peer is not there: Raft repeats itself."""
        remote = self._remotes.get(to.node_id)
        if remote is None:
            return
        head, bulk = encoding.encode(message)
        line = remote.bulk if bulk else remote.control
        if line is None or line.protocol is None or line.peer != to:
            return
        packed = msgspec.msgpack.encode(RaftHead(group, head))
        line.protocol.send(rpc.encode(Kind.RAFT, 0, packed, bulk))

    def broadcast(self, body: bytes) -> None:
        """Soft state, to everyone who is connected."""
        frame = rpc.encode(Kind.SOFT, 0, body)
        for remote in self._remotes.values():
            if remote.control is not None and remote.control.protocol is not None:
                remote.control.protocol.send(frame)

    async def request(
        self,
        node_id: int,
        method: str,
        body: bytes,
        bulk: Sequence[Buffer] = (),
        timeout_ms: int = 5_000,
    ) -> bytes:
        """Ask another broker. Raises PeerLost, TimeoutError, or the KafkaError it answered."""
        remote = self._remotes.get(node_id)
        line = (remote.bulk if bulk else remote.control) if remote is not None else None
        if line is None or line.protocol is None:
            raise PeerLost(f"broker {node_id} is not connected")
        request_id = self._next_request
        self._next_request += 1
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._requests[request_id] = future
        self._request_line[request_id] = line.protocol
        head = msgspec.msgpack.encode(RequestHead(method, body))
        try:
            if not line.protocol.send(rpc.encode(Kind.REQUEST, request_id, head, bulk)):
                raise PeerLost(f"broker {node_id} is not connected")
            async with asyncio.timeout(timeout_ms / 1000):
                return await future
        finally:
            del self._requests[request_id], self._request_line[request_id]

    # -- what is known

    def alive(self, node_id: int) -> bool:
        """Heard within the last `SILENCE_MS`, and its control line stands."""
        if node_id == self.me.node_id:
            return True
        remote = self._remotes.get(node_id)
        if remote is None or remote.control is None:
            return False
        return self._clock.monotonic_ms() - remote.heard_ms < SILENCE_MS

    def incarnation(self, node_id: int) -> str | None:
        """Of the broker at the other end of the control line."""
        remote = self._remotes.get(node_id)
        line = remote.control if remote is not None else None
        return line.peer.incarnation if line is not None and line.peer is not None else None

    # -- dialling

    async def _keep(self, remote: _Remote, purpose: str) -> None:
        delay = REDIAL_MIN_S
        while True:
            try:
                line = await self._dial(remote, purpose)
            except (OSError, TimeoutError, PeerLost) as error:
                self._report(remote, purpose, str(error) or type(error).__name__)
                await asyncio.sleep(delay * (0.5 + self._random.random()))
                delay = min(delay * 2, REDIAL_MAX_S)
                continue
            delay = REDIAL_MIN_S
            await line.lost.wait()
            self._drop(remote, purpose, line)

    def _report(self, remote: _Remote, purpose: str, reason: str) -> None:
        if purpose == "control" and remote.reported != reason:
            remote.reported = reason
            log.info("broker %d at %s:%d: %s", remote.node_id, *remote.address, reason)

    async def _dial(self, remote: _Remote, purpose: str) -> _Line:
        loop = asyncio.get_running_loop()
        line = _Line(purpose=purpose, welcome=loop.create_future())
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            protocol = await self._connect(await remote.lookup.addresses())
            line.protocol = protocol
            self._dialled[protocol] = line
            hello = Hello(
                VERSION,
                VERSION,
                self.cluster_id,
                self.me.node_id,
                self.me.incarnation,
                purpose,
                self._boot,
            )
            try:
                protocol.send(rpc.encode(Kind.HELLO, 0, msgspec.msgpack.encode(hello)))
                assert line.welcome is not None
                welcome = await line.welcome
                if welcome.refused is not None:
                    raise PeerLost(welcome.refused)
                if welcome.node_id != remote.node_id:
                    raise PeerLost(f"it says it is broker {welcome.node_id}")
            except BaseException:
                protocol.abort()
                raise
        line.peer = Peer(welcome.node_id, welcome.incarnation)
        line.cluster_id, line.boot = welcome.cluster_id, welcome.boot
        protocol.greeted()
        self._attach(remote, purpose, line)
        return line

    async def _connect(self, addresses: Addresses) -> RpcProtocol:
        """To the first of them that answers."""
        loop = asyncio.get_running_loop()
        failure: OSError = OSError("its name has no address")
        for host, port in addresses:
            try:
                _, protocol = await loop.create_connection(
                    lambda: RpcProtocol(self._dialled_frame, self._dialled_lost), host, port
                )
            except OSError as error:
                failure = error
            else:
                return protocol
        raise failure

    def _attach(self, remote: _Remote, purpose: str, line: _Line) -> None:
        assert line.peer is not None
        remote.word_ms = self._clock.monotonic_ms()
        if purpose == "bulk":
            remote.bulk = line
            return
        remote.control = line
        remote.reported = ""
        remote.heard_ms = remote.word_ms
        self._handler.on_connected(line.peer)

    def _drop(self, remote: _Remote, purpose: str, line: _Line) -> None:
        self._fail_requests(line.protocol, PeerLost(f"broker {remote.node_id} went away"))
        if purpose == "bulk":
            remote.bulk = None
            return
        remote.control = None
        self._handler.on_lost(remote.node_id)

    def _fail_requests(self, protocol: RpcProtocol | None, error: Exception) -> None:
        for request_id, owner in list(self._request_line.items()):
            future = self._requests[request_id]
            if owner is protocol and not future.done():
                future.set_exception(error)

    def _dialled_lost(self, protocol: RpcProtocol) -> None:
        line = self._dialled.pop(protocol, None)
        if line is None:
            return
        line.lost.set()
        if line.welcome is not None and not line.welcome.done():
            line.welcome.set_exception(PeerLost("it closed the connection"))
            line.welcome.exception()

    def _dialled_frame(self, protocol: RpcProtocol, frame: Frame) -> None:
        line = self._dialled.get(protocol)
        if line is None:
            return
        if frame.kind is Kind.WELCOME and line.welcome is not None and not line.welcome.done():
            line.welcome.set_result(_decode(frame, Welcome))
            return
        self._hear(line.peer)
        if frame.kind is not Kind.RESPONSE:
            raise rpc.FrameError(f"{frame.kind.name} on a dialled line")
        future = self._requests.get(frame.correlation)
        if future is not None and not future.done():
            _resolve(future, _decode(frame, ResponseHead))

    # -- accepting

    def _accept(self) -> RpcProtocol:
        protocol = RpcProtocol(self._accepted_frame, self._accepted_lost)
        self._accepted[protocol] = _Line(protocol=protocol, since_ms=self._clock.monotonic_ms())
        return protocol

    def _accepted_lost(self, protocol: RpcProtocol) -> None:
        line = self._accepted.pop(protocol, None)
        if line is not None and line.peer is not None and line.purpose == "control":
            if any(self._is_line(other, line.peer, "control") for other in self._accepted.values()):
                return  # it has called again since
            remote = self._remotes.get(line.peer.node_id)
            if remote is not None:
                remote.heard_ms = -SILENCE_MS
            self._handler.on_lost(line.peer.node_id)

    def _accepted_frame(self, protocol: RpcProtocol, frame: Frame) -> None:
        line = self._accepted.get(protocol)
        if line is None:
            return
        if line.peer is None:
            self._greet(protocol, line, frame)
            return
        self._hear(line.peer)
        match frame.kind:
            case Kind.RAFT:
                self._raft(line.peer, frame)
            case Kind.SOFT:
                self._handler.on_soft(line.peer, frame.head)
            case Kind.REQUEST:
                self._start_request(protocol, line.peer, frame)
            case _:
                raise rpc.FrameError(f"{frame.kind.name} on an accepted line")

    def _greet(self, protocol: RpcProtocol, line: _Line, frame: Frame) -> None:
        if frame.kind is not Kind.HELLO:
            raise rpc.FrameError(f"{frame.kind.name} before HELLO")
        hello = _decode(frame, Hello)
        refused = self._refusal(hello)
        me = self.me
        welcome = Welcome(VERSION, self.cluster_id, me.node_id, me.incarnation, refused, self._boot)
        protocol.send(rpc.encode(Kind.WELCOME, 0, msgspec.msgpack.encode(welcome)))
        if refused is not None:
            log.warning("refused broker %d: %s", hello.node_id, refused)
            return
        line.peer = Peer(hello.node_id, hello.incarnation)
        line.purpose, line.boot = hello.line, hello.boot
        line.cluster_id = hello.cluster_id
        protocol.greeted()
        self._hear(line.peer)
        self._supersede(protocol, line)

    def _supersede(self, protocol: RpcProtocol, line: _Line) -> None:
        """A peer called: its older line of this kind is dead, and so, if this is another process
        on its disk, is every line to the process before."""
        assert line.peer is not None
        for other, known in list(self._accepted.items()):
            if other is not protocol and self._is_line(known, line.peer, line.purpose):
                other.abort()
        for other, known in list(self._dialled.items()):
            if known.peer == line.peer and "" != known.boot != line.boot != "":
                other.abort()

    @staticmethod
    def _is_line(line: _Line, peer: Peer, purpose: str) -> bool:
        return line.peer == peer and line.purpose == purpose

    def _refusal(self, hello: Hello) -> str | None:
        if not hello.min_version <= VERSION <= hello.max_version:
            return f"it speaks versions {hello.min_version}-{hello.max_version}, not {VERSION}"
        if hello.cluster_id and self.cluster_id and hello.cluster_id != self.cluster_id:
            return f"cluster {hello.cluster_id} is not this cluster, {self.cluster_id}"
        if hello.node_id == self.me.node_id:
            return f"both ends claim to be broker {hello.node_id}"
        return None

    def _hear(self, peer: Peer | None) -> None:
        remote = self._remotes.get(peer.node_id) if peer is not None else None
        if remote is not None:
            remote.heard_ms = remote.word_ms = self._clock.monotonic_ms()

    def watch(self) -> None:
        """Drop the lines of peers that are silent, and of callers that never said who they are."""
        now_ms = self._clock.monotonic_ms()
        late = now_ms - self._watched_ms >= SILENCE_MS
        self._watched_ms = now_ms
        if late:
            return  # we were silent ourselves: what they said meanwhile is still to be read
        for protocol, line in list(self._accepted.items()):
            if line.peer is None and now_ms - line.since_ms >= GREET_MS:
                protocol.abort()
        for remote in self._remotes.values():
            if remote.control is not None and now_ms - remote.word_ms >= DROP_MS:
                log.info("broker %d is silent: its lines are dropped", remote.node_id)
                self._drop_lines(remote.node_id)

    def _drop_lines(self, node_id: int) -> None:
        for protocol, line in [*self._accepted.items(), *self._dialled.items()]:
            if line.peer is not None and line.peer.node_id == node_id:
                protocol.abort()

    def _raft(self, sender: Peer, frame: Frame) -> None:
        if not self.cluster_id:
            return
        try:
            head = msgspec.msgpack.decode(frame.head, type=RaftHead)
            message = encoding.decode(head.message, frame.bulk)
        except (ValueError, msgspec.MsgspecError) as error:
            raise rpc.FrameError(f"unreadable Raft message: {error}") from error
        self._handler.on_raft(sender, head.group, message)

    def _start_request(self, protocol: RpcProtocol, sender: Peer, frame: Frame) -> None:
        request = _decode(frame, RequestHead)
        if self._tasks is not None:
            self._tasks.create_task(
                self._serve(protocol, sender, request, frame), name=f"peer {request.method}"
            )

    async def _serve(
        self, protocol: RpcProtocol, sender: Peer, request: RequestHead, frame: Frame
    ) -> None:
        try:
            body = await self._handler.on_request(sender, request.method, request.body, frame.bulk)
            response = ResponseHead(body)
        except KafkaError as error:
            response = ResponseHead(b"", (int(error.code), error.message))
        except (PeerLost, TimeoutError) as error:
            response = ResponseHead(b"", (int(ErrorCode.REQUEST_TIMED_OUT), str(error)))
        packed = msgspec.msgpack.encode(response)
        try:
            buffers = rpc.encode(Kind.RESPONSE, frame.correlation, packed)
        except rpc.FrameError as error:  # an answer too long for a frame
            refusal = ResponseHead(b"", (int(ErrorCode.UNKNOWN_SERVER_ERROR), str(error)))
            buffers = rpc.encode(Kind.RESPONSE, frame.correlation, msgspec.msgpack.encode(refusal))
        protocol.send(buffers)


_T = TypeVar("_T")


def _decode(frame: Frame, kind: type[_T]) -> _T:
    try:
        return msgspec.msgpack.decode(frame.head, type=kind)
    except msgspec.MsgspecError as error:
        raise rpc.FrameError(f"unreadable {frame.kind.name}: {error}") from error


def _resolve(future: asyncio.Future[bytes], response: ResponseHead) -> None:
    if response.error is None:
        future.set_result(response.body)
    else:
        code, message = response.error
        known = code in ErrorCode.__members__.values()  # it may be newer than this broker
        error = ErrorCode(code) if known else ErrorCode.UNKNOWN_SERVER_ERROR
        future.set_exception(KafkaError(error, message))
