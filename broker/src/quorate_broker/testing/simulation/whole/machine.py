"""One machine of the whole layer: disk, clock, address, and the broker process on it, if one runs.

The process is `node.main.Node` as it is, on a `VirtualLoop` of its own: its disk work happens as
events, its sockets are `tcp`'s. A kill abandons the loop and leaves the disk's cache, a power cut
takes what was not synced with it and may fall into the middle of a write.
"""

from __future__ import annotations

import asyncio
import errno
import random
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from quorate_broker import config
from quorate_broker.log.errors import DataDirError, JournalError
from quorate_broker.net import server
from quorate_broker.net.limits import Limits
from quorate_broker.net.peers import Handler
from quorate_broker.node.context import Parts
from quorate_broker.node.main import Node
from quorate_broker.node.workers import Way
from quorate_broker.node.world import World
from quorate_broker.raft.messages import Message, Peer
from quorate_broker.testing.simdisk import PowerCutError, SimDisk
from quorate_broker.testing.simulation.checkers import must
from quorate_broker.testing.simulation.clock import HostClock
from quorate_broker.testing.simulation.whole.cluster import Cluster
from quorate_broker.testing.simulation.whole.loop import VirtualLoop
from quorate_broker.testing.simulation.whole.versions import NEWER, OLDER
from quorate_broker.testing.simulation.whole.watch import WatchedMesh

RPC_PORT = 33145
KAFKA_PORT = 9092
CLIENTS = "10.0.1.1"
"""The address of all clients."""
ROOM = 1 << 40
_SLOW_US = 300_000


def address_of(node_id: int) -> str:
    return f"10.0.0.{node_id}"


class SimWorkers:
    """Implements `node.workers.Workers`: work is an event of the scheduler."""

    def __init__(self, machine: Machine, loop: VirtualLoop) -> None:
        self._machine = machine
        self._loop = loop
        self._queues: dict[Way, deque[Callable[[], None]]] = {way: deque() for way in Way}
        self._running: dict[Way, list[Callable[[], None]]] = {way: [] for way in Way}
        self._most = {Way.LOGS: 4, Way.VOTES: 1, Way.SLOW: 1}

    def submit(self, way: Way, work: Callable[[], None]) -> None:
        self._queues[way].append(work)
        self._begin(way)

    def resize(self, logs: int) -> None:
        self._most[Way.LOGS] = logs

    def close(self) -> None:
        """What was submitted happens now: nobody reads the clock meanwhile."""
        for way, queue in self._queues.items():
            works = [*self._running[way], *queue]
            self._running[way].clear()
            queue.clear()
            for work in works:
                work()

    def _begin(self, way: Way) -> None:
        queue = self._queues[way]
        if queue and len(self._running[way]) < self._most[way]:
            work = queue.popleft()
            self._running[way].append(work)
            self._machine.later(self._loop, lambda: self._carry_out(way, work))

    def _carry_out(self, way: Way, work: Callable[[], None]) -> None:
        if work not in self._running[way]:
            return  # it was closed meanwhile
        self._running[way].remove(work)
        self._machine.carry_out(work)
        if not self._loop.is_closed():
            self._begin(way)


@dataclass(frozen=True, slots=True)
class Rotten:
    """A file with a byte that is not what was written."""

    path: str
    content: bytes


