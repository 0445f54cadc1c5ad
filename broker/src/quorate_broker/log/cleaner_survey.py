"""What a cleaning must know before it drops anything: the newest record of each key, how each
transaction ended, and which batch of a producer is its last.

Sealed segments are walked from begin to end, with the same checks as any read; bytes that do not
hold are `CorruptLogError`, never copied. All of it is bounded: when the map of keys is full, the
cleaning ends there (`KeyMap.end_offset`) and the next one goes on behind. Next: `cleaner_filter`.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from operator import itemgetter

from quorate_broker.log.disk import Disk
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.files import opened
from quorate_broker.log.index import Place
from quorate_broker.log.layout import Segment
from quorate_broker.log.reader import Found
from quorate_broker.log.scan import sound_entries
from quorate_broker.log.terms import TermTable
from quorate_broker.wire import batch
from quorate_broker.wire.batch import BatchHeader, Record

DIGEST_BYTES = 16
MAX_PRODUCERS = 20_000
"""As many as a partition remembers; the least recently active ones beyond it are forgotten."""

_BEGIN = itemgetter(0)
_ABORT = b"\x00\x00\x00\x00"  # key of a marker: version 0, type 0 (1 is a commit)


class Outcome(Enum):
    """How the transaction of a batch ended, as far as the walked segments tell."""

    VISIBLE = "visible"  # committed, or never in a transaction
    ABORTED = "aborted"
    OPEN = "open"


def entries(
    disk: Disk, path: str, segment: Segment, terms: TermTable, spent: Callable[[int], None]
) -> Iterator[Found]:
    """All entries of a sealed segment, checked; `spent` hears of the bytes of each.

    Raises CorruptLogError and OSError.
    """
    end = 0
    with opened(disk, f"{path}/{segment.name}") as handle:
        begin = Place(segment.base_offset, segment.base_index, 0)
        for found in sound_entries(disk, handle, begin, 0):
            if end == segment.size:
                break
            if terms.at(found.place.index) not in (None, found.header.leader_epoch):
                raise CorruptLogError(
                    f"{segment.name} at {end}: term {found.header.leader_epoch} where the term "
                    "table says otherwise"
                )
            end = found.end_position
            spent(found.header.size)
            yield found
    if end != segment.size:
        raise CorruptLogError(f"{segment.name} at {end}: what stands there is no entry of this log")


def readable_records(found: Found) -> list[Record] | None:
    """The records of a batch; None if a consumer could not read them either.

    Nobody looks into batches of topics that are not compacted, so there may be some whose records
    cannot be decoded, or give offsets that are not the batch's: those stay as they are.
    """
    try:
        records = batch.records(found.data)
    except batch.BatchError:
        return None
    before = -1
    for record in records:
        if not before < record.offset_delta <= found.header.last_offset_delta:
            return None
        before = record.offset_delta
    return records


class Transactions:
    """How transactions ended, and each producer's last batch: gathered from headers in log order.

    Only the exceptions are remembered, committed is the rule: ranges of offsets that were aborted
    (their records go, so the next cleaning meets none of them) and what is open at the end.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._aborts = 0
        self._open: dict[int, int] = {}  # producer -> first offset since its last marker
        self._aborted: dict[int, list[tuple[int, int]]] = {}  # producer -> [first, marker)
        self._last: dict[int, int] = {}  # producer -> base offset; least recently active first

    @property
    def is_full(self) -> bool:
        """The cleaning ends with this segment; the rest is for the next one."""
        return self._aborts + len(self._open) >= self._capacity

    def note(self, found: Found) -> None:
        """The next entry of the log."""
        header = found.header
        if header.producer_id < 0:
            return
        if header.is_control:
            self._note_marker(found)
            return
        if header.is_transactional:
            self._open.setdefault(header.producer_id, header.base_offset)
        self._last.pop(header.producer_id, None)
        self._last[header.producer_id] = header.base_offset
        if len(self._last) > MAX_PRODUCERS:
            del self._last[next(iter(self._last))]

    def _note_marker(self, found: Found) -> None:
        producer_id = found.header.producer_id
        begin = self._open.pop(producer_id, None)
        if begin is None:
            return
        records = readable_records(found) or []
        if any(record.key is not None and record.key[:4] == _ABORT for record in records):
            ranges = self._aborted.setdefault(producer_id, [])
            ranges.append((begin, found.header.base_offset))
            self._aborts += 1

    def outcome(self, header: BatchHeader) -> Outcome:
        """Of the batch of this header; ask when all of the log was noted."""
        if not header.is_transactional:
            return Outcome.VISIBLE
        open_from = self._open.get(header.producer_id)
        if open_from is not None and header.base_offset >= open_from:
            return Outcome.OPEN
        ranges = self._aborted.get(header.producer_id, [])
        number = bisect_right(ranges, header.base_offset, key=_BEGIN) - 1
        if number >= 0 and header.base_offset < ranges[number][1]:
            return Outcome.ABORTED
        return Outcome.VISIBLE

    def is_last(self, header: BatchHeader) -> bool:
        """Whether nothing but this batch tells the last sequence number of its producer."""
        return header.producer_id >= 0 and self._last.get(header.producer_id) == header.base_offset


class KeyMap:
    """Key -> offset of its newest record, up to `end_offset`. Longer keys by their digest.

    BLAKE2b of 128 bits: two keys that share one would be found before they are met by chance. A
    short key stands for itself; it cannot be taken for a digest, which is longer.
    """

    def __init__(self, capacity: int, begin_offset: int) -> None:
        self.end_offset = begin_offset
        self._capacity = capacity
        self._newest: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._newest)

    def has_room(self, header: BatchHeader) -> bool:
        """One batch always fits, or a large one would end all cleaning."""
        return not self._newest or len(self._newest) + header.count <= self._capacity

    def note(self, base_offset: int, records: Sequence[Record]) -> None:
        """The next visible records of the log."""
        for record in records:
            if record.key is not None:
                self._newest[_short(record.key)] = base_offset + record.offset_delta

    def is_shadowed(self, key: bytes, offset: int) -> bool:
        """Whether a newer record has this key."""
        return self._newest.get(_short(key), -1) > offset


def _short(key: bytes) -> bytes:
    if len(key) < DIGEST_BYTES:
        return key
    return hashlib.blake2b(key, digest_size=DIGEST_BYTES).digest()
