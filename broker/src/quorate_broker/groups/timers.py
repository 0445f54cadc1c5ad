"""Deadlines of one coordinator: thousands of sessions that are pushed back again and again.

A heartbeat costs one dict write: an entry of the heap that turns out to be early is put back when
it comes up. No clock: `due` is told the time. Next: `rebalance`, which sets them.
"""

from __future__ import annotations

import enum
import heapq
from typing import NamedTuple


class Kind(enum.IntEnum):
    """What a deadline is about."""

    SESSION = 0
    """A member, or a member id that was given out, was not heard of in time."""
    JOIN = 1
    """The rebalance has waited long enough for members to join."""
    SYNC = 2
    """A new generation has waited long enough for its members to fetch their assignment."""
    RETENTION = 3
    """Look for offsets that have outlived their group."""


class Key(NamedTuple):
    """Names a deadline; there is at most one of each."""

    kind: Kind
    group_id: str = ""
    member_id: str = ""


class Timers:
    """The deadlines that are set."""

    __slots__ = ("_deadlines", "_heap")

    def __init__(self) -> None:
        self._deadlines: dict[Key, int] = {}
        self._heap: list[tuple[int, Key]] = []

    def __len__(self) -> int:
        return len(self._deadlines)

    def __contains__(self, key: Key) -> bool:
        return key in self._deadlines

    def set(self, key: Key, at_ms: int) -> None:
        """Set or move a deadline."""
        before = self._deadlines.get(key)
        self._deadlines[key] = at_ms
        if before is None or at_ms < before:
            heapq.heappush(self._heap, (at_ms, key))
        if len(self._heap) > 64 + 4 * len(self._deadlines):
            self._heap = [(at, found) for found, at in self._deadlines.items()]
            heapq.heapify(self._heap)

    def cancel(self, key: Key) -> None:
        """Forget a deadline; one that is not set is fine."""
        self._deadlines.pop(key, None)

    def next_ms(self) -> int | None:
        """The earliest deadline."""
        while self._heap:
            at_ms, key = self._heap[0]
            actual = self._deadlines.get(key)
            if actual == at_ms:
                return at_ms
            heapq.heappop(self._heap)
            if actual is not None and actual > at_ms:
                heapq.heappush(self._heap, (actual, key))
        return None

    def due(self, now_ms: int) -> Key | None:
        """Take the earliest deadline if it has passed."""
        at_ms = self.next_ms()
        if at_ms is None or at_ms > now_ms:
            return None
        _, key = heapq.heappop(self._heap)
        del self._deadlines[key]
        return key
