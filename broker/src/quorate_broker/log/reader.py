"""Reading a segment back: one pread, a walk over headers, and no byte believed unchecked.

The position to begin with comes from the sparse index. Every batch that is handed out passed its
CRC; offsets must be contiguous, internal entries must know their own index, terms must be those
of the term table, and where the walk crosses an index entry the CRC over the headers must hold.
Whatever fails was synced once: `CorruptLogError`. Next: `recovery`, which reads less trusted bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crc32c import crc32c

from quorate_broker.log.disk import Disk
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.index import NO_TIME, Place, SparseIndex
from quorate_broker.log.layout import Segment
from quorate_broker.log.terms import TermTable
from quorate_broker.wire import batch
from quorate_broker.wire.batch import HEADER_SIZE, BatchHeader

_LEAST_READ = 16 << 10
_REBUILD_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """One whole entry in a segment."""

    place: Place
    header: BatchHeader
    data: memoryview

    @property
    def last_index(self) -> int:
        return self.place.index + max(0, self.header.last_offset_delta)

    @property
    def is_internal(self) -> bool:
        return self.header.last_offset_delta < 0

    @property
    def end_position(self) -> int:
        return self.place.position + self.header.size


def follow(place: Place, header: BatchHeader) -> Place:
    """Where the entry behind this one begins."""
    delta = header.last_offset_delta
    return Place(
        place.offset + delta + 1, place.index + max(1, delta + 1), place.position + header.size
    )


def why_not_next(place: Place, header: BatchHeader, data: memoryview) -> str | None:
    """What is wrong with an entry that should stand at `place`; None: it is whole and in line."""
    if header.base_offset != place.offset:
        return f"offset {header.base_offset} where {place.offset} belongs"
    if not batch.verify_crc(data, header):
        return "its checksum does not hold"
    if header.last_offset_delta < 0:
        entry = batch.parse_internal(data)
        if entry.index != place.index:
            return f"an internal entry of index {entry.index} where {place.index} belongs"
    return None


class SegmentReader:
    """Reads entries of one written segment, in order, from an index entry on."""

    def __init__(self, disk: Disk, segment: Segment, terms: TermTable) -> None:
        assert segment.handle is not None, "open before reading"
        assert segment.index is not None, "loaded before reading"
        self._disk = disk
        self._handle = segment.handle
        self._index = segment.index
        self._terms = terms
        self._end = min(segment.size, segment.written)
        self._begin = Place(segment.base_offset, segment.base_index, 0)
        self._name = segment.name

    def entries(self, number: int, wanted_from: int, read_bytes: int) -> Iterator[Found]:
        """Entries from index entry `number` (-1: the begin) to the written end of the segment.

        Those that end before Raft index `wanted_from` are skipped without looking behind their
        header; all others are checked. `read_bytes` at a time are read.
        """
        place = self._index.place(number) if number >= 0 else self._begin
        due = number + 1  # the index entry whose CRC is being gathered
        crc = 0
        step = max(read_bytes, _LEAST_READ)
        while place.position < self._end:
            chunk = memoryview(self._read(place, step))
            at = 0
            while len(chunk) - at >= HEADER_SIZE:
                header = self._header(chunk, at, place)
                if at + header.size > len(chunk):
                    break
                if due < len(self._index) and place.position == self._index.positions[due]:
                    self._check_headers(crc, due)
                    due, crc = due + 1, 0
                crc = crc32c(chunk[at : at + HEADER_SIZE], crc)
                data = chunk[at : at + header.size]
                behind = follow(place, header)
                if behind.index > wanted_from:
                    self._check(place, header, data)
                    yield Found(place, header, data)
                at += header.size
                place = behind
            if at == 0:
                step = self._larger(chunk, place)

    def _read(self, place: Place, step: int) -> bytes:
        wanted = min(step, self._end - place.position)
        data = self._disk.pread(self._handle, wanted, place.position)
        if len(data) < wanted:
            raise self._corrupt(place, "the file ends too early")
        return data

    def _larger(self, chunk: memoryview, place: Place) -> int:
        """The step that takes in the entry at `place`, which is longer than `chunk`."""
        if len(chunk) < HEADER_SIZE:
            raise self._corrupt(place, "a batch header is cut short")
        size = self._header(chunk, 0, place).size
        if place.position + size > self._end:
            raise self._corrupt(place, "a batch is cut short")
        return size

    def _header(self, chunk: memoryview, at: int, place: Place) -> BatchHeader:
        try:
            return batch.parse_header(chunk, at)
        except batch.BatchError as error:
            raise self._corrupt(place, str(error)) from error

    def _check(self, place: Place, header: BatchHeader, data: memoryview) -> None:
        try:
            reason = why_not_next(place, header, data)
        except batch.BatchError as error:
            raise self._corrupt(place, str(error)) from error
        if reason is None and self._terms.at(place.index) != header.leader_epoch:
            reason = f"term {header.leader_epoch} where the term table says otherwise"
        if reason is not None:
            raise self._corrupt(place, reason)

    def _check_headers(self, crc: int, due: int) -> None:
        if crc != self._index.crcs[due]:
            place = self._index.place(due)
            raise self._corrupt(place, "the checksum over the headers before it does not hold")

    def _corrupt(self, place: Place, reason: str) -> CorruptLogError:
        return CorruptLogError(f"{self._name} at {place.position}, offset {place.offset}: {reason}")


def rebuild_index(disk: Disk, segment: Segment, terms: TermTable, interval: int) -> SparseIndex:
    """The index of a written segment from its batches, all of which must be sound."""
    index = SparseIndex(interval)
    lone = Segment(segment.base_offset, segment.base_index, SparseIndex(interval))
    lone.size, lone.written, lone.handle = segment.size, segment.written, segment.handle
    for found in SegmentReader(disk, lone, terms).entries(-1, 0, _REBUILD_STEP):
        time = NO_TIME if found.header.is_control else found.header.max_timestamp
        index.note(found.place, found.data[:HEADER_SIZE], time)
    return index
