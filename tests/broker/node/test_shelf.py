"""The replicas of a node: opened, opened again, woken."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import pathlib
import random
from collections.abc import Iterator
from typing import Any, cast

import pytest

from quorate_broker.cluster.records import Member
from quorate_broker.log.datadir import DataDir
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.journal import StateJournal
from quorate_broker.log.log import Log, LogSettings
from quorate_broker.node import shelf as shelves
from quorate_broker.node.disks import Disks
from quorate_broker.partition.replica import CorruptReplica
from quorate_broker.partition.shell import Partition
from quorate_broker.raft.messages import Message, Peer
from quorate_broker.raft.settings import RaftSettings
from quorate_broker.testing.lonely import AtOnce
from quorate_broker.testing.simdisk import SimDisk
from quorate_broker.testing.stand import HandClock

ROTTEN = CorruptReplica("rot")


FOLDER = "/data"


class Outside:
    """Implements `shelves.Outside`; notes failures."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []

    def send(self, to: Peer, group: str, message: Message) -> None:
        pass

    def leadership_changed(self, partition: Partition) -> None:
        pass

    def in_sync_changed(self, partition: Partition) -> None:
        pass

    def partition_failed(self, partition: Partition, error: Exception) -> None:
        self.failures.append(error)


class Stage:
    """A shelf on a simulated disk, and its one wanted replica."""

    def __init__(self) -> None:
        self.disk, self.outside = SimDisk(random.Random(1)), Outside()
        self.datadir = DataDir.open(self.disk, FOLDER, 1, "disk-1")
        self.disks = Disks(AtOnce(), lambda error: None)
        self.disks.use_journal(StateJournal.open(self.disk, self.datadir.journal_path))
        me = Peer(1, "disk-1")
        parts = shelves.Parts(
            me, self.disk, self.datadir, self.disks, HandClock(), random.Random(1)
        )
        self.shelf = shelves.Shelf(parts, self.outside)
        members = tuple(Member(i, f"disk-{i}") for i in (1, 2, 3))
        topic = shelves.METADATA_TOPIC
        self.wanted = shelves.Wanted(topic, 0, members, LogSettings(), RaftSettings())

    async def close(self) -> None:
        await self.shelf.close()
        self.disks.close()
        self.datadir.close()


def test_a_rotten_replica_keeps_its_partition_and_begins_hollow_beside_what_it_was() -> None:
    async def main() -> None:
        stage = Stage()
        shelf, wanted = stage.shelf, stage.wanted
        partition = await shelf.open(wanted)
        assert len(partition.replica.members.voters) == 3
        first, told = partition.replica, []
        partition.add_waiter(lambda: told.append(partition.replica))
        partition.fail(ROTTEN)
        assert stage.outside.failures == [ROTTEN]
        assert await shelf.reopen(partition, set_aside=True)
        assert shelf.by_group(partition.group) is partition
        assert partition.replica is not first
        assert partition.replica.error is None
        assert partition.replica.log.hollow
        assert told[-1] is partition.replica
        aside = stage.disk.listdir(f"{FOLDER}/retired")
        assert [pathlib.PurePath(name).suffixes for name in aside] == [[".corrupt", ".1"]]
        await shelf.remove(wanted.topic_id, 0)
        assert not await shelf.reopen(partition, set_aside=True)
        await stage.close()

    asyncio.run(main())


def test_who_is_alone_stands_at_once_also_in_a_group_that_is_not_new() -> None:
    async def main() -> None:
        stage = Stage()
        alone = dataclasses.replace(stage.wanted, founders=(Member(1, "disk-1"),))
        for term in (1, 2):
            partition = await stage.shelf.open(alone)
            for _ in range(10):  # turns of the loop: no time passes
                await asyncio.sleep(0)
            assert partition.is_leader
            assert partition.leader_epoch == term
            await stage.shelf.close()
        stage.disks.close()
        stage.datadir.close()

    asyncio.run(main())


def test_rot_behind_the_checkpoint_is_met_while_opening_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It must not fly out of the opening: the node would end, and end again at each start."""

    def rotten(log: Log, from_index: int) -> Iterator[object]:
        log.corrupt = "rot"
        raise CorruptLogError("rot")

    async def main() -> None:
        stage = Stage()
        monkeypatch.setattr(Log, "replay_headers", rotten)
        partition = await stage.shelf.open(stage.wanted)
        assert isinstance(partition.replica.error, CorruptReplica)
        assert [type(error) for error in stage.outside.failures] == [CorruptReplica]
        await stage.close()

    asyncio.run(main())


def test_a_disk_that_fails_while_opening_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(log: Log, from_index: int) -> Iterator[object]:
        raise OSError(errno.EIO, "bad sector")

    async def main() -> None:
        stage = Stage()
        before = len(stage.disk._handles)
        monkeypatch.setattr(Log, "replay_headers", broken)
        with pytest.raises(OSError, match="bad sector"):
            await stage.shelf.open(stage.wanted)
        assert len(stage.disk._handles) == before
        monkeypatch.undo()
        assert (await stage.shelf.open(stage.wanted)).replica.error is None
        await stage.close()

    asyncio.run(main())


def test_only_resting_groups_that_a_silent_broker_leads_are_woken() -> None:
    """It may be frozen: its lines stand, nothing comes, and nobody is lost."""

    class Part:
        def __init__(self, leader_id: int, resting: bool) -> None:
            self.leader_id, self.resting, self.woken = leader_id, resting, False

        def wake(self) -> None:
            self.woken = True

        def close(self) -> None:
            pass

    async def main() -> list[bool]:
        stage = Stage()
        parts = [Part(2, True), Part(2, False), Part(3, True)]
        stage.shelf._partitions = cast(Any, dict(enumerate(parts)))
        stage.shelf.peer_silent(2)
        stage.shelf._partitions.clear()
        await stage.close()
        return [part.woken for part in parts]

    assert asyncio.run(main()) == [True, False, False]
