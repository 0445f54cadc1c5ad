"""Where everything lies: segments, terms and internal entries of one log, as plain state.

It knows no file. `log.log` places each appended entry here and lets jobs write what it says;
`log.recovery` places what it finds on disk; both cut it at a truncation. Segments are named by
the offset they begin with, so one is rolled only when it holds at least one offset. Next: `log`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from quorate_broker.log.disk import Buffer
from quorate_broker.log.index import NO_TIME, IndexTail, Place, SparseIndex
from quorate_broker.log.internals import InternalMap
from quorate_broker.log.terms import TermTable
from quorate_broker.log.told import Told
from quorate_broker.wire import batch
from quorate_broker.wire.batch import HEADER_SIZE, BatchHeader

_BASE_INDEX = attrgetter("base_index")
_BASE_OFFSET = attrgetter("base_offset")


def segment_name(base_offset: int) -> str:
    """File name of a segment, as Kafka's."""
    return f"{base_offset:020d}.log"


def index_name(base_offset: int) -> str:
    """File name of a segment's index; its own format, so not Kafka's ending."""
    return f"{base_offset:020d}.qindex"


@dataclass(frozen=True, slots=True)
class Prefix:
    """What lies before a log's first kept entry: all that a log which begins there must know."""

    index: int
    """Of the last entry before; -1 before everything."""
    term: int
    offset: int
    """Of the first record behind."""
    internals: int
    """Internal entries before."""
    start_offset: int
    membership: bytes
    """The one in effect there."""


@dataclass(frozen=True, slots=True)
class Swap:
    """The cleaned segment of this base offset takes the place of its old self and of others."""

    base_offset: int
    also: list[int]
    """Base offsets of the neighbours behind it whose records it has too."""


@dataclass(slots=True, eq=False)
class Segment:
    """One file of the log. All positions are bytes from its begin."""

    base_offset: int
    base_index: int
    index: SparseIndex | None  # None: sealed and not loaded
    size: int = 0  # entries appended, on disk or not
    handed: int = 0  # up to here given to jobs
    written: int = 0  # up to here on disk, as far as we know
    allocated: int = 0  # size of the file
    handle: int | None = None
    index_entries: int = 0  # entries in the index file
    tail: IndexTail = field(default_factory=IndexTail)  # of the index while it is not loaded
    sealed: bool = False  # written whole and trimmed; never the active one
    has_file: bool = False  # or will have, by the job in flight
    first_timestamp: int = NO_TIME  # of its first batch that has one

    @property
    def name(self) -> str:
        return segment_name(self.base_offset)

    @property
    def index_tail(self) -> IndexTail:
        return self.tail if self.index is None else self.index.tail

    @property
    def max_timestamp(self) -> int:
        """Greatest record time; NO_TIME when there is none."""
        return self.tail.max_timestamp if self.index is None else self.index.max_timestamp


