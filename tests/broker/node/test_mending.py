"""Which failed replicas are opened again, when, and how."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from quorate_broker.node.mending import REFILL_AGAIN_MS, Mending
from quorate_broker.partition.replica import CorruptReplica
from quorate_broker.partition.shell import Partition
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
