"""Disk threads: the journal never waits for the logs, and nobody waits for it in vain."""

from __future__ import annotations

import asyncio
import errno
import pathlib
import threading
from collections.abc import Awaitable, Callable

from quorate_broker.log.disk import OsDisk
from quorate_broker.log.journal import StateJournal
from quorate_broker.node.disks import Disks
from quorate_broker.node.workers import ThreadWorkers
from quorate_broker.raft.messages import HardState, Peer


class Held:
    """A job that takes as long as the test wants."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def run(self) -> None:
        self.release.wait(10)


def run(folder: pathlib.Path, test: Callable[[Disks, list[OSError]], Awaitable[None]]) -> None:
    async def main() -> None:
        failures: list[OSError] = []
        disks = Disks(ThreadWorkers(2), failures.append)
        disks.use_journal(StateJournal.open(OsDisk(), str(folder / "state.log")))
        try:
            async with asyncio.timeout(10):
                await test(disks, failures)
        finally:
            disks.close()

    asyncio.run(main())


def put(disks: Disks, state: HardState) -> asyncio.Event:
    done = asyncio.Event()
    disks.put_hard_state("g", state, done.set)
    return done


def test_a_vote_does_not_wait_behind_the_logs_of_a_slow_disk(tmp_path: pathlib.Path) -> None:
    async def test(disks: Disks, failures: list[OSError]) -> None:
        jobs = [Held(), Held(), Held()]
        ended = asyncio.Event()
        for job in jobs:
            disks.run(job, lambda _: ended.set())
        await put(disks, HardState(1, Peer(1, "a"))).wait()
        assert not ended.is_set()
        for job in jobs:
            job.release.set()

    run(tmp_path, test)


def test_putting_what_is_on_disk_already_is_answered_too(tmp_path: pathlib.Path) -> None:
    async def test(disks: Disks, failures: list[OSError]) -> None:
        await put(disks, HardState(1, Peer(1, "a"))).wait()
        await put(disks, HardState(1, Peer(1, "a"))).wait()

    run(tmp_path, test)


def test_a_lost_journal_is_told_once_and_answers_nobody(tmp_path: pathlib.Path) -> None:
    class Failing(OsDisk):
        broken = False

        def sync(self, handle: int) -> None:
            if self.broken:
                raise OSError(errno.EIO, "bad sector")
            super().sync(handle)

    async def main() -> None:
        lost, failures = asyncio.Event(), []

        def failed(error: OSError) -> None:
            failures.append(error)
            lost.set()

        disk = Failing()
        disks = Disks(ThreadWorkers(1), failed)
        disks.use_journal(StateJournal.open(disk, str(tmp_path / "state.log")))
        disk.broken = True
        first = put(disks, HardState(1))
        await lost.wait()
        second = put(disks, HardState(2))
        await disks.call(lambda: None)
        assert not first.is_set()
        assert not second.is_set()
        assert disks.journal_lost
        assert len(failures) == 1
        disks.close()

    asyncio.run(main())
