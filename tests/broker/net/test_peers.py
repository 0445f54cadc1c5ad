"""Lines between brokers, over real sockets: who is who, what is refused, who goes away."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from quorate_broker import seams
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.net.mesh import Mesh
from quorate_broker.net.peers import PeerLost
from quorate_broker.raft.messages import Append, Heartbeat, Message, Peer

DEADLINE_S = 10


class Recorder:
    """A handler that notes what arrives and answers every request with its own name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.raft: asyncio.Queue[tuple[Peer, str, Message]] = asyncio.Queue()
        self.soft: asyncio.Queue[bytes] = asyncio.Queue()
        self.connected: asyncio.Queue[Peer] = asyncio.Queue()
        self.lost: asyncio.Queue[int] = asyncio.Queue()
        self.retired: asyncio.Queue[Peer] = asyncio.Queue()

    def on_raft(self, sender: Peer, group: str, message: Message) -> None:
        self.raft.put_nowait((sender, group, message))

    async def on_request(self, sender: Peer, method: str, body: bytes, bulk: memoryview) -> bytes:
        if method == "fail":
            raise KafkaError(ErrorCode.NOT_CONTROLLER, "ask another")
        if method == "hang":
            await asyncio.Event().wait()
        return b" ".join([self.name.encode(), body, bytes(bulk)])

    def on_soft(self, sender: Peer, body: memoryview) -> None:
        self.soft.put_nowait(bytes(body))

    def on_connected(self, peer: Peer) -> None:
        self.connected.put_nowait(peer)

    def on_lost(self, node_id: int) -> None:
        self.lost.put_nowait(node_id)

    def on_retired(self, told_by: Peer) -> None:
        self.retired.put_nowait(told_by)


class Pair:
    """Two brokers on loopback; either can be stopped and started again."""

    def __init__(self) -> None:
        self.ports = {1: free_port(), 2: free_port()}
        self.handlers: dict[int, Recorder] = {}
        self.peers: dict[int, Mesh] = {}
        self._running: dict[int, asyncio.Task[None]] = {}

    async def start(self, node_id: int, incarnation: str = "", cluster_id: str = "c1") -> Mesh:
        handler = self.handlers[node_id] = Recorder(f"broker-{node_id}")
        me = Peer(node_id, incarnation or f"disk-{node_id}")
        bind = ("127.0.0.1", self.ports[node_id])
        peers = Mesh(me, handler, seams.SystemClock(), random.Random(node_id), bind)
        peers.cluster_id = cluster_id
        listening = asyncio.Event()
        addresses = {i: ("127.0.0.1", port) for i, port in self.ports.items()}
        run = peers.run(addresses, listening)
        self._running[node_id] = asyncio.get_running_loop().create_task(run)
        await listening.wait()
        self.peers[node_id] = peers
        return peers

    async def stop(self, node_id: int) -> None:
        task = self._running.pop(node_id)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def close(self) -> None:
        for node_id in list(self._running):
            await self.stop(node_id)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    try:
        await made.start(1)
        await made.start(2)
        assert await made.handlers[1].connected.get() == Peer(2, "disk-2")
        assert await made.handlers[2].connected.get() == Peer(1, "disk-1")
        yield made
    finally:
        await made.close()


def run(test: Callable[[Pair], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(DEADLINE_S), pair() as made:
            await test(made)

    asyncio.run(main())


def test_both_ends_are_alive_and_know_each_others_disk() -> None:
    async def test(pair: Pair) -> None:
        assert pair.peers[1].alive(2)
        assert pair.peers[1].incarnation(2) == "disk-2"
        assert not pair.peers[1].alive(3)

    run(test)


def test_appends_and_heartbeats_arrive_with_their_sender() -> None:
    async def test(pair: Pair) -> None:
        heartbeat = Heartbeat(term=3, commit=7)
        pair.peers[1].send(Peer(2, "disk-2"), "group", heartbeat)
        assert await pair.handlers[2].raft.get() == (Peer(1, "disk-1"), "group", heartbeat)
        append = Append(3, 1, 1, 1, (b"x" * 700_000, b"y"))
        sender = pair.peers[1]
        arrived = None
        while arrived is None:  # the bulk line may still be greeting
            sender.send(Peer(2, "disk-2"), "group", append)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    arrived = await pair.handlers[2].raft.get()
        message = arrived[2]
        assert isinstance(message, Append)
        assert [bytes(entry) for entry in message.entries] == [b"x" * 700_000, b"y"]

    run(test)


def test_a_message_for_another_incarnation_is_never_sent() -> None:
    async def test(pair: Pair) -> None:
        pair.peers[1].send(Peer(2, "an-older-disk"), "group", Heartbeat(term=3, commit=7))
        pair.peers[1].send(Peer(2, "disk-2"), "group", Heartbeat(term=4, commit=7))
        _, _, message = await pair.handlers[2].raft.get()
        assert message == Heartbeat(term=4, commit=7)

    run(test)


def test_a_request_is_answered_and_an_error_travels_back_as_itself() -> None:
    async def test(pair: Pair) -> None:
        assert await pair.peers[1].request(2, "echo", b"body", (b"bulk",)) == b"broker-2 body bulk"
        with pytest.raises(KafkaError) as failure:
            await pair.peers[1].request(2, "fail", b"")
        assert failure.value.code is ErrorCode.NOT_CONTROLLER
        assert failure.value.message == "ask another"

    run(test)


def test_a_request_to_a_broker_that_goes_away_fails_at_once() -> None:
    async def test(pair: Pair) -> None:
        loop = asyncio.get_running_loop()
        asking = loop.create_task(pair.peers[1].request(2, "hang", b""))
        await pair.peers[1].request(2, "echo", b"")
        await pair.stop(2)
        with pytest.raises(PeerLost):
            await asking
        assert await pair.handlers[1].lost.get() == 2
        assert not pair.peers[1].alive(2)

    run(test)


def test_a_broker_that_comes_back_is_found_again() -> None:
    async def test(pair: Pair) -> None:
        await pair.stop(2)
        assert await pair.handlers[1].lost.get() == 2
        await pair.start(2)
        assert await pair.handlers[1].connected.get() == Peer(2, "disk-2")
        assert await pair.peers[1].request(2, "echo", b"again") == b"broker-2 again "

    run(test)


def test_soft_state_reaches_everyone_connected() -> None:
    async def test(pair: Pair) -> None:
        pair.peers[2].broadcast(b"news")
        assert await pair.handlers[1].soft.get() == b"news"

    run(test)


def test_a_broker_of_another_cluster_is_refused_in_words(caplog: pytest.LogCaptureFixture) -> None:
    async def test(pair: Pair) -> None:
        await pair.stop(2)
        await pair.start(2, cluster_id="c2")
        while not any("is not this cluster" in record.message for record in caplog.records):
            await asyncio.sleep(0.01)
        assert not pair.peers[1].alive(2)

    caplog.set_level("INFO")
    run(test)


def test_garbage_ends_only_its_own_line() -> None:
    async def test(pair: Pair) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", pair.ports[1])
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * 10)
        assert await reader.read() == b""
        writer.close()
        assert await pair.peers[2].request(1, "echo", b"still") == b"broker-1 still "

    run(test)
