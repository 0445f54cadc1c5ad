"""Which partition a record goes to, as the Java client's default partitioner decides (KIP-480).

A key decides by murmur2, so that a record sent over HTTP meets those of other clients with the
same key. Records without one stick together: all of one request go to one partition, and requests
take turns. Pure, but for the turn.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.proxy.port import ProxyRecord

SEED = 0x9747B28C
MULTIPLIER = 0x5BD1E995
MASK = 0xFFFFFFFF
_WORDS = struct.Struct("<I")


def murmur2(data: bytes) -> int:
    """`org.apache.kafka.common.utils.Utils.murmur2`, as an unsigned 32-bit number."""
    length = len(data)
    value = (SEED ^ length) & MASK
    whole = length & ~3
    for (word,) in _WORDS.iter_unpack(data[:whole]):
        mixed = (word * MULTIPLIER) & MASK
        mixed = ((mixed ^ (mixed >> 24)) * MULTIPLIER) & MASK
        value = ((value * MULTIPLIER) & MASK) ^ mixed
    if length != whole:
        value ^= int.from_bytes(data[whole:], "little")
        value = (value * MULTIPLIER) & MASK
    value = ((value ^ (value >> 13)) * MULTIPLIER) & MASK
    return value ^ (value >> 15)


def partition_for_key(key: bytes, count: int) -> int:
    """The partition of a key in a topic of `count` partitions."""
    return (murmur2(key) & 0x7FFFFFFF) % count


class Turns:
    """Takes turns between partitions, one turn per request."""

    def __init__(self, first: int) -> None:
        self._turn = first

    def spread(
        self, records: Sequence[ProxyRecord], count: int, available: Sequence[int]
    ) -> list[int]:
        """A partition for each record; `available` (of `count`) have a leader.

        A partition that the client names is taken as it is, even if it does not exist: that is an
        error of that record alone.
        """
        if count <= 0:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "a topic without partitions")
        self._turn += 1
        choice = available or range(count)
        sticky = choice[self._turn % len(choice)]
        return [_place(record, count, sticky) for record in records]


def _place(record: ProxyRecord, count: int, sticky: int) -> int:
    if record.partition is not None:
        return record.partition
    if record.key is not None:
        return partition_for_key(record.key, count)
    return sticky
