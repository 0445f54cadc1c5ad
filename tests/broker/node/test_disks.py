"""Disk threads: the journal never waits for the logs, and nobody waits for it in vain."""

from __future__ import annotations

import asyncio
import errno
import pathlib
import threading
from collections.abc import Awaitable, Callable

import pytest

from quorate_broker.log.disk import OsDisk
from quorate_broker.log.journal import StateJournal
from quorate_broker.node.disks import Disks
from quorate_broker.node.workers import ThreadWorkers, Way, Work
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


class Inline:
    """Workers that have done the work by the time it is handed over."""

    def submit(self, way: Way, work: Work) -> None:
        work()

    def resize(self, logs: int) -> None:
        pass

    def close(self) -> None:
        pass


class Ended:
    """A job without anything to do."""

    def run(self) -> None:
        pass


def test_what_ends_before_the_loop_looks_wakes_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        wakes: list[object] = []
        real = loop.call_soon_threadsafe

        def counted(callback: Callable[..., None], *arguments: object) -> asyncio.Handle:
            wakes.append(callback)
            return real(callback, *arguments)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        disks = Disks(Inline(), lambda _: None)
        heard: list[int] = []
        for number in range(3):
            disks.run(Ended(), lambda _, number=number: heard.append(number))
        assert (len(wakes), heard) == (1, [])
        await asyncio.sleep(0)
        assert heard == [0, 1, 2]
        disks.run(Ended(), lambda _: heard.append(3))
        await asyncio.sleep(0)
        assert (len(wakes), heard[3:]) == (2, [3])

    asyncio.run(main())


def test_what_breaks_the_telling_of_one_end_keeps_no_other_from_being_told() -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        disks = Disks(Inline(), lambda _: None)
        heard = asyncio.Event()

        def broken(_: OSError | None) -> None:
            raise ZeroDivisionError

        disks.run(Ended(), broken)
        disks.run(Ended(), lambda _: heard.set())
        async with asyncio.timeout(10):
            await heard.wait()

    asyncio.run(main())
