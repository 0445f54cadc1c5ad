"""One broker node, from its data directory to its open listeners, and back.

    disk -> admin (booting) -> peers -> formation -> metadata -> replicas -> listeners (ready)

Stopping is the same way back: leaderships are handed over first, then the listeners close, then
the logs. What it knows of the world comes in by argument (`world`). `Node` is also what the parts
talk to: it implements `net.peers.Handler` and `node.shelf.Outside`, and only passes on.
Read next: `shelf` and `controller`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import random
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator

import msgspec

from quorate_broker import config, seams
from quorate_broker.admin import app as admin_app
from quorate_broker.admin import metrics_port
from quorate_broker.admin import serve as http
from quorate_broker.api.principal import AllowAll
from quorate_broker.cluster.genesis import Genesis, Phase
from quorate_broker.cluster.image import Image
from quorate_broker.cluster.records import Member
from quorate_broker.log.datadir import DataDir, NodeFile
from quorate_broker.log.disk import Disk, OsDisk
from quorate_broker.log.errors import DataDirError, JournalError
from quorate_broker.log.journal import StateJournal
from quorate_broker.node import doors, listening, registration, remembered
from quorate_broker.node import shelf as shelves
from quorate_broker.node import world as worlds
from quorate_broker.node.balance import Balance
from quorate_broker.node.context import NodeContext, Parts
from quorate_broker.node.controller import Controller
from quorate_broker.node.disks import Disks
from quorate_broker.node.flank import Flank
from quorate_broker.node.formation import Formation
from quorate_broker.node.gossip import Gossiping
from quorate_broker.node.housekeeping import Housekeeping
from quorate_broker.node.leaders import Leaders
from quorate_broker.node.mending import Mending
from quorate_broker.node.neighbours import Neighbours
from quorate_broker.node.replicas import Replicas
from quorate_broker.node.requests import Requests
from quorate_broker.node.room import Room
from quorate_broker.node.settings import metadata_log, metadata_raft
from quorate_broker.node.steering import Steering
from quorate_broker.node.transfer import Transfers
from quorate_broker.node.view import NodeView
from quorate_broker.node.world import World
from quorate_broker.partition.shell import Partition
from quorate_broker.raft.messages import HardState, Message, Peer
from quorate_broker.raft.throttle import Throttle

log = logging.getLogger(__name__)

EXIT_FAILED = 1
TELLABLE = (DataDirError, JournalError, OSError)
"""Not our bugs: a sentence and an exit code, no traceback."""
TICK_S = 0.1
EARLY_MESSAGES = 16
HAND_OVER_MS = 3_000
REGISTER_EVERY_S = 0.5
OPENING_S = 5.0
"""So long at most the doors wait for what is here to be opened: later leaders may be moved here."""
LOOK_AGAIN_S = 0.02


async def run(
    live: config.Live,
    clock: seams.Clock,
    source: random.Random,
    stop: asyncio.Event,
    disk: Disk | None = None,
) -> int:
    """Run one broker until `stop` is set; the process's exit code."""
    world = worlds.of_this_machine(live.file, clock, source, disk or OsDisk())
    while True:
        node = Node(live.file, world, stop, live.pinned)
        code = await _run(node)
        if not node.begins_anew:
            return code


async def _run(node: Node) -> int:
    try:
        await node.run()
    except (*TELLABLE, BaseExceptionGroup) as error:
        untold = error.split(TELLABLE)[1] if isinstance(error, BaseExceptionGroup) else None
        if untold is not None:
            raise
        for one in _leaves(error):
            log.error("%s", one, exc_info=one if log.isEnabledFor(logging.DEBUG) else None)
        return EXIT_FAILED
    return EXIT_FAILED if node.failure is not None else 0


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


