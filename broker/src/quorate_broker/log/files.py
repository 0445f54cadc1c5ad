"""Files of segments: opening them for a moment, the index beside them, swaps and removals.

What is here blocks, and leaves no half of itself that a second call would not finish.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from quorate_broker.log.cleaner_files import CLEANED
from quorate_broker.log.disk import Disk, let_go, read_if_there
from quorate_broker.log.index import ENTRY_SIZE, SparseIndex
from quorate_broker.log.layout import Layout, Segment, Swap, index_name, segment_name
from quorate_broker.log.reader import rebuild_index

COPY = ".copy"
"""Ending of a file that recovery is about to give another's name."""
_SEGMENT_FILES = (".log", ".qindex", COPY, CLEANED, ".tmp")


@contextmanager
def opened(disk: Disk, path: str, create: bool = False) -> Iterator[int]:
    """A handle that is closed again."""
    handle = disk.open(path, create)
    try:
        yield handle
    finally:
        let_go(disk, handle)


def load_index(disk: Disk, path: str, segment: Segment, layout: Layout) -> None:
    """Load the index of a written segment whose handle is open; rebuild it if it is not sound."""
    if segment.index is not None:
        return
    data = read_if_there(disk, f"{path}/{index_name(segment.base_offset)}") or b""
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


def carry_out(disk: Disk, path: str, swaps: Sequence[Swap]) -> None:
    """Let cleaned segments take the place of what they stand for, durably. May be done again."""
    for swap in swaps:
        for name in (segment_name(swap.base_offset), index_name(swap.base_offset)):
            if disk.exists(f"{path}/{name}{CLEANED}"):
                disk.rename(f"{path}/{name}{CLEANED}", f"{path}/{name}")
        for base_offset in swap.also:
            remove_segment(disk, path, base_offset)
    disk.sync_dir(path)


def remove_segment(disk: Disk, path: str, base_offset: int) -> None:
    """Unlink all files of one segment that are there."""
    for name in (segment_name(base_offset), index_name(base_offset)):
        for ending in ("", CLEANED):
            with suppress(FileNotFoundError):
                disk.unlink(f"{path}/{name}{ending}")


def sweep(disk: Disk, path: str, names: Sequence[str], kept: set[int]) -> None:
    """Of the files of these names, remove those of all segments but `kept`, durably."""
    known = {segment_name(base) for base in kept} | {index_name(base) for base in kept}
    strays = [name for name in names if name.endswith(_SEGMENT_FILES) and name not in known]
    for name in strays:
        with suppress(FileNotFoundError):  # a cleaning that is given up tidies up itself
            disk.unlink(f"{path}/{name}")
    if strays:
        disk.sync_dir(path)
