"""What woke a cluster: counted, so that a batch shows that each of the ways was needed.

Nothing here wakes anybody: `Workers`, `Resync` and `News` are the product's.

Read next: `process.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from quorate_operator.names import Key
from quorate_operator.reconcile import Result
from quorate_operator.testing.simulation.cluster import now_s
from quorate_operator.workers import Limits, Workers

BY_WATCH: Final = "woken by a watch"
BY_LIST: Final = "woken by a list that showed another version"
NEW: Final = "looked after since a list showed it"
BY_BUSY: Final = "woken by being busy"
BY_SOON: Final = "woken by waiting for a broker"
BY_TIME: Final = "woken by nothing in half an hour"
ALL: Final = frozenset({BY_WATCH, BY_LIST, NEW, BY_BUSY, BY_SOON, BY_TIME})


class Wakers:
    """`resync.Looking`, and the ear of `News`."""

    def __init__(self, workers: Workers, saw: Callable[[str], None]) -> None:
        self._workers = workers
        self._saw = saw

    def tell(self, key: Key) -> None:
        self._saw(BY_WATCH)
        self._workers.wake(key)

    def wake(self, key: Key) -> None:
        self._saw(BY_LIST)
        self._workers.wake(key)

    def look_after(self, key: Key) -> bool:
        is_new = self._workers.look_after(key)
        if is_new:
            self._saw(NEW)
        return is_new


class Patience:
    """Whether a worker has waited for as long as it does when nobody wakes it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._due: dict[Key, tuple[float, str]] = {}

    def begins(self, key: Key, result: Result) -> None:
        """A pass has ended so."""
        limits = self._limits
        if result.soon:
            pause_s, why = limits.soon_s, BY_SOON
        elif result.busy:
            pause_s, why = limits.busy_s, BY_BUSY
        else:
            pause_s, why = limits.resync_s, BY_TIME
        if not result.failed:
            self._due[key] = (now_s() + pause_s, why)

    def ended(self, key: Key) -> str:
        """Another one begins: what woke it, if nobody did."""
        due_s, why = self._due.pop(key, (float("inf"), ""))
        return why if now_s() >= due_s else ""
