"""The blocking half of a log: what one job does to the files, in which order, and why.

`log.Log.take_job` fills a `Job` with a snapshot of everything pending; a disk thread runs it; the
loop publishes it with `Log.job_done`. One job of a log is in flight at a time. The thread changes
nothing but the job; of a `Segment` it reads what never changes meanwhile. In a job:

1. the hosted state: whatever lets go of entries below counts on it;
2. reset: a checkpoint of the log that begins elsewhere, which disowns all segments (from here on
   recovery removes them too), then they go, so that their names are free;
3. truncation: a checkpoint that claims no more than will be left, newest files first, then the cut
   itself, synced: no crash leaves a gap or a claim to bytes that are gone;
4. segments in order: written, and synced before the next one is begun, so that a later segment
   with entries proves the earlier one whole; one `fdatasync` per touched file;
5. swap: a checkpoint that has the cleaned segments already and names the renames that are left
   (from here on recovery carries them out too), then the renames;
6. the checkpoint, last, for it claims all of the above; then files that it no longer names.

The first error ends the job and the log: a sync that failed once is never tried again, because
the kernel may have dropped the pages and answer "done" the second time.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from quorate_broker.log import checkpoint as checkpoints
from quorate_broker.log import statefile
from quorate_broker.log.checkpoint import Swap
from quorate_broker.log.disk import Buffer, Disk, let_go, reserve, write_whole
from quorate_broker.log.files import carry_out, remove_segment, sweep, write_index_entries
from quorate_broker.log.index import ENTRY_SIZE
from quorate_broker.log.layout import Segment

# A young segment reserves as much as it holds, so that a thousand small partitions stay small.
_LEAST_PREALLOCATION = 64 << 10


@dataclass(frozen=True, slots=True)
class Reserve:
    """How far to preallocate ahead: chunks of `chunk_bytes`, not beyond `limit` of the file."""

    chunk_bytes: int
    limit: int


@dataclass(slots=True)
class IndexWrite:
    """Entries of one segment's index, from number `first` on."""

    segment: Segment
    first: int
    data: bytes

    @property
    def end(self) -> int:
        return self.first + len(self.data) // ENTRY_SIZE


@dataclass(slots=True)
class SegmentWrite:
    """Bytes for one segment. `handle` and `allocated` are the job's own until it is done."""

    segment: Segment
    handle: int | None
    allocated: int
    at: int
    end: int
    reserve: Reserve
    buffers: list[Buffer] = field(default_factory=list)
    seal: bool = False


@dataclass(slots=True)
class Truncation:
    """Cut one segment at `position` and remove the ones behind it."""

    segment: Segment
    position: int
    dropped: list[int]
    """Base offsets, the last one first."""
    handles: list[int]
    """Open files of those."""
    lowered: tuple[IndexWrite, bytes] | None
    """Index and checkpoint to be written first, when those on disk claim more."""
    handle: int | None = None


@dataclass(slots=True)
class Reset:
    """Begin elsewhere, with nothing."""

    checkpoint: bytes
    handles: list[int] = field(default_factory=list)
    """Open files of what was there."""


