"""What a run tells of itself, of whichever layer: line by line, and in the end."""

from __future__ import annotations

import zlib
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from quorate_broker.testing.simulation.clock import Scheduler

Teller = Callable[[str], None]
_KEPT_LINES = 60


@dataclass(frozen=True, slots=True)
class Report:
    """What a seed did."""

    trace: int
    events: int
    acked: int
    healed_us: int
    seen: Counter[str]


class Trace:
    """All that happened as one checksum, and the last lines of it in words; call it with each."""

    def __init__(self, scheduler: Scheduler, tell: Teller | None) -> None:
        self.checksum = 0
        self.lately: deque[str] = deque(maxlen=_KEPT_LINES)
        self._scheduler = scheduler
        self._tell = tell

    def __call__(self, what: str) -> None:
        line = f"{self._scheduler.now_us / 1_000_000:.6f} {what}"
        self.lately.append(line)
        if self._tell is not None:
            self._tell(line)
        self.checksum = zlib.crc32(line.encode(), self.checksum)