class Node:
    """See the module's head."""

    def __init__(
        self,
        settings: config.Settings,
        world: World,
        stop: asyncio.Event,
        pinned: frozenset[str] = frozenset(),
    ) -> None:
        self.failure: Exception | None = None
        self.begins_anew = False
        """Another node is to begin when `run` returned: this one's disk was set aside, or it began
        with settings that the cluster has changed since."""
        self._retired = False
        """The cluster counts this incarnation out: it may never take part again."""
        self._over = asyncio.Event()
        """Asked to stop, or retired."""
        self._has_served = False
        self._settings = settings
        """Who it is and where it listens: all else is in `live`."""
        self.live = config.Live(settings, pinned)
        self._world = world
        self._clock = world.clock
        self._random = world.random
        self._stop = stop
        self._disks = Disks(world.workers(), self._journal_failed)
        version = registration.version_of(settings, importlib.metadata.version("quorate-broker"))
        self._view = NodeView(self.live, version, self._clock.monotonic_ms())
        self._leaders = Leaders()
        self._parts: Parts | None = None
        self._early: list[tuple[Peer, str, Message]] = []
        self._gossip: Gossiping | None = None
        self._mending: Mending | None = None
        self._topics: dict[uuid.UUID, int] = {}
        """Partitions of each topic, as seen in metadata last."""
        self._replicas: Replicas | None = None

    # -- what is there once it is a member

    @property
    def parts(self) -> Parts | None:
        """None until this node is a member of a cluster."""
        return self._parts

    @property
    def context(self) -> NodeContext:
        """What requests of clients are served by; only for a member."""
        return self._context

    @property
    def serving(self) -> bool:
        """Between having caught up and being asked to stop."""
        return self._view.serving

    # -- start and stop

    async def run(self) -> None:
        """Everything, until asked to stop or unable to go on."""
        settings = self._settings
        self._datadir = await self._disks.call(self._open_datadir)
        self.live.begin(await self._disks.call(self._remembered))
        if self.live.said.version:
            self._disks.resize(self.live.now.disk_threads)
        self._forming = Formation(settings, self._datadir, self._save_node, self._random)
        self._requests = Requests(self._forming)
        me = Peer(self._datadir.node.node_id, self._datadir.node.incarnation)
        self._peers = self._world.peers(me, self)
        if self._forming.state.phase is Phase.FORMED:
            self._peers.cluster_id = self._datadir.node.cluster_id
        is_void = False
        try:
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(self._until_stopped(), name="stop")
                life = tasks.create_task(self._live(tasks), name="life")
                await self._over.wait()
                if not life.done() and not self._view.serving:
                    life.cancel()
                await asyncio.wait([life])
                watch.cancel()
            is_void = self._retired and not self._has_served
        finally:
            self._view.close()
            self._disks.close()
            if is_void:
                self._set_aside()  # now: until here a job may still have made a folder
            self._datadir.close()  # last: until here something may still be writing
        if self._retired and not self.begins_anew:
            log.warning("this broker is no member any more: recommission it, then start it again")
            await self._stop.wait()

    def _set_aside(self) -> None:
        aside = self._datadir.set_aside()
        log.warning("this disk was replaced or removed; what it held is in %s", aside)
        self.begins_anew = True

    async def _until_stopped(self) -> None:
        await self._stop.wait()
        self._over.set()

    async def _live(self, tasks: asyncio.TaskGroup) -> None:
        settings = self._settings
        async with contextlib.AsyncExitStack() as stack:
            if self._world.listens:
                admin = admin_app.build(self._view, AllowAll())
                await stack.enter_async_context(
                    http.serving(admin, settings.admin_host, settings.admin_port)
                )
                await metrics_port.open_if_wanted(stack, admin, settings)
            await stack.enter_async_context(self._peering(tasks))
            genesis = await self._forming.run(self._peers)
            if not self._peers.cluster_id:
                self._peers.joined(genesis.cluster_id)
            parts = await self._join(self._peers.me, self._founders(genesis))
            stack.push_async_callback(parts.shelf.close)
            ticker = tasks.create_task(self._tick(), name="ticker")
            stack.callback(ticker.cancel)
            for name, work in self._works(parts).items():
                keeper = tasks.create_task(work, name=name)
                stack.callback(keeper.cancel)
            await parts.controller.form(genesis, self._peers)
            await registration.register(parts, self._view.version)
            if self.live.restart and await self._listening.keep():
                log.info("starts over with settings that the cluster has changed since")
                self.begins_anew = True
                self._over.set()
                return
            if settings.pod_info_dir:
                following = registration.follow(parts, self._view.version)
                stack.callback(tasks.create_task(following, name="told").cancel)
            await self._until_open()
            if self._world.listens:
                opened = await doors.open_all(stack, tasks, parts, self._context)
                self._view.servers.extend(opened)
            self._view.serving = self._has_served = True
            self._view.refresh()
            log.info("broker %d of cluster %s serves", settings.node_id, genesis.cluster_id)
            await self._over.wait()
            self._view.serving = False
            if not (self._disks.journal_lost or self._retired):
                await self._transfers.give_up_all(HAND_OVER_MS)

    async def _until_open(self) -> None:
        """A client that came earlier would ask, once a second, for leaders that are about to be;
        and what it asks costs what they are opened with."""
        assert self._replicas is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPENING_S):
                await self._replicas.opened()

    def _works(self, parts: Parts) -> dict[str, Coroutine[None, None, None]]:
        """What goes on as long as this node is a member."""
        assert self._replicas is not None
        assert self._mending is not None
        return {
            "replicas": self._replicas.run(),
            "steering": self._steering.run(),
            "balance": Balance(parts).run(),
            "room": self._room.run(parts.shelf, parts.peers, parts.leaders),
            "mending": self._mending.run(),
            "settings": self._listening.run(),
            "housekeeping": Housekeeping(parts, self._disks, self._room).run(),
        }

    def _open_datadir(self) -> DataDir:
        incarnation = str(seams.new_uuid(self._random))
        path = self._settings.data_dir
        datadir = DataDir.open(self._world.disk, path, self._settings.node_id, incarnation)
        try:
            self._refuse_another_cluster(datadir)
            self._disks.use_journal(StateJournal.open(self._world.disk, datadir.journal_path))
        except BaseException:
            datadir.close()
            raise
        return datadir

    def _remembered(self) -> config.Said:
        datadir = self._datadir
        return remembered.read(self._world.disk, datadir.path, datadir.node.cluster_id)

    def _refuse_another_cluster(self, datadir: DataDir) -> None:
        """A volume that was bound to the wrong pod must not serve what lies on it."""
        expected, found = self._settings.cluster_id, datadir.node.cluster_id
        if expected and found and expected != found:
            raise DataDirError(
                f"{datadir.path} belongs to cluster {found}, but this broker is to be one of "
                f"cluster {expected} (cluster.id): give it its own data directory, or an empty one"
            )

    async def _save_node(self, node: NodeFile) -> None:
        await self._disks.call(lambda: self._datadir.save(node))

    @contextlib.asynccontextmanager
    async def _peering(self, tasks: asyncio.TaskGroup) -> AsyncIterator[None]:
        listening = asyncio.Event()
        addresses = {seed.node_id: (seed.host, seed.port) for seed in self._settings.seeds}
        running = tasks.create_task(self._peers.run(addresses, listening), name="peers")
        try:
            await listening.wait()
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])

    def _founders(self, genesis: Genesis) -> tuple[Member, ...] | None:
        """None: the metadata group lives without this disk, which has nothing, or lost it."""
        is_new = self._disks.hard_state(shelves.METADATA_GROUP) == HardState()
        return genesis.voters if is_new and self._forming.is_founder else None

    async def _join(self, me: Peer, founders: tuple[Member, ...] | None) -> Parts:
        """Open the metadata group and make everything that stands on it."""
        world = (self._world.disk, self._datadir, self._disks, self._clock, self._random)
        throttle = Throttle(lambda: self.live.now.leader_replication_throttled_rate)
        shelf = shelves.Shelf(shelves.Parts(me, *world, throttle), self)
        self._room = Room(self.live, self._disks, self._datadir, self._room_changed)
        self._mending = Mending(shelf, self._room, self._clock, self._has_others)
        wanted = shelves.Wanted(
            shelves.METADATA_TOPIC,
            0,
            founders,
            metadata_log(self.live.now),
            metadata_raft(self.live.now),
        )
        partition = await shelf.open(wanted)
        controller = Controller(
            partition, self.live, self._clock, self._random, self._metadata_moved
        )
        controller.founders = founders or ()
        controller.is_up = self._peers.alive
        flank = Flank(controller, self._peers, self._clock, self._flanking_changed)
        parts = Parts(
            self.live, self._clock, self._random, self._peers, shelf, self._leaders, controller
        )
        self._context = NodeContext(parts)
        self._replicas = Replicas(parts, self._context, self._datadir, self._disks)
        self._steering = Steering(parts)
        self._neighbours = Neighbours(self._peers, [seed.node_id for seed in self._settings.seeds])
        self._transfers = Transfers(shelf, self._peers, self._clock, self._leaders)
        changed = self._view.refresh_soon
        self._gossip = Gossiping(shelf, self._peers, self._leaders, flank, changed)
        rpc = self._settings.rpc_advertised
        self._gossip.address = (rpc.host, rpc.port)
        self._listening = listening.Listening(
            parts, self._disks, self._world.disk, self._datadir, self._gossip.tell_standing
        )
        self._listening.listen(self._context)
        self._flank = flank
        self._requests.attach(parts, flank, self._transfers)
        self._view.attach(parts, flank, self._transfers)
        self._parts = parts
        controller.follow()
        for early in self._early:
            self.on_raft(*early)
        self._early.clear()
        return parts

    async def _tick(self) -> None:
        """What is due by time, but for the partitions: those have deadlines of their own."""
        alive: list[int] = []
        while True:
            now_ms = self._clock.monotonic_ms()
            before, alive = alive, self._alive()
            if alive != before:  # silence alone is told by nobody
                self._fell_silent(set(before) - set(alive))
            self._flank.tick(now_ms)
            assert self._gossip is not None
            self._gossip.tick(now_ms)
            await asyncio.sleep(TICK_S)

    def _fell_silent(self, node_ids: set[int]) -> None:
        assert self._parts is not None
        for node_id in sorted(node_ids):
            self._parts.shelf.peer_silent(node_id)
        self._view.refresh_soon()

    def _alive(self) -> list[int]:
        assert self._parts is not None
        seeds = {seed.node_id for seed in self._settings.seeds}
        known = seeds.union(self._parts.controller.image.brokers)
        return sorted(each for each in known if self._peers.alive(each))

    def _journal_failed(self, error: OSError) -> None:
        """Without terms and votes on disk this node may not go on."""
        self._fail("the journal of terms and votes", error)

    def _fail(self, what: str, error: Exception) -> None:
        log.error("%s failed, stopping: %s", what, error)
        self.failure = error
        self._stop.set()

    # -- what changes

    def _metadata_moved(self) -> None:
        assert self._replicas is not None
        assert self._parts is not None
        self._forget_deleted(self._parts.controller.image)
        if self._refuses_level(self._parts.controller):
            return
        self._neighbours.look(self._parts.controller.image)
        self._listening.look(self._parts.controller.image)
        self._replicas.look()
        self._steering.look()
        self._view.refresh_soon()

    def _refuses_level(self, controller: Controller) -> bool:
        """The cluster has gone on to what this version does not know."""
        image = controller.image
        if image.is_beyond:
            sentence = (
                f"the cluster is at feature level {image.feature_level}, and this broker (version "
                f"{self._view.version}) knows {image.knows} only: give it the others' version"
            )
            self._fail("the cluster's metadata", DataDirError(sentence))
        return image.is_beyond

    def _forget_deleted(self, image: Image) -> None:
        """Nobody leads the partitions of a topic that is gone."""
        for topic_id in self._topics.keys() - image.topics_by_id.keys():
            count = self._topics.pop(topic_id)
            self._leaders.forget(shelves.group_name(topic_id, index) for index in range(count))
        for topic_id, topic in image.topics_by_id.items():
            self._topics[topic_id] = len(topic.partitions)

    def _has_others(self, partition: Partition) -> bool:
        """Whether another broker should have what a replica here has."""
        members = {peer.node_id for peer in partition.replica.members.all}
        if partition.group == shelves.METADATA_GROUP:
            members.update(seed.node_id for seed in self._settings.seeds)
        members.update(self._placed(partition.group))  # a rotten checkpoint names no members
        return bool(members - {self._settings.node_id})

    def _placed(self, group: str) -> Iterator[int]:
        """Who holds a partition, by the word of metadata."""
        topics = () if self._parts is None else self._parts.controller.image.topics.values()
        for topic in topics:
            for info in topic.partitions:
                if shelves.group_name(topic.id, info.index) == group:
                    yield from (member.node_id for member in info.holders)

    def _room_changed(self) -> None:
        (self._leaders.short.add if self._room.is_short else self._leaders.short.discard)(
            self._settings.node_id
        )
        if self._gossip is not None:
            self._gossip.tell_all()
        self._view.refresh_soon()

    def _flanking_changed(self) -> None:
        if self._gossip is not None:
            self._gossip.tell_flanking()
        self._view.refresh_soon()

    # -- shelves.Outside

    def send(self, to: Peer, group: str, message: Message) -> None:
        self._peers.send(to, group, message)

    def leadership_changed(self, partition: Partition) -> None:
        if self._gossip is not None:
            self._gossip.leadership_changed(partition)
            self._steering.look()
        self._view.refresh_soon()

    def in_sync_changed(self, partition: Partition) -> None:
        if self._gossip is not None:
            self._gossip.in_sync_changed(partition)

    def partition_failed(self, partition: Partition, error: Exception) -> None:
        mended = self._mending is not None and self._mending.failed(partition, error)
        if partition.group == shelves.METADATA_GROUP and not mended:
            self._fail("the log of the cluster's metadata", error)  # blind from here on
        self._view.refresh_soon()

    # -- net.peers.Handler

    def on_raft(self, sender: Peer, group: str, message: Message) -> None:
        if self._parts is not None:
            self._parts.shelf.receive(sender, group, message)
        elif len(self._early) < EARLY_MESSAGES:
            self._early.append((sender, group, message))  # a seed that was formed before us

    async def on_request(self, sender: Peer, method: str, body: bytes, bulk: memoryview) -> bytes:
        return await self._requests.serve(method, body, bulk)

    def on_soft(self, sender: Peer, body: memoryview) -> None:
        if self._gossip is None:
            return
        before = self._leaders.version
        try:
            address = self._gossip.hear(sender.node_id, body)
            if address is not None and self._parts is not None:
                image = self._parts.controller.image
                self._neighbours.heard(sender.node_id, address, image)
        except msgspec.MsgspecError as error:
            log.warning("unreadable gossip from broker %d: %s", sender.node_id, error)
        if self._leaders.version != before:
            self._view.refresh_soon()

    def on_connected(self, peer: Peer) -> None:
        if self._gossip is not None:
            self._gossip.tell_all()
        self._view.refresh_soon()

    def on_lost(self, node_id: int) -> None:
        if self._parts is not None:
            self._parts.shelf.peer_lost(node_id)
        self._view.refresh_soon()

    def on_retired(self, told_by: Peer) -> None:
        if not self._retired:
            log.warning(
                "broker %d says that this one has been replaced or removed", told_by.node_id
            )
            self._retired = True
            self._over.set()
