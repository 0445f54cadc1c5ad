"""A whole node in a world made for it: no thread, no socket, no file, and nobody else.

Its disk is a `SimDisk`, which can be full or rotten; time is real, for its own event loop. Next:
`node.world`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from quorate_broker import config, seams
from quorate_broker.cluster import commands
from quorate_broker.cluster.image import Topic
from quorate_broker.net.peers import Handler, PeerLost
from quorate_broker.net.rpc import Buffer
from quorate_broker.node.context import Parts
from quorate_broker.node.main import Node
from quorate_broker.node.workers import Way, Work
from quorate_broker.node.world import World
from quorate_broker.partition.shell import Appended, Partition
from quorate_broker.raft.messages import Message, Peer
from quorate_broker.testing.simdisk import SimDisk
from quorate_broker.wire import batch

DATA = "/nowhere/data"
TIMEOUT_MS = 5_000


class AtOnce:
    """Workers that carry everything out when it is submitted."""

    def __init__(self) -> None:
        self.held: list[Work] | None = None
        """Slow work that waits for a test to carry it out; None: it is not held."""
        self.threads = 0

    def submit(self, way: Way, work: Work) -> None:
        if way is Way.SLOW and self.held is not None:
            self.held.append(work)
        else:
            work()

    def resize(self, logs: int) -> None:
        self.threads = logs

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


class Lonely:
    """The node, and what a test asks of it."""

    def __init__(self, disk: SimDisk, *overrides: str) -> None:
        listener = 'listeners=[{name="plain", host="127.0.0.1", port=1, authentication="none"}]'
        chosen = ["node.id=1", f"data.dir={DATA}", "seeds=1@nobody:1", listener, *overrides]
        self.disk = disk
        self.settings = config.load(None, {}, chosen)
        self.stop = asyncio.Event()
        self.workers = AtOnce()
        world = World(
            clock=seams.SystemClock(),
            random=random.Random(1),
            disk=disk,
            workers=lambda: self.workers,
            peers=Nobody,
            listens=False,
        )
        self.node = Node(self.settings, world, self.stop)

    @property
    def parts(self) -> Parts:
        assert self.node.parts is not None
        return self.node.parts

    async def until(self, seen: Callable[[], object]) -> None:
        while not seen():  # noqa: ASYNC110 - whatever a test looks at, nobody tells of it
            await asyncio.sleep(0.005)

    async def topic(self, name: str, **of_topic: str) -> tuple[Topic, Partition]:
        """Make a topic of one partition, with settings (underscores for dots); led when back."""
        own = {key.replace("_", "."): value for key, value in of_topic.items()}
        made = commands.NewTopic(name, 1, 1, config=own)
        await self.node.context.controller(commands.CreateTopics((made,)))
        await self.until(lambda: name in self.node.context.image.topics)
        topic = self.node.context.image.topics[name]
        await self.until(lambda: self._is_led(topic.id))
        partition = self.parts.shelf.get(topic.id, 0)
        assert partition is not None
        return topic, partition

    def _is_led(self, topic_id: uuid.UUID) -> bool:
        partition = self.parts.shelf.get(topic_id, 0)
        return partition is not None and partition.is_leader

    def folder(self, topic: Topic) -> str:
        return f"{DATA}/groups/{topic.id}-0"


def produce(
    partition: Partition, *records: tuple[bytes, bytes], timestamp_ms: int = 0
) -> asyncio.Future[Appended]:
    """One batch of (key, value), with acks=all."""
    made = [batch.Record(key, value) for key, value in records]
    raw = batch.build(made, timestamp_ms=timestamp_ms)
    return partition.append(memoryview(raw), batch.parse_header(raw), -1, TIMEOUT_MS)


def consume(partition: Partition) -> list[bytes | None]:
    """The values of all records from the log's start."""
    values: list[bytes | None] = []
    offset = partition.start_offset
    while offset < partition.high_watermark:
        for raw in partition.read(offset, 1 << 20):
            for at, header in batch.headers(raw):
                offset = header.next_offset
                values += [record.value for record in batch.records(raw, at)]
    return values


@contextlib.asynccontextmanager
async def living(disk: SimDisk, *overrides: str) -> AsyncIterator[Lonely]:
    """A node that serves; stopped at the end."""
    lonely = Lonely(disk, *overrides)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(lonely.node.run())
        try:
            async with asyncio.timeout(20):
                await lonely.until(lambda: lonely.node.serving or running.done())
                yield lonely
        finally:
            lonely.stop.set()
