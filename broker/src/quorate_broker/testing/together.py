"""Whole nodes in one event loop, with a network that a test can cut: no socket, no thread, no file.

Messages are encoded and decoded as over TCP, so that no two nodes share a buffer. Between two nodes
nothing is lost or turned round; a cut ends the line at both ends at once. Next: `lonely`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from quorate_broker import config, seams
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.net.peers import Handler, PeerLost
from quorate_broker.net.rpc import Buffer
from quorate_broker.node.main import Node
from quorate_broker.node.world import World
from quorate_broker.partition.shell import Partition
from quorate_broker.raft import encoding
from quorate_broker.raft.messages import Message, Peer
from quorate_broker.testing.lonely import AtOnce
from quorate_broker.testing.simdisk import SimDisk


class Network:
    """Who is there, and which lines are cut."""

    def __init__(self) -> None:
        self.ends: dict[int, End] = {}
        self._cut: set[frozenset[int]] = set()

    def connected(self, one: int, other: int) -> bool:
        if one == other or not {one, other} <= self.ends.keys():
            return False
        a, b = self.ends[one], self.ends[other]
        strangers = "" != a.cluster_id != b.cluster_id != ""
        refused = a.me in b.retired or b.me in a.retired
        return frozenset({one, other}) not in self._cut and not strangers and not refused

    def plug(self, end: End) -> None:
        me = end.me.node_id
        self.ends[me] = end
        for other in sorted(self.ends):
            if self.connected(me, other):
                self._tell_connected(me, other)

    def unplug(self, end: End) -> None:
        me = end.me.node_id
        lost = [other for other in sorted(self.ends) if self.connected(me, other)]
        del self.ends[me]
        for other in lost:
            self.ends[other].handler.on_lost(me)

    def cut(self, one: int, other: int) -> None:
        if self.connected(one, other):
            self._cut.add(frozenset({one, other}))
            self.ends[one].handler.on_lost(other)
            self.ends[other].handler.on_lost(one)

    def heal(self) -> None:
        healed, self._cut = self._cut, set()
        for pair in healed:
            one, other = sorted(pair)
            if self.connected(one, other):
                self._tell_connected(one, other)

    def _tell_connected(self, one: int, other: int) -> None:
        self.ends[one].handler.on_connected(self.ends[other].me)
        self.ends[other].handler.on_connected(self.ends[one].me)


class End:
    """One node's end of the network: implements `net.peers.Peers`."""

    def __init__(self, network: Network, me: Peer, handler: Handler) -> None:
        self.me = me
        self.cluster_id = ""
        self.handler = handler
        self.retired: frozenset[Peer] = frozenset()
        self._network = network
        self._loop = asyncio.get_running_loop()

    async def run(self, seeds: Mapping[int, tuple[str, int]], ready: asyncio.Event) -> None:
        self._network.plug(self)
        ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            self._network.unplug(self)

    def joined(self, cluster_id: str) -> None:
        self.cluster_id = cluster_id

    def set_address(self, node_id: int, host: str, port: int) -> None:
        pass  # everybody who is plugged in is found

    def forget(self, node_id: int) -> None:
        pass

    def retire(self, retired: frozenset[Peer]) -> None:
        self.retired = retired

    def _end(self, node_id: int) -> End | None:
        there = self._network.connected(self.me.node_id, node_id)
        return self._network.ends[node_id] if there else None

    def send(self, to: Peer, group: str, message: Message) -> None:
        end = self._end(to.node_id)
        if end is None or end.me != to:
            return
        head, bulk = encoding.encode(message)
        arrived = encoding.decode(head, memoryview(b"".join(bulk)))
        self._loop.call_soon(self._deliver, to, group, arrived)

    def _deliver(self, to: Peer, group: str, message: Message) -> None:
        end = self._end(to.node_id)
        if end is not None and end.me == to and end.cluster_id:
            end.handler.on_raft(self.me, group, message)

    def broadcast(self, body: bytes) -> None:
        for node_id in sorted(self._network.ends):
            end = self._end(node_id)
            if end is not None:
                self._loop.call_soon(end.handler.on_soft, self.me, memoryview(body))

    async def request(
        self,
        node_id: int,
        method: str,
        body: bytes,
        bulk: Sequence[Buffer] = (),
        timeout_ms: int = 5_000,
    ) -> bytes:
        end = self._end(node_id)
        if end is None:
            raise PeerLost(f"broker {node_id} is not connected")
        async with asyncio.timeout(timeout_ms / 1000):
            try:
                joined = memoryview(b"".join(bulk))
                answer = await end.handler.on_request(self.me, method, body, joined)
            except PeerLost as error:
                raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, str(error)) from error
        if self._end(node_id) is not end:
            raise PeerLost(f"broker {node_id} went away")
        return answer

    def alive(self, node_id: int) -> bool:
        return node_id == self.me.node_id or self._end(node_id) is not None

    def incarnation(self, node_id: int) -> str | None:
        end = self._end(node_id)
        return None if end is None else end.me.incarnation


class Together:
    """Nodes 1 to `count`, each on a disk of its own."""

    def __init__(self, count: int, *overrides: str) -> None:
        self.network = Network()
        self.disks = {i: SimDisk(random.Random(i)) for i in range(1, count + 1)}
        self.stop = asyncio.Event()
        seeds = "seeds=" + ",".join(f"{i}@node-{i}:33145" for i in self.disks)
        chosen = [seeds, "log.preallocate.bytes=0", *overrides]
        self.nodes = {i: self._node(i, chosen) for i in self.disks}

    def _node(self, node_id: int, chosen: list[str]) -> Node:
        listener = 'listeners=[{name="plain", host="127.0.0.1", port=1, authentication="none"}]'
        own = [f"node.id={node_id}", "data.dir=/data", listener, *chosen]
        world = World(
            clock=seams.SystemClock(),
            random=random.Random(node_id),
            disk=self.disks[node_id],
            workers=AtOnce,
            peers=lambda me, handler: End(self.network, me, handler),
            listens=False,
        )
        return Node(config.load(None, {}, own), world, self.stop)

    async def until(self, seen: Callable[[], object]) -> None:
        while not seen():  # noqa: ASYNC110 - whatever a test looks at, nobody tells of it
            await asyncio.sleep(0.005)

    def replicas(self, topic: str) -> dict[int, Partition]:
        """The replicas of a topic's first partition, by node."""
        found = {}
        for node_id, node in self.nodes.items():
            parts = node.parts
            known = parts.controller.image.topics.get(topic) if parts is not None else None
            partition = parts.shelf.get(known.id, 0) if parts is not None and known else None
            if partition is not None:
                found[node_id] = partition
        return found

    async def leader(self, topic: str, among: Sequence[int]) -> int:
        """Until one of these leads the topic's first partition, and serves."""
        led: list[int] = []

        def look() -> bool:
            found = self.replicas(topic)
            led[:] = [i for i in among if i in found and found[i].is_leader]
            return bool(led)

        await self.until(look)
        return led[0]


@contextlib.asynccontextmanager
async def living(count: int, *overrides: str) -> AsyncIterator[Together]:
    """Nodes that serve; stopped at the end."""
    together = Together(count, *overrides)
    async with asyncio.TaskGroup() as tasks:
        for node in together.nodes.values():
            tasks.create_task(node.run())
        try:
            async with asyncio.timeout(30):
                nodes = together.nodes.values()
                await together.until(lambda: all(node.serving for node in nodes))
                yield together
        finally:
            together.stop.set()
