"""What becomes of each entry in a cleaning: kept as it is, written again with fewer records, or
turned into an empty batch. This decides; `cleaner_output` writes.

A record goes when a newer one of its key is in the map, when its transaction was aborted, when it
lies before the log's start, or when it has no key. A tombstone (no value) goes when its batch's
delete horizon has passed: the first cleaning that meets one sets it, `delete.retention.ms` ahead,
and takes everything older of that key away in the same pass (KIP-534). And a tombstone goes only

- below `held_by_all`: a replica that had the older value, but not the tombstone yet, would be sent
  a log without it, and show the old value again as a leader;
- before the first batch whose records are not decided (an open transaction) or cannot be read:
  they may hold an older value that this pass had to leave.

Never touched: internal entries, markers of transactions, entries at or behind the map's end. An
entry whose records all stay, stays byte for byte, so that cleaning twice changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate_broker.log.cleaner_survey import KeyMap, Outcome, Transactions, readable_records
from quorate_broker.log.reader import Found
from quorate_broker.wire import compacted
from quorate_broker.wire.batch import BatchHeader, Record

_LEAST_TIME, _GREATEST_TIME = -(1 << 62), 1 << 62


@dataclass(frozen=True, slots=True)
class Rules:
    """What one cleaning goes by. Times are the wall clock's when it was planned."""

    wall_ms: int
    delete_retention_ms: int
    start_offset: int
    """The log's start."""
    held_by_all: int
    """Every replica of the group holds the log up to this offset."""


@dataclass(frozen=True, slots=True)
class Gap:
    """All records of a batch are gone, and nobody needs its producer's numbers."""

    base_offset: int
    last_offset: int
    term: int


class Filter:
    """Takes the entries of the log in order; counts what it removes."""

    def __init__(self, rules: Rules, keys: KeyMap, transactions: Transactions) -> None:
        self.records_removed = 0
        self.tombstones_removed = 0
        self._rules = rules
        self._keys = keys
        self._transactions = transactions
        self._tombstones_stay = False

    def apply(self, found: Found) -> bytes | bytearray | memoryview | Gap:
        """The entry itself (the same object), or what takes its place."""
        header = found.header
        if header.is_control or header.base_offset >= self._keys.end_offset:
            return found.data
        if header.count == 0:
            return self._empty(found)
        outcome = self._transactions.outcome(header)
        if outcome is Outcome.OPEN:
            self._tombstones_stay = True
            return found.data
        if outcome is Outcome.ABORTED:
            self.records_removed += header.count
            return self._empty(found)
        records = readable_records(found)
        if records is None:
            self._tombstones_stay = True
            return found.data
        return self._filtered(found, records)

    def _filtered(
        self, found: Found, records: list[Record]
    ) -> bytes | bytearray | memoryview | Gap:
        header = found.header
        kept = [record for record in records if self._stays(header, record)]
        self.records_removed += len(records) - len(kept)
        if not kept:
            return self._empty(found)
        horizon = self._new_horizon(header, kept)
        if len(kept) == len(records) and horizon is None:
            return found.data
        return compacted.rewritten(header, kept, horizon)

    def _stays(self, header: BatchHeader, record: Record) -> bool:
        offset = header.base_offset + record.offset_delta
        if offset < self._rules.start_offset or record.key is None:
            return False
        if self._keys.is_shadowed(record.key, offset):
            return False
        if record.value is None and self._may_forget(header):
            self.tombstones_removed += 1
            return False
        return True

    def _may_forget(self, header: BatchHeader) -> bool:
        """Whether the batch's tombstones have been seen by whoever has to see them."""
        horizon = header.delete_horizon_ms
        return (
            horizon is not None
            and horizon <= self._rules.wall_ms
            and header.next_offset <= self._rules.held_by_all
            and not self._tombstones_stay
        )

    def _new_horizon(self, header: BatchHeader, kept: list[Record]) -> int | None:
        """The horizon to be set: once, in a batch with a tombstone whose times leave room."""
        if header.delete_horizon_ms is not None:
            return None
        if all(record.value is not None for record in kept):
            return None
        if not _LEAST_TIME < header.base_timestamp < _GREATEST_TIME:
            return None
        if any(not _LEAST_TIME < record.timestamp_delta < _GREATEST_TIME for record in kept):
            return None
        return self._rules.wall_ms + self._rules.delete_retention_ms

    def _empty(self, found: Found) -> bytes | bytearray | memoryview | Gap:
        header = found.header
        if not self._transactions.is_last(header):
            return Gap(header.base_offset, header.last_offset, header.leader_epoch)
        emptied = compacted.emptied(header)
        return found.data if emptied == found.data else emptied


def gap_bytes(gap: Gap) -> bytearray:
    """The empty batch of nobody that stands for it."""
    return compacted.gap(gap.base_offset, gap.last_offset, gap.term)


def joined(first: Gap, second: Gap) -> Gap | None:
    """Both as one; None when they are of two terms or too long for one. Nothing stands between."""
    if second.term != first.term or second.base_offset != first.last_offset + 1:
        return None
    if second.last_offset - first.base_offset > compacted.MAX_OFFSET_DELTA:
        return None
    return Gap(first.base_offset, second.last_offset, first.term)