class Layout:
    """The log's shape. `start_offset` may lie inside the first segment."""

    def __init__(self, index_interval: int) -> None:
        self.index_interval = index_interval
        self.start_offset = 0
        self.next_offset = 0
        self.next_index = 0
        self.terms = TermTable()
        self.internals = InternalMap()
        self.told = Told()
        self.clean_to = 0
        """Below this offset all sealed segments were cleaned once."""
        self.segments: list[Segment] = []
        self.hollow = False
        """Whether entries may be missing that this replica once acknowledged."""

    @property
    def first_index(self) -> int:
        """Of the first kept entry."""
        return self.terms.base_index + 1

    @property
    def active(self) -> Segment:
        return self.segments[-1]

    @property
    def size_bytes(self) -> int:
        return sum(segment.size for segment in self.segments)

    def roll(self) -> Segment:
        """Begin a new segment."""
        assert self.may_roll, "no two names"
        segment = Segment(self.next_offset, self.next_index, SparseIndex(self.index_interval))
        self.segments.append(segment)
        return segment

    @property
    def may_roll(self) -> bool:
        """Whether the active segment holds an offset: else the next one had the same name."""
        return not self.segments or self.next_offset > self.active.base_offset

    def must_roll(self, header: BatchHeader, segment_bytes: int, segment_ms: int) -> bool:
        """Whether an entry belongs into a new segment."""
        if not self.segments:
            return True
        active = self.segments[-1]
        is_due = active.size + header.size > segment_bytes or (
            header.max_timestamp - active.first_timestamp > segment_ms
            and active.first_timestamp != NO_TIME
            and not header.is_control
        )
        return is_due and self.may_roll

    def place(self, header: BatchHeader, data: Buffer) -> Place:
        """Append an entry, whose bytes are `data`."""
        segment = self.segments[-1]
        place = Place(self.next_offset, self.next_index, segment.size)
        assert header.base_offset == place.offset, "offsets are contiguous"
        self.terms.note(header.leader_epoch, place.index)
        if header.last_offset_delta < 0:
            self.told.note(batch.parse_internal(data))
            self.internals.add(place.index)
            self.next_index += 1
        else:
            self.next_offset += header.last_offset_delta + 1
            self.next_index += header.last_offset_delta + 1
        note(segment, place, header, data)
        if segment.first_timestamp == NO_TIME and not header.is_control:
            segment.first_timestamp = header.max_timestamp
        segment.size += header.size
        return place

    def segment_of_index(self, index: int) -> Segment:
        """The one that holds (or would hold) the entry at `index`."""
        number = bisect_right(self.segments, index, key=_BASE_INDEX) - 1
        return self.segments[max(0, number)]

    def segment_of_offset(self, offset: int) -> Segment:
        """The one that holds (or would hold) the record of `offset`."""
        number = bisect_right(self.segments, offset, key=_BASE_OFFSET) - 1
        return self.segments[max(0, number)]

    def prefix(self) -> Prefix:
        """What lies before the first kept entry."""
        index = self.terms.base_index
        return Prefix(
            index=index,
            term=self.terms.base_term,
            offset=self.internals.offset_at(index + 1),
            internals=self.internals.base,
            start_offset=self.start_offset,
            membership=self.told.base[1],
        )

    def begin_behind(self, prefix: Prefix) -> None:
        """Forget everything; the next entry is the one behind `prefix`.

        The start is at most there: what moved it further is told again by the entries that follow.
        """
        self.start_offset = min(prefix.start_offset, prefix.offset)
        self.next_offset = prefix.offset
        self.next_index = prefix.index + 1
        self.terms = TermTable(prefix.index, prefix.term)
        self.internals = InternalMap(prefix.internals)
        self.told = Told((prefix.index, prefix.membership))
        self.clean_to = 0
        self.segments = []

    def advance_start(self, offset: int) -> None:
        """Begin at `offset`; `drop_before_start` has more to let go of."""
        self.start_offset = offset
        self.told.started(offset)

    def drop_before_start(self, committed: int) -> list[Segment]:
        """The sealed segments wholly before the start and up to an index, which fall away."""
        offset = self.start_offset
        gone = 0
        while (
            gone + 1 < len(self.segments)
            and self.segments[gone].sealed
            and self.segments[gone + 1].base_offset <= offset
            and self.segments[gone + 1].base_index - 1 <= committed
        ):
            gone += 1
        dropped = self.segments[:gone]
        if gone:
            del self.segments[:gone]
            first_index = self.segments[0].base_index
            self.terms.forget_before(first_index)
            self.internals.forget_before(first_index)
            self.told.forget_before(first_index)
        return dropped

    def swap(self, new: Segment, old: Sequence[Segment]) -> None:
        """`new` stands for its sealed neighbours `old`."""
        at = self.segments.index(old[0])
        assert self.segments[at : at + len(old)] == list(old), "neighbours"
        assert all(segment.sealed for segment in old), "only what is sealed is cleaned"
        self.segments[at : at + len(old)] = [new]

    def cut(self, index: int, position: int) -> list[Segment]:
        """Keep entries up to `index`, which ends at `position` of its segment; what falls away."""
        keep = max(1, bisect_right(self.segments, index + 1, key=_BASE_INDEX))
        dropped = self.segments[keep:]
        del self.segments[keep:]
        self.active.size = position
        if self.active.max_timestamp == NO_TIME:
            self.active.first_timestamp = NO_TIME
        self.next_offset = self.internals.offset_at(index + 1)
        self.next_index = index + 1
        self.internals.truncate_after(index)
        self.terms.truncate_after(index)
        self.told.truncate_after(index)
        return dropped


def note(segment: Segment, place: Place, header: BatchHeader, head: Buffer) -> None:
    """Enter an entry into its segment's index; `head` begins with its header bytes."""
    assert segment.index is not None, "the active segment's index is in memory"
    time = NO_TIME if header.is_control else header.max_timestamp
    with memoryview(head) as view, view[:HEADER_SIZE] as covered:
        segment.index.note(place, covered, time)
