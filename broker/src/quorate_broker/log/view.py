"""The reading half of a log: where it ends, which term wrote what, and its bytes.

New entries come from memory, old ones from disk, checked; the caller does not see which. Reads of
old entries block the caller for as long as the disk takes. `log.Log` adds the writing half. Next:
`reader`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quorate_broker.log import lookup
from quorate_broker.log.cold import ColdRead
from quorate_broker.log.errors import BelowLogStartError, CorruptLogError
from quorate_broker.log.layout import Layout, Prefix, Segment
from quorate_broker.log.openfiles import OpenFiles
from quorate_broker.log.reader import Found
from quorate_broker.log.tail import Tail
from quorate_broker.log.terms import TermTable
from quorate_broker.wire import batch
from quorate_broker.wire.batch import BatchHeader

_REPLAY_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class Slice:
    """Whole entries for a follower; `last_index` = first_index - 1 when there is nothing.

    The first one may begin before the index that was asked for: compaction merges neighbours.
    """

    batches: list[memoryview]
    last_index: int
    first_index: int = -1
    """Where the first entry begins."""


class LogView:
    """What may be asked of a log without changing it."""

    def __init__(self, path: str, layout: Layout, files: OpenFiles, corrupt: str | None) -> None:
        self.corrupt = corrupt
        """Why these bytes cannot be trusted (found at open or by a later read), else None."""
        self._path = path
        self._layout = layout
        self._files = files
        self._tail = Tail()
        self._state: tuple[int, bytes] | None = None

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

    @property
    def state(self) -> tuple[int, bytes] | None:
        """(index, content) of the hosted state that was put last, on disk or about to be."""
        return self._state

    @property
    def clean_to(self) -> int:
        """Everything below this offset was cleaned once (`cleaner`); 0 without compaction."""
        return self._layout.clean_to

    def prefix(self) -> Prefix:
        """What lies before `first_index`: all that `reset` needs to begin there elsewhere."""
        return self._layout.prefix()

    def retention_start(
        self, wall_ms: int, retention_ms: int, retention_bytes: int, high_watermark: int
    ) -> int:
        """Where the log may begin by these limits (-1: none): at a segment's border, as Kafka.

        A segment may go when its newest record is older than `retention_ms`, or when the others
        are `retention_bytes` without it; the active one too, if all of it is committed.
        """
        start = self.start_offset
        excess = self.size_bytes - retention_bytes
        for segment, end in self._ends():
            if end > high_watermark or end == segment.base_offset:
                break
            is_old = retention_ms >= 0 and segment.max_timestamp < wall_ms - retention_ms
            is_much = retention_bytes >= 0 and excess >= segment.size
            if not (is_old or is_much):
                break
            excess -= segment.size
            start = max(start, end)
        return start

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
        """Entries from the one that holds `first_index`, internals too; at least one.

        Raises BelowLogStartError when they are gone, CorruptLogError when they do not read back.
        """
        self._must_be_sound()
        if first_index < self.first_index:
            raise BelowLogStartError(f"index {first_index} is before {self.first_index}")
        assert first_index <= self.last_index + 1, "not behind the end"
        if first_index > self.last_index:
            return Slice([], self.last_index, first_index)
        if self._tail.covers_index(first_index):
            entries = self._tail.slice(first_index, max_bytes)
            begin, last_index = entries[0].first_index, entries[-1].last_index
            return Slice([entry.data for entry in entries], last_index, begin)
        segment = self._layout.segment_of_index(first_index)
        batches: list[memoryview] = []
        begin, last_index = first_index, first_index - 1
        left = max_bytes
        for found in self._old_entries(segment, first_index, max_bytes):
            left -= len(found.data)
            if left < 0 and batches:
                break
            if not batches:
                begin = found.place.index
            batches.append(found.data)
            last_index = found.last_index
        return Slice(batches, last_index, begin)

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

    def cold(self, offset: int, max_bytes: int) -> ColdRead | None:
        """What a disk thread should do before `read` is called with the same arguments.

        None when it would be of no use: the bytes are in memory, or there are none.
        """
        if not self.start_offset <= offset < self.next_offset or self._tail.covers_offset(offset):
            return None
        segment = self._layout.segment_of_offset(offset)
        from_index = self.index_of_offset(offset)
        begin = None
        if segment.index is not None:
            number = segment.index.floor_of_index(from_index)
            begin = segment.index.positions[number] if number >= 0 else 0
        return self._files.cold(segment, from_index, begin, max_bytes)

    def warmed(self, done: ColdRead) -> None:
        """On the loop, after `run`: keep the index that it loaded, if it is still of use."""
        segment = done.segment
        if segment in self._layout.segments and segment.sealed and segment.index is None:
            segment.index = done.index

    def _old_entries(self, segment: Segment, index: int, max_bytes: int) -> Iterator[Found]:
        """Entries of one segment from the one that holds `index`, read from disk and checked."""
        try:
            reader = self._files.reader(segment)
            assert segment.index is not None, "loaded"
            number = segment.index.floor_of_index(index)
            found = None
            for found in reader.entries(number, index, max_bytes + segment.index.interval):
                yield found
            if found is None:  # else a walk would ask again for ever
                raise CorruptLogError(f"{segment.name}: its index leads past index {index}")
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
        """(first index, header, bytes) of every entry from the one that holds `index`."""
        while index <= self.last_index:
            found = self.slice(index, step)
            index = found.first_index
            for data in found.batches:
                header = batch.parse_header(data)
                yield index, header, data
                index += max(1, header.last_offset_delta + 1)

    def replay_headers(self, from_index: int) -> Iterator[tuple[int, BatchHeader]]:
        """(index of its last record, header) of every entry that ends at or after `from_index`,
        internal ones too; call with `checkpoint_index + 1`."""
        for first_index, header, _ in self.walk(from_index, _REPLAY_STEP):
            yield first_index + max(0, header.last_offset_delta), header

    def offset_for_time(self, timestamp_ms: int, end_offset: int) -> tuple[int, int] | None:
        """(offset, timestamp) of the first record below `end_offset` not older than this."""
        return lookup.first_not_older(self, timestamp_ms, end_offset)

    def max_timestamp(self, end_offset: int) -> tuple[int, int] | None:
        """(offset, timestamp) of the first record below `end_offset` with the greatest time."""
        return lookup.newest(self, end_offset)

    def segments_since(self, least_ms: int) -> Iterator[tuple[Segment, int]]:
        """(segment, end offset) of those with a record of at least this time; index loaded."""
        for segment, end in self._ends():
            if segment.max_timestamp >= least_ms:
                self._load_index(segment)
                yield segment, end

    def _ends(self) -> list[tuple[Segment, int]]:
        segments = self._layout.segments
        ends = [segment.base_offset for segment in segments[1:]]
        return list(zip(segments, [*ends, self.next_offset], strict=True)) if segments else []
