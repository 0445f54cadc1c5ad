"""How much a peer may make us believe.

Every count and length off the wire is checked against the bytes that remain and against one of
these before anything is allocated for it: twelve bytes may claim four billion elements.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on what is read off the wire (Kafka 4.4 has the first two)."""

    array_elements: int = 1_000_000
    tagged_fields: int = 10_000
    batch_bytes: int = 128 * 1024 * 1024
    """One record batch, its header included. A longer one is corrupt, not large."""
    decompressed_bytes: int = 128 * 1024 * 1024
    """What one compressed batch may grow to when it must be looked into."""


LIMITS = Limits()
