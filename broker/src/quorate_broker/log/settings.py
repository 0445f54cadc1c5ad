"""How large and how old a segment may grow, and what is kept in memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Sizes in bytes."""

    segment_bytes: int = 1 << 30
    index_interval_bytes: int = 16 << 10
    preallocate_bytes: int = 16 << 20
    cache_bytes: int = 4 << 20  # recent batches kept in memory for followers and tail readers
    segment_ms: int = 7 * 24 * 3600 * 1000  # by the records' times, as Kafka's
