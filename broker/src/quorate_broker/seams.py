"""The seams where the world comes in: time and randomness.

Cores take `now` and a `random.Random` by argument; shells read them here and nowhere else, so that
one seed replays a whole cluster. Disk is the seam of `log.disk`, the network that of `net`.
"""

from __future__ import annotations

import random
import time
import uuid
from typing import Protocol


class Clock(Protocol):
    """What a shell may ask of time."""

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch; may jump, only ever written into records."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds that never go back; every deadline and time-out is counted in these."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


def new_uuid(source: random.Random) -> uuid.UUID:
    """A random (version 4) UUID drawn from `source`."""
    return uuid.UUID(int=source.getrandbits(128), version=4)
