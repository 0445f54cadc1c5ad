"""Lines between brokers while the cluster's members change, and brokers of two versions."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from quorate_broker import seams
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.net import exchange, greeting, rpc
from quorate_broker.net.mesh import Mesh
from quorate_broker.net.rpc import Frame, FrameReader, Kind, RaftHead
from quorate_broker.raft.messages import Heartbeat, Message, Peer, Vote


class Notes:
    """A handler that notes what arrives; requests wait until they are released."""

    def __init__(self) -> None:
        self.raft: asyncio.Queue[tuple[Peer, str, Message]] = asyncio.Queue()
        self.connected: asyncio.Queue[Peer] = asyncio.Queue()
        self.lost: asyncio.Queue[int] = asyncio.Queue()
        self.retired: asyncio.Queue[Peer] = asyncio.Queue()
        self.release = asyncio.Event()
        self.asked = 0

    def on_raft(self, sender: Peer, group: str, message: Message) -> None:
        self.raft.put_nowait((sender, group, message))

    async def on_request(self, sender: Peer, method: str, body: bytes, bulk: memoryview) -> bytes:
        self.asked += 1
        await self.release.wait()
        return body

    def on_soft(self, sender: Peer, body: memoryview) -> None:
        pass

    def on_connected(self, peer: Peer) -> None:
        self.connected.put_nowait(peer)

    def on_lost(self, node_id: int) -> None:
        self.lost.put_nowait(node_id)

    def on_retired(self, told_by: Peer) -> None:
        self.retired.put_nowait(told_by)


class Broker:
    """One mesh that listens, and knows nobody until it is told."""

    def __init__(self, node_id: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = ("127.0.0.1", int(probe.getsockname()[1]))
        self.me = Peer(node_id, f"disk-{node_id}")
        self.notes = Notes()
        source = random.Random(node_id)
        self.mesh = Mesh(self.me, self.notes, seams.SystemClock(), source, self.address)
        self.mesh.cluster_id = "c1"

    def knows(self, other: Broker) -> None:
        self.mesh.set_address(other.me.node_id, *other.address)


@contextlib.asynccontextmanager
async def running(*brokers: Broker) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        started = []
        for broker in brokers:
            ready = asyncio.Event()
            started.append(tasks.create_task(broker.mesh.run({}, ready)))
            await ready.wait()
        try:
            yield
        finally:
            for task in started:
                task.cancel()


def run(test: Callable[[Broker, Broker], Awaitable[None]]) -> None:
    """With two brokers that do not know each other yet."""

    async def main() -> None:
        one, two = Broker(1), Broker(2)
        async with asyncio.timeout(10), running(one, two):
            await test(one, two)

    asyncio.run(main())


def test_a_broker_that_is_no_seed_is_reached_once_its_address_is_known() -> None:
    async def test(one: Broker, two: Broker) -> None:
        assert not one.mesh.alive(2)
        one.knows(two)
        assert await one.notes.connected.get() == two.me
        assert one.mesh.alive(2)

    run(test)


def test_a_broker_that_moved_is_dialled_where_it_is_now() -> None:
    async def test(one: Broker, two: Broker) -> None:
        one.mesh.set_address(2, "127.0.0.1", 1)  # nobody answers there
        one.knows(two)
        assert await one.notes.connected.get() == two.me

    run(test)


def test_a_broker_that_was_removed_is_dialled_no_more() -> None:
    async def test(one: Broker, two: Broker) -> None:
        one.knows(two)
        await one.notes.connected.get()
        one.mesh.forget(2)
        assert await one.notes.lost.get() == 2
        one.mesh.send(two.me, "g", Heartbeat(1, 1))
        assert not one.mesh.alive(2)
        with pytest.raises(Exception, match="not connected"):
            await one.mesh.request(2, "any", b"")

    run(test)


def test_a_retired_incarnation_is_refused_and_told_so(caplog: pytest.LogCaptureFixture) -> None:
    async def test(one: Broker, two: Broker) -> None:
        two.mesh.retire(frozenset({one.me}))
        one.knows(two)
        assert await one.notes.retired.get() == two.me
        assert not one.mesh.alive(2)

    run(test)
    assert "incarnation disk-1 of broker 1 has been retired" in caplog.text


def test_a_line_ends_when_its_incarnation_is_retired() -> None:
    async def test(one: Broker, two: Broker) -> None:
        one.knows(two)
        two.knows(one)
        await one.notes.connected.get()
        await two.notes.connected.get()
        two.mesh.retire(frozenset({one.me}))
        assert await one.notes.retired.get() == two.me
        assert not two.mesh.alive(1)

    run(test)


def test_an_incarnation_retired_by_another_cluster_is_none_of_its_business() -> None:
    """Two clusters may have had the same brokers once, in a test bed's copies of disks."""

    async def test(one: Broker, two: Broker) -> None:
        one.mesh.cluster_id = ""
        two.mesh.retire(frozenset({one.me}))
        one.knows(two)
        assert await one.notes.connected.get() == two.me
        assert one.notes.retired.empty()

    run(test)


