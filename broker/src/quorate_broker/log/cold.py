"""Old data on its way into memory, so that the event loop need not wait for the disk.

What is not in the log's own cache is read by position, on the loop, from the kernel's. Whether it
is there nobody knows beforehand; so a reader of old offsets first has a disk thread read the same
bytes, and only then reads and checks them as ever. Nothing is handed over but the segment's index,
which takes long to decode. Whatever changes meanwhile only makes the effort vain. Next: `view`.
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate_broker.log.disk import Disk, read_whole
from quorate_broker.log.files import opened
from quorate_broker.log.index import IndexTail, SparseIndex
from quorate_broker.log.layout import Segment, index_name

_STEP = 1 << 20


@dataclass(slots=True)
class ColdRead:
    """`run` it in a disk thread, then give it to `LogView.warmed` on the loop."""

    disk: Disk
    path: str
    segment: Segment
    interval: int
    index_entries: int
    tail: IndexTail
    from_index: int
    """Raft index to read from."""
    begin: int | None
    """Position to read from; None while the index is not loaded."""
    size: int
    end: int
    index: SparseIndex | None = None
    """Loaded by `run`, if it was not before."""

    def run(self) -> None:
        """Read, and keep nothing. Raises OSError, of which the read that follows tells, too."""
        begin = self._load() if self.begin is None else self.begin
        end = min(self.end, begin + self.size)
        with opened(self.disk, f"{self.path}/{self.segment.name}") as handle:
            while begin < end:
                self.disk.pread(handle, min(_STEP, end - begin), begin)
                begin += _STEP

    def _load(self) -> int:
        data = read_whole(self.disk, f"{self.path}/{index_name(self.segment.base_offset)}")
        self.index = SparseIndex.decode(data, self.index_entries, self.interval, self.tail)
        if self.index is None:
            return self.end  # the reader will build it again
        number = self.index.floor_of_index(self.from_index)
        return self.index.positions[number] if number >= 0 else 0
