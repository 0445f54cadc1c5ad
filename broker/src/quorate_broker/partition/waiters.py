"""Those who wait for a record: until it is committed or on disk, or their time is up.

Next: `shell`, which tells them.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from quorate_broker.errors import ErrorCode, KafkaError

FOREVER_MS = 2**62


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a batch went."""

    base_offset: int
    start_offset: int
    log_append_time_ms: int = -1


@dataclass(slots=True)
class Waiter:
    future: asyncio.Future[Appended]
    appended: Appended
    deadline_ms: int


class Waiters:
    """Futures in order of the index that they wait for."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Waiter]] = []
        self._tie = itertools.count()
        self.deadline_ms = FOREVER_MS
        """When to call `expire`: never late, at times early."""

    @property
    def waiting(self) -> bool:
        return bool(self._heap)

    def add(self, index: int, waiter: Waiter) -> None:
        heapq.heappush(self._heap, (index, next(self._tie), waiter))
        self.deadline_ms = min(self.deadline_ms, waiter.deadline_ms)

    def reached(self, index: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= index:
            waiter = heapq.heappop(heap)[2]
            if not waiter.future.done():
                waiter.future.set_result(waiter.appended)
        if not heap:
            self.deadline_ms = FOREVER_MS

    def fail(self, error: Callable[[], KafkaError]) -> None:
        heap, self._heap = self._heap, []
        self.deadline_ms = FOREVER_MS
        for _, _, waiter in heap:
            if not waiter.future.done():
                waiter.future.set_exception(error())

    def expire(self, now_ms: int) -> None:
        """Tell those whose time is up."""
        if now_ms < self.deadline_ms:
            return
        for _, _, waiter in self._heap:
            if waiter.deadline_ms <= now_ms and not waiter.future.done():
                waiter.future.set_exception(KafkaError(ErrorCode.REQUEST_TIMED_OUT, None))
        self._heap = [entry for entry in self._heap if not entry[2].future.done()]
        heapq.heapify(self._heap)
        left = (entry[2].deadline_ms for entry in self._heap)
        self.deadline_ms = min(left, default=FOREVER_MS)
