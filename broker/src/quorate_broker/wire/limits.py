"""How much a peer may make us believe.

Every count and length off the wire is checked against the bytes that remain and against one of
these before anything is allocated for it: twelve bytes may claim four billion elements.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on what is read off the wire."""

    array_elements: int = 1_000_000
    """Numbers in one array (as Kafka 4.4)."""
    message_elements: int = 200_000
    """Structs and strings in all arrays of one message. Six bytes may ask for a partition that
    costs three hundred here: Kafka's million for each array would let 6 MB take 300 MB."""
    tagged_fields: int = 10_000
    """In one struct (as Kafka 4.4)."""
    batch_bytes: int = 128 * 1024 * 1024
    """One record batch, its header included. A longer one is corrupt, not large."""
    decompressed_bytes: int = 128 * 1024 * 1024
    """What one compressed batch may grow to when it must be looked into."""


LIMITS = Limits()
