"""A whole node in a world made for it: no thread, no socket, no file."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence

from quorate_broker import config, seams
from quorate_broker.cluster import commands
from quorate_broker.net.peers import Handler, PeerLost
from quorate_broker.net.rpc import Buffer
from quorate_broker.node.main import Node
from quorate_broker.node.workers import Way, Work
from quorate_broker.node.world import World
from quorate_broker.raft.messages import Message, Peer
from quorate_broker.testing.simdisk import SimDisk


class AtOnce:
    """Workers that carry everything out when it is submitted."""

    def submit(self, way: Way, work: Work) -> None:
        work()

    def close(self) -> None:
        pass


class Nobody:
    """Peers without a network."""

    def __init__(self, me: Peer, handler: Handler) -> None:
        self.me = me
        self.cluster_id = ""

    async def run(self, seeds: Mapping[int, tuple[str, int]], ready: asyncio.Event) -> None:
        ready.set()
        await asyncio.Event().wait()

    def joined(self, cluster_id: str) -> None:
        self.cluster_id = cluster_id

    def set_address(self, node_id: int, host: str, port: int) -> None:
        pass

    def forget(self, node_id: int) -> None:
        pass

    def retire(self, retired: frozenset[Peer]) -> None:
        pass

    def send(self, to: Peer, group: str, message: Message) -> None:
        raise AssertionError("there is nobody")

    def broadcast(self, body: bytes) -> None:
        pass

    async def request(
        self,
        node_id: int,
        method: str,
        body: bytes,
        bulk: Sequence[Buffer] = (),
        timeout_ms: int = 0,
    ) -> bytes:
        raise PeerLost(str(node_id))

    def alive(self, node_id: int) -> bool:
        return node_id == self.me.node_id

    def incarnation(self, node_id: int) -> str | None:
        return None


def test_a_node_lives_in_the_world_that_it_is_given() -> None:
    disk = SimDisk(random.Random(1))
    settings = config.load(
        None,
        {},
        [
            "node.id=1",
            "data.dir=/nowhere/data",
            "seeds=1@nobody:1",
            'listeners=[{name="plain", host="127.0.0.1", port=1, authentication="none"}]',
        ],
    )

    async def live() -> list[str]:
        stop = asyncio.Event()
        world = World(
            seams.SystemClock(), random.Random(1), disk, lambda: AtOnce(), Nobody, listens=False
        )
        node = Node(settings, world, stop)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(node.run())
            while not node.serving:
                await asyncio.sleep(0.005)
            if "t" not in node.context.image.topics:
                await node.context.controller(
                    commands.CreateTopics((commands.NewTopic("t", 1, 1),))
                )
            stop.set()
        return sorted(node.context.image.topics)

    assert asyncio.run(live()) == ["t"]
    assert asyncio.run(live()) == ["t"]  # the same disk again
