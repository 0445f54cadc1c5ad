"""Open files of one log: the active segment's always, a few sealed ones' while they are read."""

from __future__ import annotations

import contextlib

from quorate_broker.log.cold import ColdRead
from quorate_broker.log.disk import Disk, let_go
from quorate_broker.log.files import load_index
from quorate_broker.log.layout import Layout, Segment
from quorate_broker.log.reader import SegmentReader

_SEALED_KEPT_OPEN = 4


class OpenFiles:
    """Handles and loaded indexes of sealed segments, the least recently read one goes first."""

    def __init__(self, disk: Disk, path: str, layout: Layout) -> None:
        self._disk = disk
        self._path = path
        self._layout = layout
        self._sealed: list[Segment] = []

    def reader(self, segment: Segment) -> SegmentReader:
        """Ready to read `segment`, opened and its index loaded. Blocking."""
        self.prepare(segment)
        return SegmentReader(self._disk, segment, self._layout.terms)

    def prepare(self, segment: Segment) -> None:
        """Open a written segment and load its index. Blocking."""
        if segment.handle is None:
            segment.handle = self._disk.open(f"{self._path}/{segment.name}")
        load_index(self._disk, self._path, segment, self._layout)
        if segment.sealed:
            self.sealed(segment)

    def cold(
        self, segment: Segment, from_index: int, begin: int | None, max_bytes: int
    ) -> ColdRead:
        """To be run elsewhere, before a reader reads `max_bytes` from a Raft index on."""
        interval = self._layout.index_interval
        return ColdRead(
            disk=self._disk,
            path=self._path,
            segment=segment,
            interval=interval,
            index_entries=segment.index_entries,
            tail=segment.index_tail,
            from_index=from_index,
            begin=begin,
            size=max_bytes + 2 * interval,
            end=min(segment.size, segment.written),
        )

    def sealed(self, segment: Segment) -> None:
        """A job sealed `segment`, or somebody reads it: it may be closed when others are read."""
        if segment in self._sealed:
            self._sealed.remove(segment)
        self._sealed.append(segment)
        while len(self._sealed) > _SEALED_KEPT_OPEN:
            self._close(self._sealed.pop(0))

    def keep(self, segment: Segment) -> None:
        """`segment` is the active one (again), or is about to be removed by a job."""
        if segment in self._sealed:
            self._sealed.remove(segment)

    def remove(self, segment: Segment) -> None:
        """`segment` left the log for good."""
        self.keep(segment)
        if segment.handle is not None:
            let_go(self._disk, segment.handle)
            segment.handle = None

    def forget(self) -> None:
        """All of them left the log; a job closes their files."""
        self._sealed.clear()

    def _close(self, segment: Segment) -> None:
        """All of it is synced: an error now says nothing about its bytes."""
        if segment.handle is not None:
            with contextlib.suppress(OSError):
                let_go(self._disk, segment.handle)
            segment.handle = None
        # An index whose last entries are not in its file yet stays.
        if segment.index is not None and segment.index_entries == len(segment.index):
            segment.tail = segment.index.tail
            segment.index = None

    def close(self) -> None:
        """Close everything."""
        for segment in self._layout.segments:
            if segment.handle is not None:
                let_go(self._disk, segment.handle)
                segment.handle = None
        self._sealed.clear()
