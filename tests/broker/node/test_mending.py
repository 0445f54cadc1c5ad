"""Which failed replicas are opened again, when, and how."""

from __future__ import annotations

import asyncio
import errno
import pathlib
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import pytest

from quorate_broker.cluster.records import Member
from quorate_broker.log.datadir import DataDir
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.journal import StateJournal
from quorate_broker.log.log import Log, LogSettings
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


FOLDER = "/data"


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
