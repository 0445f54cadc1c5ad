"""Writing one new segment for neighbours that are cleaned together, with its index.

Bytes go to `*.cleaned` files in steps; `finish` syncs them. Neighbouring gaps grow together here:
at most one gap stands in a row where term and length allow. Next: `cleaner`, which drives it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quorate_broker.log.cleaner_files import CLEANED, CleanedSegment
from quorate_broker.log.cleaner_filter import Gap, gap_bytes, joined
from quorate_broker.log.disk import Buffer, Disk
from quorate_broker.log.files import opened
from quorate_broker.log.index import NO_TIME, Place, SparseIndex
from quorate_broker.log.layout import Segment, index_name
from quorate_broker.log.reader import Found, follow
from quorate_broker.wire import batch
from quorate_broker.wire.batch import HEADER_SIZE

_STEP = 256 << 10


class Output:
    """One new segment that grows. `changed`: it is more than a copy of the only old one."""

    def __init__(
        self, disk: Disk, path: str, replaces: Sequence[Segment], spent: Callable[[int], None]
    ) -> None:
        self.changed = len(replaces) > 1
        self.size = 0
        self._disk = disk
        self._path = path
        self._replaces = tuple(replaces)
        self._spent = spent
        self._gap: Gap | None = None
        self._buffers: list[Buffer] = []
        self._buffered = 0
        first = self._replaces[0]
        self._place = Place(first.base_offset, first.base_index, 0)
        self._name = f"{path}/{first.name}{CLEANED}"
        self._index_name = f"{path}/{index_name(first.base_offset)}{CLEANED}"
        self._index: SparseIndex | None = None
        self._handle: int | None = None

    def begin(self, index_interval: int) -> None:
        """Make the file, over whatever an earlier cleaning left."""
        self._index = SparseIndex(index_interval)
        self._handle = self._disk.open(self._name, create=True)
        self._disk.truncate(self._handle, 0)

    def add(self, found: Found, result: Buffer | Gap) -> None:
        """The next entry of the old segments, and what takes its place."""
        if not isinstance(result, Gap):
            self.changed = self.changed or result is not found.data
            self._write_gap()
            self._write(result)
            return
        together = joined(self._gap, result) if self._gap is not None else None
        if together is not None:
            self.changed = True
            self._gap = together
            return
        self._write_gap()
        self.changed = self.changed or gap_bytes(result) != found.data
        self._gap = result

    def _write_gap(self) -> None:
        gap, self._gap = self._gap, None
        if gap is not None:
            self._write(gap_bytes(gap))

    def _write(self, data: Buffer) -> None:
        assert self._index is not None, "begun"
        header = batch.parse_header(data)
        assert header.base_offset == self._place.offset, "no offset moves"
        time = NO_TIME if header.is_control else header.max_timestamp
        self._index.note(self._place, bytes(data[:HEADER_SIZE]), time)
        self._place = follow(self._place, header)
        self._buffers.append(data)
        self._buffered += header.size
        if self._buffered >= _STEP:
            self._flush()

    def _flush(self) -> None:
        assert self._handle is not None, "begun"
        self._disk.pwrite(self._handle, self._buffers, self.size)
        self.size += self._buffered
        self._spent(self._buffered)
        self._buffers.clear()
        self._buffered = 0

    def finish(self, end_offset: int) -> CleanedSegment:
        """Write what is left, and the index; both durable but for their names."""
        self._write_gap()
        if self._buffers:
            self._flush()
        assert self._handle is not None, "begun"
        assert self._index is not None, "begun"
        assert self._place.offset == end_offset, "the new segment ends where the old ones did"
        self._disk.sync(self._handle)
        self.close()
        with opened(self._disk, self._index_name, create=True) as handle:
            self._disk.truncate(handle, 0)
            self._disk.pwrite(handle, [self._index.encode(0, len(self._index))], 0)
            self._disk.sync(handle)
        return CleanedSegment(self._replaces, self.size, self._index)

    def close(self) -> None:
        """Give the handle back; may be called twice."""
        if self._handle is not None:
            self._disk.close(self._handle)
            self._handle = None

    def remove(self) -> None:
        """Take the files away again."""
        self.close()
        for name in (self._name, self._index_name):
            if self._disk.exists(name):
                self._disk.unlink(name)
