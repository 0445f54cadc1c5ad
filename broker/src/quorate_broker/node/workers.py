"""The threads that touch the disk, so that the event loop never does.

Work is queued on one of three ways that never wait for each other: LOGS has several threads;
VOTES has one of its own, so that no election waits behind the logs of a slow disk; and SLOW has
one for what takes long and is in no hurry (scrubbing, cleaning). The simulator brings `Workers` of
its own that carry out the work as events. Read next: `disks`.
"""

from __future__ import annotations

import enum
import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger(__name__)

EXIT_BROKEN = 70

Work = Callable[[], None]


class Way(enum.Enum):
    """What kind of work it is."""

    LOGS = "logs"
    VOTES = "votes"
    SLOW = "slow"


class Workers(Protocol):
    def submit(self, way: Way, work: Work) -> None:
        """Carry `work` out elsewhere, some time; on VOTES and SLOW one after the other.

        It tells the loop of its end by itself (`loop.call_soon_threadsafe`) and raises nothing.
        """
        ...

    def resize(self, logs: int) -> None:
        """So many threads for LOGS from now on."""
        ...

    def close(self) -> None:
        """Finish what was submitted; blocking."""
        ...


class ThreadWorkers:
    """Real threads, `logs` of them for the logs."""

    def __init__(self, logs: int) -> None:
        self._logs = logs
        counts = {Way.LOGS: logs, Way.VOTES: 1, Way.SLOW: 1}
        self._queues: dict[Way, queue.SimpleQueue[Work | None]] = {
            way: queue.SimpleQueue() for way in counts
        }
        self._threads = {
            way: [self._started(way, number) for number in range(count)]
            for way, count in counts.items()
        }

    def submit(self, way: Way, work: Work) -> None:
        self._queues[way].put(work)

    def resize(self, logs: int) -> None:
        threads = self._threads[Way.LOGS]
        for number in range(self._logs, logs):
            threads.append(self._started(Way.LOGS, number))
        for _ in range(logs, self._logs):  # whichever is free first ends
            self._queues[Way.LOGS].put(None)
        self._logs = logs

    def close(self) -> None:
        for way, threads in self._threads.items():
            for _ in threads:
                self._queues[way].put(None)
        for threads in self._threads.values():
            for thread in threads:
                thread.join()

    def _started(self, way: Way, number: int) -> threading.Thread:
        name = f"{way.value}-{number}"
        thread = threading.Thread(target=_work, args=(self._queues[way],), name=name, daemon=True)
        thread.start()
        return thread


def _work(queued: queue.SimpleQueue[Work | None]) -> None:
    """One thread's life. What a job raises beyond OSError is our bug: nobody may wait on."""
    while (work := queued.get()) is not None:
        try:
            work()
        except BaseException:
            log.critical("a disk job broke", exc_info=True)
            os._exit(EXIT_BROKEN)
