"""One segment, batch by batch: what stands in it, and where it stops making sense.

The walk is its own, so that it is a second opinion on what recovery and readers do. Next: `read`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field

from quorate_broker.inspection.facts import Batch, Segment
from quorate_broker.log.disk import Disk
from quorate_broker.log.files import opened
from quorate_broker.log.scan import inspect_rest
from quorate_broker.log.terms import TermTable
from quorate_broker.wire import batch
from quorate_broker.wire.batch import HEADER_SIZE, BatchHeader

_MOST_PRODUCERS = 1_000


@dataclass(slots=True)
class Expected:
    """What a segment has to continue; moves on with the walk. None: not known."""

    offset: int
    index: int | None = None
    term: int = 0
    terms: TermTable | None = None
    """As the checkpoint has them, up to the index `known_to`."""
    known_to: int = -1

    def is_term(self, term: int) -> bool:
        """Whether the next entry may be of this term."""
        if self.terms is not None and self.index is not None and self.index <= self.known_to:
            return self.terms.at(self.index) in (None, term)
        return term >= self.term


@dataclass(slots=True)
class Scanned:
    """What a walk gathered."""

    end: int = 0
    problem: str | None = None
    batches: int = 0
    records: int = 0
    first_term: int = -1
    last_term: int = -1
    max_timestamp: int = -1
    producers: dict[int, None] = field(default_factory=dict)
    listed: list[Batch] = field(default_factory=list)

    def note(self, found: Batch, *, wants_list: bool) -> None:
        """A sound entry."""
        self.end = found.position + found.size
        self.batches += 1
        self.records += found.count
        self.first_term = found.term if self.batches == 1 else self.first_term
        self.last_term = found.term
        self.max_timestamp = max(self.max_timestamp, found.max_timestamp)
        if found.producer_id >= 0 and len(self.producers) < _MOST_PRODUCERS:
            self.producers[found.producer_id] = None
        if wants_list:
            self.listed.append(found)


@dataclass(frozen=True, slots=True)
class Claim:
    """What is known of a segment before it is read, and whether its batches are to be listed."""

    wants_list: bool
    synced_bytes: int | None = None
    index_entries: int | None = None
    is_last: bool = True


def scan(disk: Disk, handle: int, expected: Expected, *, wants_list: bool) -> Scanned:
    """Walk from the begin to the first byte that makes no sense, or the end."""
    size = disk.size(handle)
    scanned = Scanned()
    while scanned.end < size:
        head = disk.pread(handle, HEADER_SIZE, scanned.end)
        if not any(head):
            scanned.problem = "zeros"
            return scanned
        try:
            header = batch.parse_header(head)
            data = disk.pread(handle, min(header.size, size - scanned.end), scanned.end)
            problem = _problem(header, data, expected)
        except batch.BatchError as error:
            problem = error.message or error.code.name
        if problem is not None:
            scanned.problem = problem
            return scanned
        scanned.note(_facts(header, data, scanned.end, expected.index), wants_list=wants_list)
        _follow(expected, header)
    return scanned


def _problem(header: BatchHeader, data: bytes, expected: Expected) -> str | None:
    if header.size > len(data):
        return "the batch is cut short"
    if not batch.verify_crc(data, header):
        return "the batch's checksum does not hold"
    if header.base_offset != expected.offset:
        return f"offset {header.base_offset} where {expected.offset} belongs"
    if not expected.is_term(header.leader_epoch):
        return f"term {header.leader_epoch}, which is not the one that belongs here"
    if header.is_internal:
        entry = batch.parse_internal(data)
        if expected.index is not None and entry.index != expected.index:
            return f"an internal entry of index {entry.index} where {expected.index} belongs"
        expected.index = entry.index
    return None


def _facts(header: BatchHeader, data: bytes, position: int, index: int | None) -> Batch:
    return Batch(
        position=position,
        size=header.size,
        base_offset=header.base_offset,
        last_offset=header.last_offset,
        index=index,
        term=header.leader_epoch,
        kind=_kind(header, data),
        count=header.count,
        codec=batch.Codec(header.codec).name.lower() if header.codec <= 4 else str(header.codec),
        producer_id=header.producer_id,
        producer_epoch=header.producer_epoch,
        base_sequence=header.base_sequence,
        max_timestamp=header.max_timestamp,
        crc_holds=True,
    )


def _kind(header: BatchHeader, data: bytes) -> str:
    if header.is_internal:
        return batch.parse_internal(data).kind.name.lower().replace("_", " ")
    if header.is_control:
        return "marker"
    if header.count == 0:
        return "empty"
    return "transaction" if header.is_transactional else "records"


def _follow(expected: Expected, header: BatchHeader) -> None:
    expected.offset = header.next_offset
    expected.term = header.leader_epoch
    if expected.index is not None:
        expected.index += max(1, header.last_offset_delta + 1)


def read_segment(disk: Disk, file: str, expected: Expected, claim: Claim) -> Segment:
    """All about one file; `expected` stands behind its last sound entry afterwards."""
    base_offset = expected.offset
    damage: list[str] = []
    notes: list[str] = []
    with opened(disk, file) as handle:
        file_bytes = disk.size(handle)
        scanned = scan(disk, handle, expected, wants_list=claim.wants_list)
        for text, is_bad in _rest(disk, handle, scanned, expected.offset, claim):
            (damage if is_bad else notes).append(text)
    return Segment(
        name=posixpath.basename(file),
        base_offset=base_offset,
        next_offset=expected.offset,
        file_bytes=file_bytes,
        entry_bytes=scanned.end,
        synced_bytes=claim.synced_bytes,
        index_entries=claim.index_entries,
        batches=scanned.batches,
        records=scanned.records,
        first_term=scanned.first_term,
        last_term=scanned.last_term,
        max_timestamp=scanned.max_timestamp,
        producers=list(scanned.producers),
        listed=scanned.listed,
        damage=damage,
        notes=notes,
    )


def _rest(
    disk: Disk, handle: int, scanned: Scanned, next_offset: int, claim: Claim
) -> Iterator[tuple[str, bool]]:
    """Sentences about what stands behind the last sound entry; True: it is damage."""
    if claim.synced_bytes is not None and scanned.end < claim.synced_bytes:
        problem = scanned.problem or "the file ends"
        yield f"{problem}, at byte {scanned.end} of {claim.synced_bytes} that were synced", True
        return
    rest = inspect_rest(disk, handle, scanned.end, disk.size(handle), next_offset)
    if rest.valid_at is not None and not rest.is_hole:
        yield (
            f"bad bytes at {scanned.end} ({scanned.problem}), but a valid batch behind them at "
            f"{rest.valid_at}",
            True,
        )
    elif rest.torn_bytes:
        yield (
            f"{rest.torn_bytes} bytes behind the last whole batch, at {scanned.end} "
            f"({scanned.problem}): a torn write, which the next start cuts off",
            not claim.is_last,
        )
