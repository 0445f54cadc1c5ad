"""Peers that vanish without a word, come back elsewhere, or never say who they are.

Broker 2 is played by hand, frame by frame, against the real `Peers` of broker 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from quorate_broker.net import rpc
from quorate_broker.net.accepting import GREET_MS
from quorate_broker.net.greeting import Hello, Welcome
from quorate_broker.net.lines import DROP_MS, SILENCE_MS
from quorate_broker.net.lookup import Lookup
from quorate_broker.net.mesh import Mesh
from quorate_broker.net.rpc import Frame, FrameReader, Kind
from quorate_broker.raft.messages import Message, Peer
from quorate_broker.testing.stand import HandClock

TWO = Peer(2, "disk-2")


class Quiet:
    """A handler that notes who came and went."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def on_raft(self, sender: Peer, group: str, message: Message) -> None:
        self.events.append("raft")

    async def on_request(self, sender: Peer, method: str, body: bytes, bulk: memoryview) -> bytes:
        return b"x" * int(body)

    def on_soft(self, sender: Peer, body: memoryview) -> None:
        self.events.append("soft")

    def on_connected(self, peer: Peer) -> None:
        self.events.append("connected")

    def on_lost(self, node_id: int) -> None:
        self.events.append("lost")

    def on_retired(self, told_by: Peer) -> None:
        self.events.append("retired")


