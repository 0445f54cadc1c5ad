"""What clients do wrong, told in the log, but not without end.

A client that comes again at once, a thousand times a second, with the same request that is not
served, would otherwise fill the disk with one sentence. Each host may have each kind of thing told
a few times a minute; what was left out is counted, and said with the next one that is told.
Next: `connection`, which complains.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

_WINDOW_MS = 60_000
_PER_WINDOW = 5
_MAX_KNOWN = 1_000
"""Beyond so many (host, kind) pairs it starts anew: memory is bounded, whoever complains."""


@dataclass(slots=True)
class _Told:
    since_ms: int
    count: int = 0
    hidden: int = 0


class Complaints:
    """One per server."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._known: dict[tuple[str, str], _Told] = {}

    def tell(self, host: str, kind: str, reason: object) -> None:
        """Log `host`: `kind`: `reason`, unless that host had enough of that kind told lately."""
        now_ms = self._now_ms()
        told = self._known.get((host, kind))
        hidden = 0
        if told is None or now_ms - told.since_ms >= _WINDOW_MS:
            hidden = 0 if told is None else told.hidden
            if told is None and len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            told = self._known[host, kind] = _Told(now_ms)
        if told.count >= _PER_WINDOW:
            told.hidden += 1
            return
        told.count += 1
        left_out = f" ({hidden} more of these were not told)" if hidden else ""
        log.info("%s: %s: %s%s", host, kind, reason, left_out)
