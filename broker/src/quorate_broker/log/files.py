"""Files of one segment: opening them for a moment, loading and writing the index beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from quorate_broker.log.disk import Disk, read_whole
from quorate_broker.log.index import ENTRY_SIZE, SparseIndex
from quorate_broker.log.layout import Layout, Segment, index_name
from quorate_broker.log.reader import rebuild_index


@contextmanager
def opened(disk: Disk, path: str, create: bool = False) -> Iterator[int]:
    """A handle that is closed again."""
    handle = disk.open(path, create)
    try:
        yield handle
    finally:
        disk.close(handle)


def load_index(disk: Disk, path: str, segment: Segment, layout: Layout) -> None:
    """Load the index of a written segment whose handle is open; rebuild it if it is not sound."""
    if segment.index is not None:
        return
    name = f"{path}/{index_name(segment.base_offset)}"
    data = read_whole(disk, name) if disk.exists(name) else b""
    index = SparseIndex.decode(data, segment.index_entries, layout.index_interval, segment.tail)
    if index is None:
        index = rebuild_index(disk, segment, layout.terms, layout.index_interval)
        segment.index_entries = 0
    segment.index = index


def write_index_entries(disk: Disk, path: str, base_offset: int, first: int, data: bytes) -> None:
    """Write encoded entries from number `first` on, durably (but for the file's name)."""
    with opened(disk, f"{path}/{index_name(base_offset)}", create=True) as handle:
        disk.pwrite(handle, [data], first * ENTRY_SIZE)
        disk.truncate(handle, first * ENTRY_SIZE + len(data))
        disk.sync(handle)


def write_index(disk: Disk, path: str, segment: Segment) -> None:
    """Write the entries that the file lacks."""
    assert segment.index is not None, "loaded"
    first, end = segment.index_entries, len(segment.index)
    if first < end:
        write_index_entries(
            disk, path, segment.base_offset, first, segment.index.encode(first, end)
        )
        segment.index_entries = end
