"""When which partition has to be looked at: a heap, and one timer of the event loop.

A thousand idle partitions cost nothing here: nobody walks over them. An entry that comes too early
(a follower's election time-out moves with each heartbeat) is put back when its time has come, so
moving a deadline back costs nothing either. Deadlines fire on multiples of `GRAIN_MS`: what is due
at about the same time shares a turn of the loop, and with it a frame to each broker.
Next: `shelf`, which owns the partitions.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from quorate_broker import seams
from quorate_broker.partition.shell import Partition

GRAIN_MS = 10
FAR_MS = 2**61
"""Beyond this there is no deadline."""


class Deadlines:
    """`look` is called from the timer, with the time; it takes what is `due`."""

    def __init__(self, clock: seams.Clock, look: Callable[[int], None]) -> None:
        self._clock = clock
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[int, int, Partition]] = []
        self._tie = itertools.count()
        self._entered: dict[Partition, int] = {}
        """The time of each partition's one entry that counts."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = FAR_MS

    def moved(self, partition: Partition) -> None:
        """Its deadline may be another one."""
        due_ms = partition.deadline_ms
        if due_ms >= FAR_MS or due_ms >= self._entered.get(partition, FAR_MS):
            return
        self._entered[partition] = due_ms
        heapq.heappush(self._heap, (due_ms, next(self._tie), partition))
        self._arm()

    def forget(self, partition: Partition) -> None:
        self._entered.pop(partition, None)

    def due(self, now_ms: int) -> list[Partition]:
        """Those whose time has come; each is entered again when it has moved its deadline."""
        found = []
        while self._heap and self._heap[0][0] <= now_ms:
            entry_ms, _, partition = heapq.heappop(self._heap)
            if self._entered.get(partition) != entry_ms:
                continue  # closed, or entered earlier since
            del self._entered[partition]
            if partition.deadline_ms <= now_ms:
                found.append(partition)
            else:
                self.moved(partition)
        return found

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._heap.clear()
        self._entered.clear()

    def _arm(self) -> None:
        if not self._heap:
            return
        first_ms = max(self._heap[0][0], self._clock.monotonic_ms() + 1)
        if self._timer is not None and self._timer_ms <= first_ms:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = -(-first_ms // GRAIN_MS) * GRAIN_MS
        delay_ms = self._timer_ms - self._clock.monotonic_ms()
        self._timer = self._loop.call_later(delay_ms / 1000, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._look(self._clock.monotonic_ms())
        self._arm()