class Machine:
    """Node `node_id`, up or down."""

    def __init__(self, cluster: Cluster, node_id: int, seeds: int) -> None:
        dice, drift = cluster.dice, cluster.options.drift
        self.node_id = node_id
        self.address = address_of(node_id)
        self.clock = HostClock(
            cluster.scheduler,
            dice.randint(0, 1_000_000),
            1_000_000 + dice.randint(-drift, drift),
            dice.randint(-2_000, 2_000),
        )
        self.disk = SimDisk(dice, ROOM)
        self.old_disk: SimDisk | None = None
        self.version = self.next_version = OLDER if dice.random() < cluster.options.older else NEWER
        self.rotten: Rotten | None = None
        self.lies = False
        """Reads may show a wrong byte: only of the one machine whose bytes may go bad."""
        self.mesh: WatchedMesh | None = None
        self.node: Node | None = None
        self.loop: VirtualLoop | None = None
        self.paused_until_us = 0
        self.slow_until_us = 0
        self.has_faults = True
        self.exits: list[str] = []
        self.doom: Callable[[], None] | None = None
        self._cluster = cluster
        self._seeds = seeds
        self._stop: asyncio.Event | None = None

    @property
    def parts(self) -> Parts | None:
        return self.node.parts if self.node is not None else None

    @property
    def is_older(self) -> bool:
        """Or will be, when it is started again."""
        return self.next_version is OLDER

    @property
    def is_up(self) -> bool:
        return self.loop is not None

    @property
    def is_serving(self) -> bool:
        return self.node is not None and self.node.serving

    @property
    def has_fenced(self) -> bool:
        """Some replica of it stands still until the process is started again."""
        shelf = self.parts.shelf if self.parts is not None else ()
        return any(each.replica.error is not None for each in shelf)

    # ------------------------------------------------------------------------- starting, stopping

    def start(self) -> None:
        assert self.loop is None
        cluster = self._cluster
        self.version = self.next_version
        cluster.fabric.unpowered.discard(self.address)
        loop = self.loop = VirtualLoop(
            cluster.fabric, self.address, self.clock, lambda: self.paused_until_us
        )
        self.disk.fault = self._fault
        self.disk.misread = self._misread
        source = random.Random(cluster.dice.getrandbits(64))
        world = World(
            clock=self.clock,
            random=source,
            disk=self.disk,
            workers=lambda: SimWorkers(self, loop),
            peers=lambda me, handler: self._lines(me, handler, source),
            listens=False,
        )
        with loop.entered():
            self._stop = asyncio.Event()
            self.node = Node(self._settings(), world, self._stop)
        task = loop.start(self._live(loop, self.node))
        task.add_done_callback(lambda done: self._ended(loop, done))
        loop.after_turn = self._look
        cluster.trace(f"{self.node_id} starts{' as the older one' * (self.version is OLDER)}")

    def _lines(self, me: Peer, handler: Handler, source: random.Random) -> WatchedMesh:
        def said(to: Peer, group: str, message: Message) -> None:
            found = self.parts.shelf.by_group(group) if self.parts is not None else None
            is_hollow = found is not None and found.replica.log.hollow
            self._cluster.watch.said(me, to, group, message, is_hollow)

        mesh = WatchedMesh(me, handler, self.clock, source, (self.address, RPC_PORT))
        mesh.speak(self.version.line)
        mesh.said = said
        self.mesh = mesh
        return mesh

    def _look(self) -> None:
        for partition in self.parts.shelf if self.parts is not None else ():
            self._cluster.watch.look(self.node_id, partition)

    def _settings(self) -> config.Settings:
        options = self._cluster.options
        seeds = ",".join(f"{i}@{address_of(i)}:{RPC_PORT}" for i in range(1, self._seeds + 1))
        return config.load(
            None,
            {},
            (
                f"node.id={self.node_id}",
                "data.dir=/data",
                f"seeds={seeds}",
                f"rpc.host={self.address}",
                f"rpc.port={RPC_PORT}",
                f"rpc.advertised.address={self.address}:{RPC_PORT}",
                f"listeners=[{{name='plain',host='{self.address}',port={KAFKA_PORT},"
                f"authentication='none',advertised='{self.address}:{KAFKA_PORT}'}}]",
                "offsets.topic.num.partitions=1",
                "log.preallocate.bytes=65536",
                "storage.min.free.bytes=65536",
                f"feature.level.known={self.version.level}",
                f"log.segment.bytes={options.segment_bytes}",
                f"log.scrub.interval.ms={options.scrub_ms}",
                f"log.cleaner.io.max.bytes.per.second={1 << 40}",  # in no time: threads may wait
                "log.cleaner.backoff.ms=100",
            ),
        )

    async def _live(self, loop: VirtualLoop, node: Node) -> None:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(node.run())
            while not node.serving and not running.done():  # noqa: ASYNC110 - as a probe does
                await asyncio.sleep(0.05)
            if running.done():
                return
            self._cluster.trace(f"{self.node_id} serves")
            listener = node.context.settings.listeners[0]
            opened = await server.serve(node.context, listener, Limits(close_grace_ms=100), tasks)
            assert self._stop is not None
            await self._stop.wait()
            await opened.close()

    def _ended(self, loop: VirtualLoop, done: asyncio.Task[None]) -> None:
        """The process ends by itself: asked to, or because it cannot go on."""
        if loop is not self.loop:
            return
        error = None if done.cancelled() else done.exception()
        if error is not None:
            told = _tellable(error)
            must(told is not None, f"node {self.node_id} dies of a bug: {_words(error)}")
            self.exits.append(str(told))
        failure = self.node.failure if self.node is not None else None
        what = error or failure
        self._cluster.trace(f"{self.node_id} has ended{f': {what!r}' if what else ''}")
        level = self.parts.controller.image.feature_level if self.parts is not None else 0
        if what is not None and level > self.version.level:
            self._cluster.seen["too old"] += 1
            self.next_version = NEWER  # somebody has read what it said
        must(
            self.disk.exists("/data/node.json") or not self._listed("/data/groups"),
            f"J: node {self.node_id} leaves data of nobody behind: it cannot begin anew",
        )
        self._cluster.seen["exit" if what is None else "exit with an error"] += 1
        self._cluster.scheduler.after(0, lambda: self._abandon(loop, is_silent=False))

    def _abandon(self, loop: VirtualLoop, is_silent: bool) -> None:
        if self.loop is not loop:
            return
        self._cluster.fabric.process_died(loop, is_silent)
        self._cluster.troubles += loop.troubles
        self.loop = self.node = self.mesh = self._stop = None
        self.paused_until_us = 0
        self.doom = None
        self.disk.fault = _gone
        loop.abandon()
        self.disk.fault = None
        self.disk.let_go()

    def stop(self) -> None:
        """SIGTERM."""
        if self._stop is not None and self.loop is not None:
            self.loop.call_soon(self._stop.set)

    def kill(self) -> None:
        if self.loop is not None:
            self._cluster.trace(f"{self.node_id} is killed")
            self._abandon(self.loop, is_silent=False)

    def power_cut(self) -> None:
        if self.loop is not None:
            self._cluster.trace(f"{self.node_id} loses power")
            self._cluster.fabric.unpowered.add(self.address)
            self._abandon(self.loop, is_silent=True)
        self.disk.crash()

    def wipe(self) -> None:
        """Another disk, empty: somebody else under the same number."""
        assert self.loop is None
        self.old_disk = self.disk
        self.disk = SimDisk(self._cluster.dice, ROOM)
        self.rotten = None
        self._cluster.trace(f"{self.node_id} has an empty disk")

    def take_old_disk(self) -> None:
        """The one that was lost is found, and put in again."""
        assert self.loop is None
        assert self.old_disk is not None
        self.disk, self.old_disk = self.old_disk, None
        self._cluster.trace(f"{self.node_id} has the disk that it once lost")

    # ---------------------------------------------------------------------------------------- disk

    def make_room(self) -> None:
        self.disk.capacity = ROOM

    def later(self, loop: VirtualLoop, event: Callable[[], None]) -> None:
        """A worker thread gets to something, unless the process is dead by then."""
        cluster, options = self._cluster, self._cluster.options
        delay_us = cluster.dice.randint(options.work_low_us, options.work_high_us)
        if cluster.scheduler.now_us < self.slow_until_us:
            delay_us += _SLOW_US

        def happen() -> None:
            if loop is not self.loop:
                return
            if cluster.scheduler.now_us < self.paused_until_us:
                cluster.scheduler.at(self.paused_until_us, happen)
            else:
                event()

        cluster.scheduler.after(delay_us, happen)

    def carry_out(self, work: Callable[[], None]) -> None:
        """On a worker thread: the power may fail in the middle of it."""
        doom, self.doom = self.doom, None
        if doom is None:
            work()
            return
        self.disk.cut_power_after = self._cluster.dice.choice((0, 1, 1, 2, 2, 3, 4, 6))
        try:
            work()
        except PowerCutError:
            self._cluster.seen["power cut within a job"] += 1
        doom()

    def _fault(self, operation: str, path: str) -> int | None:
        rate = self._cluster.options.disk_error if self.has_faults else 0.0
        if not rate or operation not in ("sync", "pwrite", "pread", "open"):
            return None
        if self._cluster.dice.random() >= rate:
            return None
        self._cluster.seen[f"EIO in {operation}"] += 1
        return errno.EIO

    def _misread(self, path: str, size: int) -> int | None:
        """Which byte of a read of a segment is wrong."""
        dice, rate = self._cluster.dice, self._cluster.options.misread
        if not (self.lies and self.has_faults and rate and path.endswith(".log")):
            return None
        if dice.random() >= rate:
            return None
        self._cluster.seen["misread"] += 1
        return dice.randrange(size)

    def rot(self) -> bool:
        """Change a byte of a sealed segment, where there is one; `is_rotten` until it is gone."""
        names = [f"/data/groups/{name}" for name in self._listed("/data/groups")]
        sealed = [f"{name}/{segment}" for name in names for segment in self._sealed(name)]
        if not sealed:
            return False
        path = self._cluster.dice.choice(sealed)
        at = self._cluster.dice.randrange(len(self.disk.content(path)))
        self.disk.flip(path, at, 1 << self._cluster.dice.randrange(8))
        self.rotten = Rotten(path, self.disk.content(path))
        self._cluster.trace(f"{self.node_id} has a rotten byte at {at} of {path}")
        return True

    @property
    def is_rotten(self) -> bool:
        """Nobody has put the bad bytes away."""
        rotten = self.rotten
        if rotten is not None and self.disk.exists(rotten.path):
            return self.disk.content(rotten.path) == rotten.content
        return False

    def _sealed(self, folder: str) -> list[str]:
        return [name for name in self._listed(folder) if name.endswith(".log")][:-1]

    def _listed(self, folder: str) -> list[str]:
        return self.disk.listdir(folder) if self.disk.exists(folder) else []


def _gone(operation: str, path: str) -> int | None:
    """For a process that is dead: nothing that it still says reaches the disk."""
    return errno.EBADF


def _tellable(error: BaseException) -> BaseException | None:
    """What a broker may end with: a sentence for people, not a bug."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            if _tellable(inner) is None:
                return None
        return error.exceptions[0]
    return error if isinstance(error, DataDirError | JournalError | OSError) else None


def _words(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-3_000:]
