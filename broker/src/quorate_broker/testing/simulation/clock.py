"""Virtual time: a heap of (time, tie, event). Nothing else decides what happens next.

Every host reads it through clocks of its own: monotonic ones that began at some moment and run a
little fast or slow, and wall clocks that may be wrong by any amount and jump.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

Event = Callable[[], None]

EPOCH_MS = 1_800_000_000_000
"""Wall time at virtual time 0."""
_NEVER_MS = 1 << 60
"""Deadlines beyond this are none."""


class Scheduler:
    """Events in order of time, then of being scheduled. Microseconds from 0."""

    def __init__(self) -> None:
        self.now_us = 0
        self.events = 0
        self._heap: list[tuple[int, int, Event]] = []
        self._tie = 0

    def at(self, time_us: int, event: Event) -> None:
        assert time_us >= self.now_us, "the past is over"
        self._tie += 1
        heapq.heappush(self._heap, (time_us, self._tie, event))

    def after(self, delay_us: int, event: Event) -> None:
        self.at(self.now_us + delay_us, event)

    def step(self) -> bool:
        """Let the next event happen; False if there is none."""
        if not self._heap:
            return False
        self.now_us, _, event = heapq.heappop(self._heap)
        self.events += 1
        event()
        return True


class HostClock:
    """One host's idea of time. `rate` is its monotonic clock's parts per million of true time."""

    def __init__(self, scheduler: Scheduler, began_ms: int, rate: int, wrong_ms: int) -> None:
        self._scheduler = scheduler
        self._began_ms = began_ms
        self._rate = rate
        self.wrong_ms = wrong_ms
        """What its wall clock is off by."""

    def monotonic_ms(self) -> int:
        return self._began_ms + self._scheduler.now_us * self._rate // 1_000_000_000

    def monotonic_us(self) -> int:
        return self._began_ms * 1_000 + self._scheduler.now_us * self._rate // 1_000_000

    def wall_ms(self) -> int:
        return EPOCH_MS + self._scheduler.now_us // 1_000 + self.wrong_ms

    def due_us(self, deadline_ms: int) -> int | None:
        """When this clock shows a monotonic time, not before now; None: never."""
        if deadline_ms >= _NEVER_MS:
            return None
        passed_ms = deadline_ms - self._began_ms
        return max(-(-passed_ms * 1_000_000_000 // self._rate), self._scheduler.now_us)

    def due_at_us(self, monotonic_us: int) -> int:
        """The same for microseconds, and no time is too far away."""
        passed_us = monotonic_us - self._began_ms * 1_000
        return max(-(-passed_us * 1_000_000 // self._rate), self._scheduler.now_us)
