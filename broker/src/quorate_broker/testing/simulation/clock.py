"""Virtual time: a heap of (time, tie, event). Nothing else decides what happens next."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Event = Callable[[], None]


class Scheduler:
    """Events in order of time, then of being scheduled. Microseconds from 0."""

    def __init__(self) -> None:
        self.now_us = 0
        self.events = 0
        self._heap: list[tuple[int, int, Event]] = []
        self._tie = 0

    @property
    def now_ms(self) -> int:
        return self.now_us // 1_000

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
