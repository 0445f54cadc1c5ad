"""A walk over sealed segments that reads everything and believes nothing: rot is found while the
other replicas still have the good bytes.

    scrub = Scrub(log)                           on the loop; reads no file
    while scrub.step(1 << 20) is not None: ...   in a disk thread, at the caller's pace
    scrub.is_current(damage)                     on the loop, before anything is done about it

Of each segment: the CRC of every batch, contiguous offsets and indexes, terms that the term table
knows, the length that was synced; of its index file: the CRC of every entry, the places they name,
and the CRC over the headers between them (decision 11). A damaged index harms nobody (it is built
again when it is next loaded) but it is told. Damage is a sentence, never an exception; `OSError`
flies, for the caller knows what a disk error means to it. Next: `cleaner_survey`, the same walk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crc32c import crc32c

from quorate_broker.log.cleaner_survey import entries
from quorate_broker.log.disk import Disk, read_if_there
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.index import IndexTail, SparseIndex
from quorate_broker.log.layout import Segment, index_name
from quorate_broker.log.log import Log
from quorate_broker.log.reader import Found
from quorate_broker.log.terms import TermTable
from quorate_broker.wire.batch import HEADER_SIZE


@dataclass(frozen=True, slots=True)
class Damage:
    """What does not read as it was written."""

    segment: Segment
    what: str
    """A sentence for a person: file, place, what is wrong."""
    harmless: bool = False
    """It can be built again from sound bytes: the replica need not be set aside."""


@dataclass(frozen=True, slots=True)
class _Target:
    """One sealed segment as it was when the scrub was planned."""

    segment: Segment
    index_entries: int | None
    """None: built again in memory, and not written yet."""
    tail: IndexTail


class Scrub:
    """One round over the sealed segments of a log. `step` in a disk thread, one at a time."""

    def __init__(self, log: Log) -> None:
        """On the loop; reads no file."""
        self._log = log
        self._disk: Disk = log.disk
        self._path = log.path
        terms = log.terms
        self._terms = TermTable(terms.base_index, terms.base_term, terms.ranges)
        self._interval = log.settings.index_interval_bytes
        self._targets = [
            _Target(segment, _index_entries(segment), segment.index_tail)
            for segment in log.segments
            if segment.sealed
        ]
        self.bytes_total = sum(target.segment.size for target in self._targets)
        self.bytes_read = 0
        self._walk = self._all()

    def is_current(self, damage: Damage) -> bool:
        """On the loop: whether the log still has that segment. If not, the damage says nothing:
        retention, compaction or a reset took its file away meanwhile."""
        return any(damage.segment is known for known in self._log.segments)

    def step(self, budget_bytes: int) -> list[Damage] | None:
        """Read on for about this many bytes; what was found, None when the round is over."""
        found: list[Damage] = []
        end = self.bytes_read + budget_bytes
        for damage in self._walk:
            if damage is not None:
                found.append(damage)
            if self.bytes_read >= end:
                return found
        return found or None

    def _all(self) -> Iterator[Damage | None]:
        for target in self._targets:
            segment = target.segment
            try:
                yield from self._one(target)
            except CorruptLogError as error:
                yield Damage(segment, str(error))
            except FileNotFoundError:
                yield Damage(segment, f"{segment.name} is gone")

    def _one(self, target: _Target) -> Iterator[Damage | None]:
        """The damage in one segment; None now and then, so that a step can end."""
        segment = target.segment
        index = self._index(target)
        if index is None:
            name = index_name(segment.base_offset)
            yield Damage(segment, f"{name}: an entry is damaged or missing", harmless=True)
        headers = _Headers(segment, index)
        for found in entries(self._disk, self._path, segment, self._terms, self._spent):
            what = headers.note(found)
            yield Damage(segment, what) if what is not None else None
        what = headers.at_end(target.tail)
        if what is not None:
            yield Damage(segment, what)

    def _index(self, target: _Target) -> SparseIndex | None:
        if target.index_entries is None:
            return None
        name = f"{self._path}/{index_name(target.segment.base_offset)}"
        data = read_if_there(self._disk, name) or b""
        return SparseIndex.decode(data, target.index_entries, self._interval, target.tail)

    def _spent(self, size: int) -> None:
        self.bytes_read += size


def _index_entries(segment: Segment) -> int | None:
    is_behind = segment.index is not None and segment.index_entries < len(segment.index)
    return None if is_behind else segment.index_entries


class _Headers:
    """Follows a segment's headers beside its index; one sentence is enough."""

    def __init__(self, segment: Segment, index: SparseIndex | None) -> None:
        self._segment = segment
        self._index = index
        self._due = 0
        self._crc = 0

    def note(self, found: Found) -> str | None:
        """The next entry; what is wrong before it."""
        what = None
        index = self._index
        if index is not None and self._due < len(index):
            place = index.place(self._due)
            if found.place == place:
                what = self._check(index.crcs[self._due], place.position)
                self._due += 1
                self._crc = 0
            elif found.place.position >= place.position:
                what = f"{self._segment.name} at {place.position}: not what the index says is there"
        if what is not None:
            self._index = None
        self._crc = crc32c(found.data[:HEADER_SIZE], self._crc)
        return what

    def at_end(self, tail: IndexTail) -> str | None:
        """After the last entry."""
        if self._index is None:
            return None
        if self._due < len(self._index):
            return (
                f"{self._segment.name} ends before {self._index.positions[self._due]}, as indexed"
            )
        return self._check(tail.header_crc, self._segment.size)

    def _check(self, expected: int, position: int) -> str | None:
        if self._crc == expected:
            return None
        return (
            f"{self._segment.name}: the checksum over the headers before {position} does not hold"
        )
