"""Which failed replicas are opened again, when, and how."""

from __future__ import annotations

import asyncio
import errno
import pathlib
import random
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from quorate_broker.cluster.records import Member
from quorate_broker.log.datadir import DataDir
from quorate_broker.log.journal import StateJournal
from quorate_broker.log.log import LogSettings
from quorate_broker.node import shelf as shelves
from quorate_broker.node.disks import Disks
from quorate_broker.node.mending import REFILL_AGAIN_MS, Mending
from quorate_broker.partition.replica import CorruptReplica
from quorate_broker.partition.shell import Partition
from quorate_broker.raft.messages import Message, Peer
from quorate_broker.raft.settings import RaftSettings
from quorate_broker.testing.lonely import AtOnce
from quorate_broker.testing.simdisk import SimDisk
from quorate_broker.testing.stand import HandClock

FULL = OSError(errno.ENOSPC, "no room")
ROTTEN = CorruptReplica("rot")


class Part:
    group = "g"


class Shelf:
    """Notes what is opened again; `errors` are met first."""

    def __init__(self) -> None:
        self.opened: asyncio.Queue[bool] = asyncio.Queue()
        self.errors: list[OSError] = []

    async def reopen(self, partition: object, *, set_aside: bool) -> bool:
        if self.errors:
            raise self.errors.pop(0)
        self.opened.put_nowait(set_aside)
        return True


class Room:
    """Comes back when the test says so."""

    def __init__(self) -> None:
        self.back = asyncio.Semaphore(0)
        self.waiting = 0

    async def until_back(self) -> None:
        self.waiting += 1
        await self.back.acquire()
        self.waiting -= 1


class Ward:
    def __init__(self) -> None:
        self.shelf, self.room, self.clock = Shelf(), Room(), HandClock()
        self.others = True
        self.mending = Mending(
            cast(Any, self.shelf), cast(Any, self.room), self.clock, lambda _: self.others
        )
        self.part = cast(Partition, Part())

    async def until(self, seen: Callable[[], object]) -> None:
        while not seen():
            await asyncio.sleep(0)


def run(test: Callable[[Ward], Awaitable[None]]) -> None:
    async def main() -> None:
        ward = Ward()
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            mending = tasks.create_task(ward.mending.run())
            await test(ward)
            mending.cancel()

    asyncio.run(main())


def test_a_full_disk_is_waited_out_and_the_same_log_recovered() -> None:
    async def test(ward: Ward) -> None:
        assert ward.mending.failed(ward.part, FULL)
        await ward.until(lambda: ward.room.waiting)
        assert ward.shelf.opened.empty()
        ward.room.back.release()
        assert await ward.shelf.opened.get() is False

    run(test)


def test_a_disk_that_is_full_again_is_waited_out_again() -> None:
    async def test(ward: Ward) -> None:
        ward.shelf.errors = [FULL]
        assert ward.mending.failed(ward.part, FULL)
        ward.room.back.release()
        await ward.until(lambda: not ward.shelf.errors and ward.room.waiting)
        ward.room.back.release()
        assert await ward.shelf.opened.get() is False

    run(test)


def test_rot_is_set_aside_at_once_where_others_have_the_bytes_and_not_again_and_again() -> None:
    async def test(ward: Ward) -> None:
        assert ward.mending.failed(ward.part, ROTTEN)
        assert await ward.shelf.opened.get() is True
        assert not ward.mending.failed(ward.part, ROTTEN)
        ward.clock.now_ms += REFILL_AGAIN_MS
        assert ward.mending.failed(ward.part, ROTTEN)
        assert await ward.shelf.opened.get() is True

    run(test)


def test_the_only_copy_is_never_set_aside() -> None:
    async def test(ward: Ward) -> None:
        ward.others = False
        assert not ward.mending.failed(ward.part, ROTTEN)

    run(test)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "bad sector"), RuntimeError("a bug")])
def test_what_else_goes_wrong_is_not_mended(error: Exception) -> None:
    async def test(ward: Ward) -> None:
        assert not ward.mending.failed(ward.part, error)

    run(test)


# -- the shelf's part in it


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


def test_a_rotten_replica_keeps_its_partition_and_begins_hollow_beside_what_it_was() -> None:
    folder = "/data"
    members = tuple(Member(i, f"disk-{i}") for i in (1, 2, 3))

    async def main() -> None:
        disk, outside = SimDisk(random.Random(1)), Outside()
        datadir = DataDir.open(disk, folder, 1, "disk-1")
        disks = Disks(AtOnce(), lambda error: None)
        disks.use_journal(StateJournal.open(disk, datadir.journal_path))
        parts = shelves.Parts(
            Peer(1, "disk-1"), disk, datadir, disks, HandClock(), random.Random(1)
        )
        shelf = shelves.Shelf(parts, outside)
        topic = shelves.METADATA_TOPIC
        wanted = shelves.Wanted(topic, 0, members, LogSettings(), RaftSettings())
        partition = await shelf.open(wanted)
        assert len(partition.replica.members.voters) == 3
        first, told = partition.replica, []
        partition.add_waiter(lambda: told.append(partition.replica))
        partition.fail(ROTTEN)
        assert outside.failures == [ROTTEN]
        assert await shelf.reopen(partition, set_aside=True)
        assert shelf.by_group(partition.group) is partition
        assert partition.replica is not first
        assert partition.replica.error is None
        assert partition.replica.log.hollow
        assert told[-1] is partition.replica
        aside = disk.listdir(f"{folder}/retired")
        assert [pathlib.PurePath(name).suffixes for name in aside] == [[".corrupt", ".1"]]
        await shelf.remove(topic, 0)
        assert not await shelf.reopen(partition, set_aside=True)
        disks.close()
        datadir.close()

    asyncio.run(main())
