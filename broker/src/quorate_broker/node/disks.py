"""The node's way to its disk: jobs of logs, and the journal of terms and votes.

The event loop only hands over jobs and hears of their end (`workers` carry them out). Terms and
votes of all groups go through one journal, so that a hundred elections at once cost one sync.
Read next: `shelf`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Set
from typing import Protocol, TypeVar, cast

from quorate_broker.log.journal import JournalJob, StateJournal, Vote
from quorate_broker.node.workers import Way, Workers
from quorate_broker.raft.messages import HardState, Peer

T = TypeVar("T")


class RunsBlocking(Protocol):
    def run(self) -> None: ...


class Disks:
    """Jobs of logs and of the journal. `failed` is called once when the journal is lost."""

    def __init__(self, workers: Workers, failed: Callable[[OSError], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._workers = workers
        self._failed = failed
        self.journal_lost = False
        self._journal: StateJournal | None = None
        self._waiting: list[Callable[[], None]] = []
        self._flying: list[Callable[[], None]] = []
        self._journal_busy = False
        self._ended: deque[tuple[Callable[..., None], tuple[object, ...]]] = deque()
        """What the loop is to be told of, since it looked last."""
        self._is_woken = False

    async def call(self, blocking: Callable[[], T], way: Way = Way.LOGS) -> T:
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

        self._workers.submit(way, work)
        return await future

    def resize(self, logs: int) -> None:
        """So many threads for the logs from now on."""
        self._workers.resize(logs)

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

    def forget_all_but(self, living: Set[str]) -> None:
        """Groups that are gone for good. One that was only left here may come back, and what it
        was asked in a term before must not be answered a second time, and otherwise."""
        assert self._journal is not None
        for group in sorted(self._journal.states.keys() - living):
            self._journal.remove(group)

    def run(self, job: RunsBlocking, done: Callable[[OSError | None], None]) -> None:
        """Run a job in a thread, then `done` on the loop with its error, if any."""
        self._enqueue(Way.LOGS, job, done)

    def _enqueue(self, way: Way, job: RunsBlocking, done: Callable[[OSError | None], None]) -> None:
        def work() -> None:
            try:
                job.run()
            except OSError as error:
                self._tell(done, error)
            else:
                self._tell(done, None)

        self._workers.submit(way, work)

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        """Call back on the loop, which is woken once for all that ends before it looks; a loop
        that is gone needs no telling."""
        self._ended.append((callback, arguments))
        if not self._is_woken:
            self._is_woken = True
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        self._is_woken = False  # first: what ends from here on wakes the loop again
        try:
            for _ in range(len(self._ended)):
                callback, arguments = self._ended.popleft()
                callback(*arguments)
        finally:
            if self._ended:  # one of them broke, or more came meanwhile
                self._loop.call_soon(self._hear)

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
        self._enqueue(Way.VOTES, job, lambda error: self._journalled(job, error))

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
        self._workers.close()
        if self._journal is not None:
            self._journal.close()
