"""The disk threads.

One queue for the node's logs and a few threads that write and sync; the event loop only hands
over jobs and hears of their end. Terms and votes of all groups go through one journal, so that a
hundred elections at once cost one sync; it has a thread of its own, so that no election waits
behind the logs of a slow disk. Read next: `shelf`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from quorate_broker.log.journal import JournalJob, StateJournal, Vote
from quorate_broker.raft.messages import HardState, Peer

log = logging.getLogger(__name__)

T = TypeVar("T")
_Queue = queue.SimpleQueue[Callable[[], None] | None]
EXIT_BROKEN = 70


class RunsBlocking(Protocol):
    def run(self) -> None: ...


class Disks:
    """Jobs of logs and of the journal. `failed` is called once when the journal is lost."""

    def __init__(self, threads: int, failed: Callable[[OSError], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: _Queue = queue.SimpleQueue()
        self._journal_queue: _Queue = queue.SimpleQueue()
        self._threads = [self._started(self._queue, f"disk-{i}") for i in range(threads)]
        self._threads.append(self._started(self._journal_queue, "journal"))
        self._failed = failed
        self.journal_lost = False
        self._journal: StateJournal | None = None
        self._waiting: list[Callable[[], None]] = []
        self._flying: list[Callable[[], None]] = []
        self._journal_busy = False

    def _started(self, work: _Queue, name: str) -> threading.Thread:
        thread = threading.Thread(target=self._work, args=(work,), name=name, daemon=True)
        thread.start()
        return thread

    async def call(self, blocking: Callable[[], T]) -> T:
        """Run something blocking in a disk thread."""
        future: asyncio.Future[T] = self._loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is None:
                future.set_result(cast(T, result))
            else:
                future.set_exception(error)

        def work() -> None:
            try:
                result = blocking()
            except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
                self._tell(settle, None, error)
            else:
                self._tell(settle, result, None)

        self._queue.put(work)
        return await future

    def use_journal(self, journal: StateJournal) -> None:
        self._journal = journal

    def hard_state(self, group: str) -> HardState:
        """What the journal holds for a group."""
        assert self._journal is not None
        state = self._journal.states.get(group)
        if state is None:
            return HardState()
        vote = None if state.vote is None else Peer(state.vote.node_id, state.vote.incarnation)
        return HardState(state.term, vote)

    def forget(self, group: str) -> None:
        assert self._journal is not None
        self._journal.remove(group)

    def run(self, job: RunsBlocking, done: Callable[[OSError | None], None]) -> None:
        """Run a job in a thread, then `done` on the loop with its error, if any."""
        self._enqueue(self._queue, job, done)

    def _enqueue(
        self, work_queue: _Queue, job: RunsBlocking, done: Callable[[OSError | None], None]
    ) -> None:
        def work() -> None:
            try:
                job.run()
            except OSError as error:
                self._tell(done, error)
            else:
                self._tell(done, None)

        work_queue.put(work)

    def _work(self, work_queue: _Queue) -> None:
        """One thread's life. What a job raises beyond OSError is our bug: nobody may wait on."""
        while (work := work_queue.get()) is not None:
            try:
                work()
            except BaseException:
                log.critical("a disk job broke", exc_info=True)
                os._exit(EXIT_BROKEN)

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        """Call back on the loop; a loop that is gone needs no telling."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    def put_hard_state(self, group: str, state: HardState, done: Callable[[], None]) -> None:
        """Journal a term and vote; `done` when it is on disk, never after a failure."""
        assert self._journal is not None
        vote = None if state.vote is None else Vote(state.vote.node_id, state.vote.incarnation)
        self._journal.put(group, state.term, vote)
        self._waiting.append(done)
        self._next_journal_job()

    def _next_journal_job(self) -> None:
        assert self._journal is not None
        if self._journal_busy or self.journal_lost:
            return
        job = self._journal.take_job()
        waiting, self._waiting = self._waiting, []
        if job is None:  # they put what is on disk already
            for callback in waiting:
                self._loop.call_soon(callback)
            return
        self._journal_busy, self._flying = True, waiting
        self._enqueue(self._journal_queue, job, lambda error: self._journalled(job, error))

    def _journalled(self, job: JournalJob, error: OSError | None) -> None:
        assert self._journal is not None
        if error is not None:
            self.journal_lost = True
            self._failed(error)
            return
        self._journal.job_done(job)
        self._journal_busy = False
        done, self._flying = self._flying, []
        for callback in done:
            callback()
        self._next_journal_job()

    def close(self) -> None:
        """Blocking: finish what runs, close the journal."""
        for _ in self._threads[:-1]:
            self._queue.put(None)
        self._journal_queue.put(None)
        for thread in self._threads:
            thread.join()
        if self._journal is not None:
            self._journal.close()
