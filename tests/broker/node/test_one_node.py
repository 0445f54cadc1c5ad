"""The inner parts of one node on a real disk, without sockets: metadata, replicas, coordinators."""

from __future__ import annotations

import asyncio
import errno
import pathlib
import random
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from quorate_broker import config
from quorate_broker.cluster import commands
from quorate_broker.cluster.genesis import Genesis
from quorate_broker.cluster.image import Topic
from quorate_broker.cluster.records import Member
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import commands as group_commands
from quorate_broker.log.datadir import DataDir
from quorate_broker.log.disk import OsDisk
from quorate_broker.log.journal import StateJournal
from quorate_broker.net.mesh import Mesh
from quorate_broker.node import shelf as shelves
from quorate_broker.node.context import OFFSETS_TOPIC, NodeContext, Parts
from quorate_broker.node.controller import Controller
from quorate_broker.node.disks import Disks
from quorate_broker.node.leaders import Leaders
from quorate_broker.node.replicas import Replicas
from quorate_broker.node.settings import metadata_log, metadata_raft
from quorate_broker.node.workers import ThreadWorkers
from quorate_broker.partition.shell import Partition
from quorate_broker.raft.messages import Message, Peer
from quorate_broker.testing.stand import HandClock

ME = Member(1, "disk-1")


class Alone:
    """Implements `shelves.Outside` and `net.peers.Handler` with nobody outside."""

    def __init__(self, folder: pathlib.Path, *overrides: str) -> None:
        seeds = "seeds=1@127.0.0.1:1"
        listener = 'listeners=[{name="plain", host="127.0.0.1", port=1, authentication="none"}]'
        chosen = ["node.id=1", f"data.dir={folder}", seeds, listener, *overrides]
        self.settings = config.load(None, {}, chosen)
        self.clock = HandClock()
        self.disk = OsDisk()
        self.failures: list[str] = []

    async def start(self) -> None:
        source = random.Random(1)
        datadir = DataDir.open(self.disk, self.settings.data_dir, 1, "disk-1")
        self.datadir = datadir
        self.disks = Disks(ThreadWorkers(2), lambda error: self.failures.append("journal"))
        self.disks.use_journal(StateJournal.open(self.disk, datadir.journal_path))
        me = Peer(ME.node_id, ME.incarnation)
        self.shelf = shelves.Shelf(
            shelves.Parts(me, self.disk, datadir, self.disks, self.clock, source), self
        )
        peers = Mesh(me, self, self.clock, source, ("", 0))  # type: ignore[arg-type]
        live = config.Live(self.settings)
        logs, raft = metadata_log(self.settings), metadata_raft(self.settings)
        wanted = shelves.Wanted(shelves.METADATA_TOPIC, 0, (ME,), logs, raft)
        metadata = await self.shelf.open(wanted)
        self.controller = Controller(metadata, live, self.clock, source, self._moved)
        parts = Parts(live, self.clock, source, peers, self.shelf, Leaders(), self.controller)
        self.context = NodeContext(parts)
        self.replicas = Replicas(parts, self.context, datadir, self.disks)
        self.controller.follow()
        self.peers = peers

    def _moved(self) -> None:
        self.replicas.look()

    async def until(self, seen: Callable[[], object]) -> None:
        """Time passes until something is seen."""
        while not seen():
            self.clock.now_ms += 20
            self.shelf.tick(self.clock.now_ms)
            await asyncio.sleep(0.001)

    async def asked(self, command: object) -> object:
        """A command, with time passing while it runs."""
        asking = asyncio.ensure_future(self.context.controller(command))
        await self.until(asking.done)
        return asking.result()

    def send(self, to: Peer, group: str, message: Message) -> None:
        raise AssertionError("there is nobody")

    def leadership_changed(self, partition: Partition) -> None:
        pass

    def in_sync_changed(self, partition: Partition) -> None:
        pass

    def partition_failed(self, partition: Partition, error: Exception) -> None:
        self.failures.append(partition.group)

    async def topic(self, name: str) -> Topic:
        self.replicas.look()
        await self.until(lambda: name in self.context.image.topics)
        topic = self.context.image.topics[name]
        places = [(topic.id, info.index) for info in topic.partitions]

        def led() -> bool:
            found = [self.shelf.get(*place) for place in places]
            return all(one is not None and one.is_leader for one in found)

        await self.until(led)
        return topic


def run(folder: pathlib.Path, test: Callable[[Alone], Awaitable[None]], *overrides: str) -> None:
    async def main() -> None:
        node = Alone(folder / "data", *overrides)
        await node.start()
        keeper = asyncio.ensure_future(node.replicas.run())
        try:
            async with asyncio.timeout(10):
                await node.until(lambda: node.controller.leads)
                forming = node.controller.form(Genesis("c1", (ME,)), node.peers)
                formed = asyncio.ensure_future(forming)
                await node.until(formed.done)
                await test(node)
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])
            await node.shelf.close()
            node.disks.close()
            node.datadir.close()

    asyncio.run(main())


