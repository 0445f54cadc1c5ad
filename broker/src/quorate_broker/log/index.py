"""The sparse index of one segment: where to begin to read, and a check on the headers.

About every `interval` bytes one batch gets an entry: its base offset, Raft index and position;
the greatest record time before it in the segment; and a CRC-32C over the headers of all batches
since the entry before (decision 11: Kafka's batch CRC leaves out offset, length and epoch). The
file `<base>.index` is these entries, each with a CRC of its own, big-endian, 40 bytes:

    0 base offset   8 index   16 greatest time before   24 position   32 header CRC   36 CRC

It can always be rebuilt from the segment. Next: `layout`.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from crc32c import crc32c

from quorate_broker.log.disk import Buffer

ENTRY_SIZE = 40
NO_TIME = -1

_FIELDS = struct.Struct(">qqqqI")
_CRC = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a batch begins."""

    offset: int
    index: int
    position: int


@dataclass(frozen=True, slots=True)
class IndexTail:
    """What the index knows of the batches behind its last entry; kept in the checkpoint."""

    header_crc: int = 0
    max_timestamp: int = NO_TIME  # of the whole segment so far


class SparseIndex:
    """Entries as parallel arrays: a million of them are not a million objects."""

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.header_crc = 0
        self.max_timestamp = NO_TIME
        self._next_position = 0  # an entry is due from here on
        self.offsets = array("q")
        self.indexes = array("q")
        self.positions = array("q")
        self.times = array("q")
        self.crcs = array("I")

    def __len__(self) -> int:
        return len(self.positions)

    def note(self, place: Place, header: Buffer, max_timestamp: int) -> None:
        """A batch follows at `place`; `header` are its first 61 bytes, NO_TIME if internal."""
        if place.position >= self._next_position:
            self._add(place)
        self.header_crc = crc32c(header, self.header_crc)
        if max_timestamp > self.max_timestamp:
            self.max_timestamp = max_timestamp

    def _add(self, place: Place) -> None:
        self.offsets.append(place.offset)
        self.indexes.append(place.index)
        self.positions.append(place.position)
        self.times.append(self.max_timestamp)
        self.crcs.append(self.header_crc)
        self.header_crc = 0
        self._next_position = place.position + self.interval

    @property
    def tail(self) -> IndexTail:
        return IndexTail(self.header_crc, self.max_timestamp)

    def place(self, number: int) -> Place:
        """Of one entry."""
        return Place(self.offsets[number], self.indexes[number], self.positions[number])

    def floor_of_index(self, index: int) -> int:
        """Number of the last entry at or before a Raft index; -1: none."""
        return bisect_right(self.indexes, index) - 1

    def floor_of_offset(self, offset: int) -> int:
        """Number of the last entry at or before the record of this offset; -1: none."""
        return bisect_right(self.offsets, offset) - 1

    def first_not_older(self, timestamp_ms: int) -> int:
        """Number of the entry before whose end a record of at least this time comes first."""
        return max(0, bisect_left(self.times, timestamp_ms) - 1)

    def cut(self, position: int) -> Place | None:
        """Forget what begins at or behind `position`, and one entry more: its place. The caller
        notes the batches from there up to `position` again, for CRC and time."""
        keep = bisect_left(self.positions, position) - 1
        if keep < 0:
            self._restore(0, IndexTail())
            return None
        place = self.place(keep)
        self._restore(keep, IndexTail(self.crcs[keep], self.times[keep]))
        return place

    def _restore(self, keep: int, tail: IndexTail) -> None:
        for column in (self.offsets, self.indexes, self.positions, self.times, self.crcs):
            del column[keep:]
        self.header_crc = tail.header_crc
        self.max_timestamp = tail.max_timestamp
        self._next_position = 0

    def encode(self, first: int, end: int) -> bytes:
        """Entries `first` to `end` as they stand in the file."""
        out = bytearray()
        for number in range(first, end):
            fields = _FIELDS.pack(
                self.offsets[number],
                self.indexes[number],
                self.times[number],
                self.positions[number],
                self.crcs[number],
            )
            out += fields
            out += _CRC.pack(crc32c(fields))
        return bytes(out)

    @classmethod
    def decode(cls, data: bytes, count: int, interval: int, tail: IndexTail) -> SparseIndex | None:
        """The first `count` entries of the file; None if they are not all there and sound."""
        if len(data) < count * ENTRY_SIZE:
            return None
        index = cls(interval)
        for at in range(0, count * ENTRY_SIZE, ENTRY_SIZE):
            fields = data[at : at + _FIELDS.size]
            if _CRC.unpack_from(data, at + _FIELDS.size)[0] != crc32c(fields):
                return None
            offset, raft_index, time, position, crc = _FIELDS.unpack(fields)
            if position <= (index.positions[-1] if at else -1):
                return None
            index.offsets.append(offset)
            index.indexes.append(raft_index)
            index.times.append(time)
            index.positions.append(position)
            index.crcs.append(crc)
        index._restore(count, tail)
        if count:
            index._next_position = index.positions[-1] + interval
        return index