class Line:
    """One end of a connection, played by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._frames = FrameReader()
        self.writer = writer

    def send(self, kind: Kind, body: object, correlation: int = 0) -> None:
        head = msgspec.msgpack.encode(body)
        self.writer.writelines(bytes(b) for b in rpc.encode(kind, correlation, head))

    async def frame(self) -> Frame | None:
        """The next one; None at the end of the line."""
        while True:
            with contextlib.suppress(ConnectionError):
                data = await self._reader.read(4096)
            if not data:
                return None
            self._frames.buffer()[: len(data)] = data
            for frame in self._frames.filled(len(data)):
                return frame

    async def ended(self) -> None:
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(4096):
                pass


class Stage:
    """Broker 1 for real, and what is needed to play broker 2."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.clock.now_ms = 1_000_000
        self.handler = Quiet()
        self.port = free_port()
        bind = ("127.0.0.1", self.port)
        me = Peer(1, "disk-1")
        self.peers = Mesh(me, self.handler, self.clock, random.Random(1), bind)
        self.peers.cluster_id = "c1"
        self.dialled: asyncio.Queue[tuple[str, Line]] = asyncio.Queue()
        self.boot = "first"
        self.writers: list[asyncio.StreamWriter] = []

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Broker 2 is dialled: it greets."""
        self.writers.append(writer)
        line = Line(reader, writer)
        frame = await line.frame()
        if frame is None:
            return
        hello = msgspec.msgpack.decode(frame.head, type=Hello)
        line.send(Kind.WELCOME, Welcome(1, "c1", 2, TWO.incarnation, None, self.boot))
        self.dialled.put_nowait((hello.line, line))

    async def call(self, purpose: str = "control", greet: bool = True) -> Line:
        """Broker 2 dials."""
        line = Line(*await asyncio.open_connection("127.0.0.1", self.port))
        self.writers.append(line.writer)
        if greet:
            line.send(Kind.HELLO, Hello(1, 1, "c1", 2, TWO.incarnation, purpose, self.boot))
            frame = await line.frame()
            assert frame is not None
            assert frame.kind is Kind.WELCOME
        return line

    async def lines(self) -> dict[str, Line]:
        """Both lines that broker 1 dialled."""
        return dict([await self.dialled.get(), await self.dialled.get()])

    async def until(self, seen: Callable[[], object]) -> None:
        while not seen():
            await asyncio.sleep(0.002)

    def watch(self, after_ms: int) -> None:
        """So much time passes, with broker 1 awake all the while."""
        for _ in range(after_ms // 500):
            self.clock.now_ms += 500
            self.peers.watch()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    theirs = server.sockets[0].getsockname()[1]
    listening = asyncio.Event()
    addresses = {1: ("127.0.0.1", made.port), 2: ("127.0.0.1", theirs)}
    running = asyncio.ensure_future(made.peers.run(addresses, listening))
    await listening.wait()
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.wait([running])
        server.close()
        for writer in made.writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def run(test: Callable[[Stage], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(10), stage() as made:
            await test(made)

    asyncio.run(main())


def test_a_peer_that_calls_from_a_new_process_is_dialled_anew_at_once() -> None:
    """Its old address is gone without a word, and the lines to it look well."""

    async def test(stage: Stage) -> None:
        old = await stage.lines()
        stage.boot = "second"
        await stage.call()
        await old["control"].ended()
        await old["bulk"].ended()
        await stage.lines()
        await stage.until(lambda: stage.handler.events.count("connected") == 2)
        assert stage.handler.events == ["connected", "lost", "connected"]
        assert stage.peers.alive(2)

    run(test)


def test_the_late_death_of_an_old_line_is_no_loss_of_a_peer_that_called_again() -> None:
    async def test(stage: Stage) -> None:
        await stage.lines()
        old = await stage.call()
        new = await stage.call()
        await old.ended()
        new.send(Kind.SOFT, b"alive")
        await stage.until(lambda: "soft" in stage.handler.events)
        assert "lost" not in stage.handler.events
        assert stage.peers.alive(2)

    run(test)


def test_the_lines_of_a_silent_peer_are_dropped_and_dialled_anew() -> None:
    async def test(stage: Stage) -> None:
        dialled = await stage.lines()
        called = await stage.call()
        stage.watch(DROP_MS)
        for line in (*dialled.values(), called):
            await line.ended()
        await stage.until(lambda: "lost" in stage.handler.events)
        await stage.lines()

    run(test)


def test_whoever_was_asleep_itself_takes_nobody_for_silent() -> None:
    async def test(stage: Stage) -> None:
        await stage.lines()
        await stage.until(lambda: stage.peers.alive(2))
        stage.clock.now_ms += max(DROP_MS, SILENCE_MS)
        stage.peers.watch()
        called = await stage.call()
        called.send(Kind.SOFT, b"alive")
        await stage.until(lambda: "soft" in stage.handler.events)
        stage.peers.watch()
        assert "lost" not in stage.handler.events

    run(test)


def test_a_caller_that_never_greets_is_hung_up_on() -> None:
    async def test(stage: Stage) -> None:
        silent = await stage.call(greet=False)
        await stage.until(lambda: len(stage.peers._roster.accepted) == 1)
        stage.watch(GREET_MS)
        await silent.ended()

    run(test)


def test_nobody_gets_memory_for_a_long_frame_before_greeting() -> None:
    async def test(stage: Stage) -> None:
        stranger = await stage.call(greet=False)
        stranger.writer.write((rpc.MAX_GREETING + 1).to_bytes(4, "big") + bytes(100))
        await stranger.ended()

    run(test)


def test_an_answer_too_long_for_a_frame_is_an_error_and_nothing_ends() -> None:
    async def test(stage: Stage) -> None:
        called = await stage.call()
        called.send(Kind.REQUEST, {"method": "m", "body": str(rpc.MAX_FRAME).encode()}, 7)
        frame = await called.frame()
        assert frame is not None
        assert frame.kind is Kind.RESPONSE
        assert frame.correlation == 7
        assert msgspec.msgpack.decode(frame.head)["error"] is not None

    run(test)


def test_the_kernel_notices_a_machine_that_vanished() -> None:
    async def test(stage: Stage) -> None:
        await stage.lines()
        await stage.call()
        for protocol in [one for one, _ in stage.peers._roster.lines()]:
            assert protocol._transport is not None
            line = protocol._transport.get_extra_info("socket")
            assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == rpc.LOST_MS

    run(test)


def test_a_name_is_asked_for_anew_each_time_but_once_at_a_time() -> None:
    asked: list[str] = []

    def ask(host: str, port: int) -> list[tuple[str, int]]:
        asked.append(host)
        return [(f"10.0.0.{len(asked)}", port)]

    async def main() -> None:
        lookup = Lookup("pod", 1, ask)
        both = await asyncio.gather(lookup.addresses(), lookup.addresses())
        assert both == [[("10.0.0.1", 1)], [("10.0.0.1", 1)]]
        assert await lookup.addresses() == [("10.0.0.2", 1)]

    asyncio.run(main())


def test_a_name_service_that_hangs_holds_up_neither_the_loop_nor_its_end() -> None:
    release = threading.Event()

    def ask(host: str, port: int) -> list[tuple[str, int]]:
        release.wait(10)
        raise OSError("no such name")

    async def main() -> None:
        lookup = Lookup("pod", 1, ask)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await lookup.addresses()

    asyncio.run(main())
    release.set()