def test_one_line_cannot_pile_up_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(one: Broker, two: Broker) -> None:
        one.knows(two)
        await one.notes.connected.get()
        asked = asyncio.gather(
            *(one.mesh.request(2, "any", bytes([i])) for i in range(4)), return_exceptions=True
        )
        while two.notes.asked < 3:
            await asyncio.sleep(0.002)
        two.notes.release.set()
        *served, refused = await asked
        assert served == [b"\0", b"\1", b"\2"]
        assert isinstance(refused, KafkaError)
        assert refused.code is ErrorCode.THROTTLING_QUOTA_EXCEEDED
        assert await one.mesh.request(2, "any", b"z") == b"z"

    monkeypatch.setattr(exchange, "MAX_UNDER_WAY", 3)
    run(test)


# -- messages that share a frame


class Played:
    """Broker 2, played by hand on what broker 1 dialled: it greets, and notes the frames."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = FrameReader()
        welcome = msgspec.msgpack.encode(
            {"version": self.version, "cluster_id": "c1", "node_id": 2, "incarnation": "disk-2"}
        )
        try:
            while data := await reader.read(65_536):
                frames.buffer()[: len(data)] = data
                for frame in frames.filled(len(data)):
                    if frame.kind is Kind.HELLO:
                        sent = rpc.encode(Kind.WELCOME, 0, welcome)
                        writer.writelines(bytes(part) for part in sent)
                    else:
                        self.frames.put_nowait(frame)
        except ConnectionError:
            pass
        finally:
            writer.close()


def sent_by_one(version: int, messages: list[tuple[str, Message]]) -> list[Frame]:
    """The frames in which broker 2, of a certain version, gets these messages of one loop turn."""

    async def main() -> list[Frame]:
        one, played = Broker(1), Played(version)
        server = await asyncio.start_server(played.serve, "127.0.0.1", 0)
        async with asyncio.timeout(10), server, running(one):
            one.mesh.set_address(2, *server.sockets[0].getsockname()[:2])
            await one.notes.connected.get()
            for group, message in messages:
                one.mesh.send(Peer(2, "disk-2"), group, message)
            one.mesh.broadcast(b"the end")
            found = []
            while (frame := await played.frames.get()).kind is not Kind.SOFT:
                found.append(frame)
            return found

    return asyncio.run(main())


MESSAGES: list[tuple[str, Message]] = [(f"g{i}", Heartbeat(3, i)) for i in range(100)]


def test_the_heartbeats_of_all_groups_to_one_broker_share_a_frame() -> None:
    (frame,) = sent_by_one(2, MESSAGES)
    assert frame.kind is Kind.BEATS
    heads = msgspec.msgpack.decode(frame.head, type=list[RaftHead])
    assert [head.group for head in heads] == [group for group, _ in MESSAGES]


def test_a_broker_of_the_first_version_gets_each_message_alone() -> None:
    frames = sent_by_one(1, MESSAGES)
    assert [frame.kind for frame in frames] == [Kind.RAFT] * 100


def test_messages_that_shared_a_frame_arrive_one_by_one_and_in_order() -> None:
    async def test(one: Broker, two: Broker) -> None:
        one.knows(two)
        await one.notes.connected.get()
        many = [*MESSAGES, ("g", Vote(4, 7, 3)), *MESSAGES] * 10
        for group, message in many:
            one.mesh.send(two.me, group, message)
        assert [await two.notes.raft.get() for _ in many] == [(one.me, *sent) for sent in many]

    run(test)


@pytest.mark.parametrize("older", [0, 1])
def test_both_ends_of_a_line_speak_what_the_older_one_knows(older: int) -> None:
    async def test(one: Broker, two: Broker) -> None:
        (one, two)[older].mesh.speak(1)
        one.knows(two)
        await one.notes.connected.get()
        for group, message in MESSAGES:
            one.mesh.send(two.me, group, message)
        assert [await two.notes.raft.get() for _ in MESSAGES] == [(one.me, *m) for m in MESSAGES]
        lines = [*one.mesh._roster.lines(), *two.mesh._roster.lines()]
        assert {line.version for _, line in lines if line.peer is not None} == {1}

    run(test)


def test_who_shares_frames_on_a_line_of_the_first_version_loses_it() -> None:
    async def test(one: Broker, two: Broker) -> None:
        two.mesh.speak(1)
        one.knows(two)
        await one.notes.connected.get()
        for _, line in one.mesh._roster.lines():
            line.version = 2
        one.mesh.send(two.me, *MESSAGES[0])
        assert await one.notes.lost.get() == two.me.node_id
        await one.notes.connected.get()  # it calls again: no call is half answered at the end

    run(test)


def test_a_greeting_of_a_newer_version_is_understood() -> None:
    """It may have fields that we do not know, and speak versions that we do not."""
    newer = {
        "min_version": 2,
        "max_version": 9,
        "cluster_id": "c1",
        "node_id": 2,
        "incarnation": "disk-2",
        "line": "control",
        "colour": "green",
    }
    hello = msgspec.msgpack.decode(msgspec.msgpack.encode(newer), type=greeting.Hello)
    welcome = greeting.Ourselves(Peer(1, "disk-1"), "boot", "c1").welcome(hello)
    assert (welcome.refused, welcome.version) == (None, greeting.VERSION)


def test_a_version_that_is_not_spoken_here_is_refused_in_words() -> None:
    hello = greeting.Hello(7, 9, "c1", 2, "disk-2", "control")
    welcome = greeting.Ourselves(Peer(1, "disk-1"), "boot", "c1").welcome(hello)
    assert welcome.refused == "it speaks versions 7-9, not 1-2"
