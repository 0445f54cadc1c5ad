"""The newest entries in memory: what is not written yet, and a bounded cache of what is.

Followers and readers at the end of the log are served from here without touching the disk. The
part not yet handed to a job is never dropped; the rest goes, oldest first, when the bytes exceed
the limit. Next: `log`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from quorate_broker.log.layout import Segment

ENTRY_BYTES = 512
"""What an entry costs beside its data: small batches would else cost many times the limit."""


@dataclass(slots=True)
class Entry:
    """A batch or an internal entry (which ends at the offset where it begins)."""

    first_index: int
    last_index: int
    base_offset: int
    next_offset: int
    segment: Segment
    position: int
    data: memoryview

    @property
    def is_internal(self) -> bool:
        return self.base_offset == self.next_offset

    @property
    def cost(self) -> int:
        """Bytes of memory."""
        return len(self.data) + ENTRY_BYTES


class Tail:
    """Entries in order, with their last indexes and next offsets as keys to search by."""

    def __init__(self) -> None:
        self.bytes = 0
        self.pending_bytes = 0
        self._entries: list[Entry] = []
        self._last_indexes: list[int] = []
        self._next_offsets: list[int] = []
        self._handed = 0  # this many entries were given to jobs

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._last_indexes.append(entry.last_index)
        self._next_offsets.append(entry.next_offset)
        self.bytes += entry.cost
        self.pending_bytes += len(entry.data)

    def covers_index(self, index: int) -> bool:
        """Is the entry at `index` (or the end of the log) here?"""
        return bool(self._entries) and self._entries[0].first_index <= index

    def covers_offset(self, offset: int) -> bool:
        """Is the record at `offset` (or the end of the log) here?"""
        return bool(self._entries) and self._entries[0].base_offset <= offset

    def take_pending(self) -> list[Entry]:
        """Entries that no job has had yet; they count as handed from now on."""
        pending = self._entries[self._handed :]
        self._handed = len(self._entries)
        self.pending_bytes = 0
        return pending

    def entry_of_index(self, index: int) -> Entry | None:
        """The entry that holds `index`."""
        number = bisect_left(self._last_indexes, index)
        return self._entries[number] if number < len(self._entries) else None

    def slice(self, first_index: int, max_bytes: int) -> list[Entry]:
        """Entries from the one that holds `first_index`; at least one, if there is one."""
        begin = bisect_left(self._last_indexes, first_index)
        end = begin
        total = 0
        while end < len(self._entries):
            total += len(self._entries[end].data)
            if total > max_bytes and end > begin:
                break
            end += 1
        return self._entries[begin:end]

    def read(self, offset: int, max_bytes: int, end_offset: int) -> list[memoryview]:
        """Batches from the one that contains `offset`, none that ends behind `end_offset`."""
        out: list[memoryview] = []
        total = 0
        first = bisect_right(self._next_offsets, offset)
        last = bisect_right(self._next_offsets, end_offset)
        for number in range(first, last):
            entry = self._entries[number]
            if entry.is_internal:
                continue
            total += len(entry.data)
            if total > max_bytes and out:
                break
            out.append(entry.data)
        return out

    def truncate_after(self, index: int) -> None:
        """Forget entries behind `index`."""
        keep = bisect_right(self._last_indexes, index)
        for number in range(keep, len(self._entries)):
            entry = self._entries[number]
            self.bytes -= entry.cost
            if number >= self._handed:
                self.pending_bytes -= len(entry.data)
        self._drop(keep, len(self._entries))
        self._handed = min(self._handed, keep)

    def clear(self) -> None:
        """Forget all entries."""
        self.bytes = self.pending_bytes = self._handed = 0
        self._drop(0, len(self._entries))

    def evict(self, limit: int, written_index: int) -> None:
        """Drop the oldest written entries until `limit` bytes are left, if there is much to do."""
        if self.bytes <= limit + limit // 4:
            return
        may_go = min(self._handed, bisect_right(self._last_indexes, written_index))
        gone = 0
        while gone < may_go and self.bytes > limit:
            self.bytes -= self._entries[gone].cost
            gone += 1
        self._drop(0, gone)
        self._handed -= gone

    def _drop(self, begin: int, end: int) -> None:
        del self._entries[begin:end]
        del self._last_indexes[begin:end]
        del self._next_offsets[begin:end]