@dataclass(slots=True)
class Job:
    """Run `run` in a disk thread, then give it back to `Log.job_done`."""

    disk: Disk
    path: str
    last_index: int
    state: bytes | None = None
    reset: Reset | None = None
    truncation: Truncation | None = None
    writes: list[SegmentWrite] = field(default_factory=list)
    indexes: list[IndexWrite] = field(default_factory=list)
    swaps: list[Swap] = field(default_factory=list)
    swapping: bytes | None = None
    """The checkpoint before the swaps; `checkpoint` is the one behind them."""
    checkpoint: bytes | None = None
    fills: bool = False
    """That checkpoint says that the log is hollow no more."""
    removals: list[int] = field(default_factory=list)
    """Base offsets of segments that retention gave up."""
    strays: list[str] = field(default_factory=list)
    """Files of a cleaning that came to nothing."""
    error: OSError | None = None
    done: bool = False

    def run(self) -> None:
        """Write, roll, truncate, sync. Raises OSError, which is final for the log."""
        assert not self.done, "a job runs once"
        assert self.error is None, "a failed job never runs again"
        try:
            self._run()
        except OSError as error:
            self.error = error
            raise
        self.done = True

    def handles_left(self) -> list[int]:
        """Files of what was cut off that a failed job has not closed any more."""
        left = self.truncation.handles if self.truncation is not None else []
        return left + (self.reset.handles if self.reset is not None else [])

    def _run(self) -> None:
        if self.state is not None:
            write_whole(self.disk, self.path, statefile.NAME, self.state)
        if self.reset is not None:
            self._reset(self.reset)
        if self.truncation is not None:
            self._truncate(self.truncation)
        for write in self.writes:
            self._write(write)
        for index in self.indexes:
            self._write_index(index)
        if self.swapping is not None:
            write_whole(self.disk, self.path, checkpoints.NAME, self.swapping)
            carry_out(self.disk, self.path, self.swaps)
        if self.checkpoint is not None:
            write_whole(self.disk, self.path, checkpoints.NAME, self.checkpoint)
        self._remove()

    def _remove(self) -> None:
        for base_offset in self.removals:
            remove_segment(self.disk, self.path, base_offset)
        for name in self.strays:
            with suppress(FileNotFoundError):
                self.disk.unlink(f"{self.path}/{name}")
        if self.removals or self.strays:
            self.disk.sync_dir(self.path)

    def _reset(self, reset: Reset) -> None:
        write_whole(self.disk, self.path, checkpoints.NAME, reset.checkpoint)
        while reset.handles:
            let_go(self.disk, reset.handles.pop())
        sweep(self.disk, self.path, self.disk.listdir(self.path), set())

    def _truncate(self, truncation: Truncation) -> None:
        if truncation.lowered is not None:
            index, checkpoint = truncation.lowered
            self._write_index(index)
            write_whole(self.disk, self.path, checkpoints.NAME, checkpoint)
        while truncation.handles:
            let_go(self.disk, truncation.handles.pop())
        for base_offset in truncation.dropped:
            remove_segment(self.disk, self.path, base_offset)
            self.disk.sync_dir(self.path)
        if truncation.handle is None:
            truncation.handle = self._open(truncation.segment)
        self.disk.truncate(truncation.handle, truncation.position)
        self.disk.sync(truncation.handle)
        for write in self.writes:
            if write.segment is truncation.segment:
                write.handle, write.allocated = truncation.handle, truncation.position

    def _open(self, segment: Segment, create: bool = False) -> int:
        return self.disk.open(f"{self.path}/{segment.name}", create)

    def _write_index(self, index: IndexWrite) -> None:
        if index.data:
            base = index.segment.base_offset
            write_index_entries(self.disk, self.path, base, index.first, index.data)

    def _write(self, write: SegmentWrite) -> None:
        disk = self.disk
        is_new = write.handle is None and write.allocated == 0
        if write.handle is None:
            write.handle = self._open(write.segment, create=is_new)
        if write.seal:
            disk.pwrite(write.handle, write.buffers, write.at)
            disk.truncate(write.handle, write.end)
            write.allocated = write.end
        else:
            self._reserve(write)
            disk.pwrite(write.handle, write.buffers, write.at)
        disk.sync(write.handle)
        if is_new:
            disk.sync_dir(self.path)

    def _reserve(self, write: SegmentWrite) -> None:
        assert write.handle is not None, "opened before"
        if write.end <= write.allocated:
            return
        chunk = min(write.reserve.chunk_bytes, max(_LEAST_PREALLOCATION, write.end))
        target = min(write.end + chunk, write.reserve.limit)
        size = target - write.allocated
        reserved = target > write.end and reserve(self.disk, write.handle, write.allocated, size)
        write.allocated = target if reserved else write.end
