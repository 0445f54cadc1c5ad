"""Which partition of `__consumer_offsets` serves a group: Kafka's formula, bit for bit.

Clients never compute it, but people and tools do, and a log that was written under Kafka keeps its
groups where they were. Next: `coordinator`, one of which sits on each partition.
"""

from __future__ import annotations

TOPIC = "__consumer_offsets"


def java_hash(text: str) -> int:
    """`java.lang.String.hashCode`: a signed 32-bit number over UTF-16 code units."""
    units = text.encode("utf-16-be", "surrogatepass")
    value = 0
    for at in range(0, len(units), 2):
        value = (31 * value + (units[at] << 8 | units[at + 1])) & 0xFFFF_FFFF
    return value - (1 << 32) if value & 0x8000_0000 else value


def partition_for(group_id: str, count: int) -> int:
    """The partition, of `count`, that serves `group_id`.

    Kafka's `Utils.abs` makes 0 of the one number that has no positive twin.
    """
    assert count > 0, "the topic has partitions"
    value = java_hash(group_id)
    return (0 if value == -(1 << 31) else abs(value)) % count
