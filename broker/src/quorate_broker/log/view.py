"""The reading half of a log: where it ends, which term wrote what, and its bytes.

New entries come from memory, old ones from disk, checked; the caller does not see which. Reads of
old entries block the caller for as long as the disk takes. `log.Log` adds the writing half. Next:
`reader`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quorate_broker.log import lookup
from quorate_broker.log.errors import BelowLogStartError, CorruptLogError
from quorate_broker.log.layout import Layout, Segment
from quorate_broker.log.openfiles import OpenFiles
from quorate_broker.log.reader import Found
from quorate_broker.log.tail import Tail
from quorate_broker.log.terms import TermTable
from quorate_broker.wire import batch
from quorate_broker.wire.batch import BatchHeader

_REPLAY_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class Slice:
    """Whole entries for a follower; `last_index` = first_index - 1 when there is nothing."""

    batches: list[memoryview]
    last_index: int


class LogView:
    """What may be asked of a log without changing it."""

    def __init__(self, path: str, layout: Layout, files: OpenFiles, corrupt: str | None) -> None:
        self.corrupt = corrupt
        """Why these bytes cannot be trusted (found at open or by a later read), else None."""
        self.clean_to = 0
        """Everything below this offset was cleaned once (`cleaner`); 0 without compaction."""
        self._path = path
        self._layout = layout
        self._files = files
        self._tail = Tail()

    # ------------------------------------------------------------------------------ where it ends

    @property
    def start_offset(self) -> int:
        return self._layout.start_offset

    @property
    def next_offset(self) -> int:
        return self._layout.next_offset

    @property
    def first_index(self) -> int:
        """Of the first kept entry; 0 in a log that never was trimmed."""
        return self._layout.first_index

    @property
    def last_index(self) -> int:
        """-1 when there never was an entry."""
        return self._layout.next_index - 1

    @property
    def last_term(self) -> int:
        """0 when there never was an entry."""
        return self._layout.terms.last

    @property
    def size_bytes(self) -> int:
        return self._layout.size_bytes

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All of them, the active one last; for the cleaner and the scrubber."""
        return tuple(self._layout.segments)

    @property
    def terms(self) -> TermTable:
        return self._layout.terms

    @property
    def membership(self) -> tuple[int, bytes]:
        """(index, content) of the newest membership entry, committed or not.

        Without an entry: the founding one, of index -1 (or a snapshot's, of its index).
        """
        return self._layout.told.membership

    @property
    def starts(self) -> list[tuple[int, int]]:
        """(index, offset) of each entry that moves the log's start and is not carried out yet."""
        return list(self._layout.told.starts)

    @property
    def hollow(self) -> bool:
        """Entries may be missing that this replica acknowledged: it grants no vote until filled."""
        return self._layout.hollow

    # ------------------------------------------------------------------------------------ reading

    def term_at(self, index: int) -> int | None:
        """Also answers for first_index - 1 (index -1: term 0). None before that and at the end."""
        return self._layout.terms.at(index) if index <= self.last_index else None

    def end_of_term(self, term: int) -> tuple[int, int]:
        """(greatest known term <= `term`, its last index); (0, -1) when all known are greater."""
        return self._layout.terms.end_of(term, self.last_index)

    def end_offset_of_term(self, term: int) -> tuple[int, int]:
        """As Kafka's OffsetForLeaderEpoch: (term, end offset), (-1, -1) for a term to come."""
        terms = self._layout.terms
        if term == terms.last:
            return term, self.next_offset
        start = terms.start_after(term)
        if start is None:
            return -1, -1
        known, last_index = terms.end_of(term, self.last_index)
        return known if last_index >= self.first_index else term, self._layout.internals.offset_at(
            start
        )

    def high_watermark(self, commit_index: int) -> int:
        """The offset behind the last record at or below `commit_index`."""
        return self._layout.internals.offset_at(commit_index + 1)

    def index_of_offset(self, offset: int) -> int:
        """The index of the record that has, or will have, this offset."""
        return self._layout.internals.index_of(offset)

    def slice(self, first_index: int, max_bytes: int) -> Slice:
        """Entries from the one that begins at `first_index`, internals too; at least one.

        Raises BelowLogStartError when they are gone, CorruptLogError when they do not read back.
        """
        self._must_be_sound()
        if first_index < self.first_index:
            raise BelowLogStartError(f"index {first_index} is before {self.first_index}")
        assert first_index <= self.last_index + 1, "not behind the end"
        if first_index > self.last_index:
            return Slice([], self.last_index)
        if self._tail.covers_index(first_index):
            entries = self._tail.slice(first_index, max_bytes)
            assert entries[0].first_index == first_index, "an index at a batch border"
            return Slice([entry.data for entry in entries], entries[-1].last_index)
        segment = self._layout.segment_of_index(first_index)
        batches: list[memoryview] = []
        last_index = first_index - 1
        left = max_bytes
        for found in self._old_entries(segment, first_index, max_bytes):
            assert found.place.index >= first_index, "an index at a batch border"
            left -= len(found.data)
            if left < 0 and batches:
                break
            batches.append(found.data)
            last_index = found.last_index
        return Slice(batches, last_index)

    def read(self, offset: int, max_bytes: int, end_offset: int) -> list[memoryview]:
        """Whole batches, no internals; the first contains `offset`; all end <= `end_offset`.

        At least one, if there is one. Raises BelowLogStartError, CorruptLogError.
        """
        self._must_be_sound()
        if offset < self.start_offset:
            raise BelowLogStartError(f"offset {offset} is before {self.start_offset}")
        end_offset = min(end_offset, self.next_offset)
        if offset >= end_offset:
            return []
        if self._tail.covers_offset(offset):
            return self._tail.read(offset, max_bytes, end_offset)
        batches: list[memoryview] = []
        left = max_bytes
        segment = self._layout.segment_of_offset(offset)
        for found in self._old_entries(segment, self.index_of_offset(offset), max_bytes):
            if found.header.next_offset > end_offset:
                break
            if found.is_internal:
                continue
            left -= len(found.data)
            if left < 0 and batches:
                break
            batches.append(found.data)
        return batches

    def _old_entries(self, segment: Segment, index: int, max_bytes: int) -> Iterator[Found]:
        """Entries of one segment from the one that holds `index`, read from disk and checked."""
        try:
            reader = self._files.reader(segment)
            assert segment.index is not None, "loaded"
            number = segment.index.floor_of_index(index)
            yield from reader.entries(number, index, max_bytes + segment.index.interval)
        except CorruptLogError as error:
            self.corrupt = f"{self._path}: {error}"
            raise

    def _load_index(self, segment: Segment) -> None:
        if segment.index is None:
            self._files.prepare(segment)

    def _must_be_sound(self) -> None:
        if self.corrupt is not None:
            raise CorruptLogError(self.corrupt)

    def walk(self, index: int, step: int) -> Iterator[tuple[int, BatchHeader, memoryview]]:
        """(first index, header, bytes) of every entry from the one that begins at `index`."""
        while index <= self.last_index:
            for data in self.slice(index, step).batches:
                header = batch.parse_header(data)
                yield index, header, data
                index += max(1, header.last_offset_delta + 1)

    def replay_headers(self, from_index: int) -> Iterator[tuple[int, BatchHeader]]:
        """(index of its last record, header) of every entry that begins at or after `from_index`,
        internal ones too; call with `checkpoint_index + 1`."""
        for first_index, header, _ in self.walk(from_index, _REPLAY_STEP):
            yield first_index + max(0, header.last_offset_delta), header

    def offset_for_time(self, timestamp_ms: int, end_offset: int) -> tuple[int, int] | None:
        """(offset, timestamp) of the first record below `end_offset` not older than this."""
        return lookup.first_not_older(self, timestamp_ms, end_offset)

    def max_timestamp(self, end_offset: int) -> tuple[int, int] | None:
        """(offset, timestamp) of the first record below `end_offset` with the greatest time."""
        return lookup.newest(self, end_offset)

    def indexed_segments(self) -> Iterator[Segment]:
        """Segments in order, each with its index loaded; for `lookup`."""
        for segment in self._layout.segments:
            self._load_index(segment)
            yield segment