def test_a_topic_made_again_under_its_name_keeps_its_coordinators(tmp_path: pathlib.Path) -> None:
    async def test(node: Alone) -> None:
        await node.asked(commands.CreateTopics((commands.NewTopic(OFFSETS_TOPIC, 1),)))
        old = await node.topic(OFFSETS_TOPIC)
        await node.asked(commands.DeleteTopics((OFFSETS_TOPIC,)))
        await node.asked(commands.CreateTopics((commands.NewTopic(OFFSETS_TOPIC, 1),)))
        new = await node.topic(OFFSETS_TOPIC)
        assert new.id != old.id
        await node.until(lambda: node.shelf.get(old.id, 0) is None)
        await node.until(lambda: not pathlib.Path(node.datadir.group_path(old.id, 0)).exists())
        for _ in range(5):
            node.replicas.look()
            await asyncio.sleep(0)
        hosts = node.context._coordinators
        assert list(hosts) == [(new.id, 0)]
        listing = asyncio.ensure_future(node.context.coordinate("g", group_commands.ListGroups()))
        await node.until(listing.done)
        assert listing.exception() is None

    run(tmp_path, test)


def test_a_deposed_coordinator_tells_no_old_offsets(tmp_path: pathlib.Path) -> None:
    async def test(node: Alone) -> None:
        await node.asked(commands.CreateTopics((commands.NewTopic(OFFSETS_TOPIC, 1),)))
        topic = await node.topic(OFFSETS_TOPIC)
        partition = node.shelf.get(topic.id, 0)
        assert partition is not None
        await node.until(lambda: partition.is_leader)
        fetch = group_commands.OffsetFetch("g", None)

        async def told(command: object) -> object:
            asked = asyncio.ensure_future(node.context.coordinate("g", command))
            await node.until(asked.done)
            return asked.exception() or asked.result()

        assert await told(fetch) == ()
        deposed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        deposed.set_exception(KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, None))
        partition.confirm = lambda: deposed  # type: ignore[method-assign]
        refused = await told(fetch)
        assert isinstance(refused, KafkaError)
        assert refused.code is ErrorCode.NOT_COORDINATOR
        assert await told(group_commands.ListGroups()) == (), "which need not be the newest"

    run(tmp_path, test)


def test_a_topic_is_deleted_although_its_disk_is_full(tmp_path: pathlib.Path) -> None:
    async def test(node: Alone) -> None:
        await node.asked(commands.CreateTopics((commands.NewTopic("t", 1),)))
        topic = await node.topic("t")
        partition = node.shelf.get(topic.id, 0)
        assert partition is not None
        folder = pathlib.Path(node.datadir.group_path(topic.id, 0))
        close, tries = partition.replica.log.close, []

        def full_at_first() -> None:
            tries.append(1)
            if len(tries) == 1:
                raise OSError(errno.ENOSPC, "no space left on device")
            close()

        partition.replica.log.close = full_at_first  # type: ignore[method-assign]
        await node.asked(commands.DeleteTopics(("t",)))
        await node.until(lambda: not folder.exists())
        assert len(tries) == 2

    run(tmp_path, test)


def test_a_waiting_produce_is_answered_when_its_topic_is_deleted(tmp_path: pathlib.Path) -> None:
    async def test(node: Alone) -> None:
        await node.asked(commands.CreateTopics((commands.NewTopic("t", 1),)))
        topic = await node.topic("t")
        partition = node.shelf.get(topic.id, 0)
        assert partition is not None
        told = asyncio.Event()
        partition.add_waiter(lambda: partition.is_leader or told.set())  # type: ignore[func-returns-value]
        await node.asked(commands.DeleteTopics(("t",)))
        await told.wait()
        with pytest.raises(KafkaError) as refused:
            partition.read(0, 100)
        assert refused.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER

    run(tmp_path, test)


def test_folders_of_topics_deleted_meanwhile_are_removed(tmp_path: pathlib.Path) -> None:
    stray = tmp_path / "data" / "groups" / f"{uuid.UUID(int=99)}-0"

    async def test(node: Alone) -> None:
        await node.until(lambda: not stray.exists())

    stray.mkdir(parents=True)
    journal = StateJournal.open(OsDisk(), str(tmp_path / "data" / "raft" / "state.log"))
    journal.close()
    found = DataDir.open(OsDisk(), str(tmp_path / "other"), 1, "disk-1")
    found.close()
    (tmp_path / "other" / "node.json").rename(tmp_path / "data" / "node.json")
    run(tmp_path, test)
