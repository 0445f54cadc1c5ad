"""How fast a broker feeds replicas that are behind: a bucket that fills with time.

One bucket serves all groups that a broker leads. Only what nobody waits for goes through it
(`leading.throttle_of`): entries and snapshots for newcomers, emptied disks and stragglers, while a
majority is in sync without them. A sender may overdraw by what it has in its hand, so that a piece
larger than the bucket goes, too; the next one then waits longer.
"""

from __future__ import annotations

from collections.abc import Callable

BURST_MS = 1_000
"""What may go at once after a silence: so much time's worth."""


def unlimited() -> int:
    """A rate above anything."""
    return 1 << 62


class Throttle:
    """`rate`, in bytes per second, is asked at each use, and may change meanwhile."""

    __slots__ = ("_at_ms", "_level", "_rate")

    def __init__(self, rate: Callable[[], int] = unlimited) -> None:
        self._rate = rate
        self._level: float = rate() * BURST_MS / 1000
        self._at_ms: int | None = None

    def may_send(self, now_ms: int) -> bool:
        """Whether there is anything in the bucket. Groups may know the time a little differently:
        it does not run back here."""
        rate = self._rate()
        before_ms = now_ms if self._at_ms is None else self._at_ms
        self._at_ms = max(before_ms, now_ms)
        filled = self._level + rate * (self._at_ms - before_ms) / 1000
        self._level = min(filled, rate * BURST_MS / 1000)
        return self._level > 0

    def sent(self, size: int) -> None:
        """So many bytes went out."""
        self._level -= size
