"""The half of a log that turns what is pending into jobs, and publishes what they did.

Everything here is bookkeeping in memory, on the loop: what the next job has to carry out (a reset,
a cut, writes, a swap of cleaned segments, a checkpoint, removals), and what the job in flight does
not know because it came later. `log.Log` adds the calls that make something pending. Next: `jobs`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from quorate_broker.log import checkpoint as checkpoints
from quorate_broker.log import recovery, statefile
from quorate_broker.log.disk import Buffer, Disk, let_go
from quorate_broker.log.jobs import IndexWrite, Job, Reserve, Reset, SegmentWrite, Truncation
from quorate_broker.log.layout import Segment
from quorate_broker.log.openfiles import OpenFiles
from quorate_broker.log.settings import LogSettings
from quorate_broker.log.tail import Entry
from quorate_broker.log.view import LogView


@dataclass(slots=True)
class Cut:
    """A truncation that the files have yet to follow, or that came while a job was in flight."""

    index: int
    segment: Segment
    position: int
    dropped: list[Segment]
    lowered: tuple[IndexWrite, bytes] | None = None


class FlushedLog(LogView):
    """A log whose files follow by jobs, one at a time."""

    def __init__(
        self, disk: Disk, path: str, settings: LogSettings, recovered: recovery.Recovered
    ) -> None:
        files = OpenFiles(disk, path, recovered.layout)
        super().__init__(path, recovered.layout, files, recovered.report.corrupt)
        self.settings = settings
        self._disk = disk
        self._unsealed: list[Segment] = self._layout.segments[-1:]
        self._synced_index = self._layout.next_index - 1
        self._job: Job | None = None
        self._cut: Cut | None = None  # for the next job
        self._cut_in_flight: Cut | None = None  # what the job in flight does not know
        self._reset: Reset | None = None  # for the next job
        self._left_behind: list[Segment] = []  # by that reset: their files are still open
        self._is_overtaken = False  # the job in flight is of the time before a reset
        self._swaps: list[tuple[Segment, checkpoints.Swap]] = []  # for the next job
        self._swaps_in_flight: list[Segment] = []
        self._strays: list[str] = []  # files of a cleaning that came to nothing, for the next job
        self._strays_in_flight: list[str] = []
        self._removals: list[int] = []
        known = recovered.checkpoint
        self._on_disk_index = known.next_index - 1 if known else -1  # what a checkpoint claims
        self._extra_index = known.extra_index if known else -1
        self._extra = known.extra if known else b""
        self._state = recovered.state
        self._has_new_state = False
        self._wants_checkpoint = False
        self._bytes_since_checkpoint = recovered.report.copied_bytes
        self._is_filling = False
        """Hollow no more, as soon as a checkpoint says so."""

    @property
    def failed(self) -> OSError | None:
        """The error that ended this log's writing, else None. Never cleared."""
        return self._job.error if self._job is not None else None

    @property
    def synced_index(self) -> int:
        """Everything up to here survives a power cut."""
        return self._synced_index

    @property
    def pending_bytes(self) -> int:
        """Appended, not yet handed to a job: what a limit on appends should look at."""
        return self._tail.pending_bytes

    @property
    def swapping(self) -> bool:
        """Files of a cleaning are being renamed or removed: plan no further one meanwhile."""
        waiting = self._swaps or self._strays
        return bool(waiting or self._swaps_in_flight or self._strays_in_flight)

    # ------------------------------------------------------------------------------- taking a job

    def take_job(self) -> Job | None:
        """None while one is in flight, when there is nothing to do, and for ever after an error."""
        if self._job is not None or self.corrupt is not None:
            return None
        pending = self._tail.take_pending()
        if not (pending or self._cut or self._wants_checkpoint or self._has_light_work):
            return None
        job = Job(self._disk, self._path, self.last_index)
        self._add_state(job)
        self._add_reset(job)
        self._add_cut(job)
        self._add_writes(job, pending)
        if self._wants_checkpoint:
            self._add_checkpoint(job)
        job.strays, self._strays = self._strays, []
        self._strays_in_flight = job.strays
        self._job = job
        return job

    @property
    def _has_light_work(self) -> bool:
        return self._has_new_state or bool(self._strays)

    def _add_state(self, job: Job) -> None:
        if self._has_new_state and self._state is not None:
            job.state = statefile.encode(*self._state)
            self._has_new_state = False

    def _add_reset(self, job: Job) -> None:
        if self._reset is None:
            return
        job.reset, self._reset = self._reset, None
        for segment in self._left_behind:
            if segment.handle is not None:
                job.reset.handles.append(segment.handle)
                segment.handle = None
        self._left_behind = []

    def _add_cut(self, job: Job) -> None:
        cut = self._cut
        if cut is None:
            return
        self._cut = None
        handles = [gone.handle for gone in cut.dropped if gone.handle is not None]
        bases = [gone.base_offset for gone in cut.dropped]
        job.truncation = Truncation(cut.segment, cut.position, bases, handles, cut.lowered)
        job.truncation.handle = cut.segment.handle
        if cut.lowered is not None:
            self._on_disk_index = cut.index

    def _add_writes(self, job: Job, pending: list[Entry]) -> None:
        for segment in self._unsealed:
            seal = segment is not self._layout.active
            buffers: list[Buffer] = [entry.data for entry in pending if entry.segment is segment]
            if not buffers and not seal:
                continue
            limit = self.settings.segment_bytes
            write = SegmentWrite(
                segment=segment,
                handle=segment.handle,
                allocated=segment.allocated,
                at=segment.handed,
                end=segment.size,
                reserve=Reserve(self.settings.preallocate_bytes, limit),
                buffers=buffers,
                seal=seal,
            )
            job.writes.append(write)
            segment.handed = segment.size
            segment.has_file = True
            if seal:
                self._add_index(job, segment)
        self._unsealed = [self._layout.active] if self._layout.segments else []

    def _add_index(self, job: Job, segment: Segment) -> None:
        index = segment.index
        if index is not None and segment.index_entries < len(index):
            data = index.encode(segment.index_entries, len(index))
            job.indexes.append(IndexWrite(segment, segment.index_entries, data))

    def _add_checkpoint(self, job: Job) -> None:
        added = [write.segment for write in job.indexes]
        for segment in self._layout.segments:
            if segment not in added:
                self._add_index(job, segment)
        known = self._known()
        job.checkpoint = checkpoints.encode(known)
        job.fills = self._is_filling
        self._add_swaps(job, known)
        job.removals, self._removals = self._removals, []
        self._on_disk_index = self.last_index
        self._wants_checkpoint = False
        self._bytes_since_checkpoint = 0

    def _known(self) -> checkpoints.Checkpoint:
        known = checkpoints.of_layout(self._layout, self._extra_index, self._extra)
        return replace(known, hollow=known.hollow and not self._is_filling)

    def _add_swaps(self, job: Job, known: checkpoints.Checkpoint) -> None:
        """Those whose new segment retention has not taken meanwhile; of the others all goes."""
        swaps, self._swaps = self._swaps, []
        for segment, swap in swaps:
            if segment in self._layout.segments:
                job.swaps.append(swap)
                self._swaps_in_flight.append(segment)
            else:
                self._removals += [swap.base_offset, *swap.also]
        if job.swaps:
            job.swapping = checkpoints.encode(replace(known, swaps=job.swaps))

    # ------------------------------------------------------------------------------ publishing it

    def job_done(self, job: Job) -> None:
        """On the loop, after `run` returned: what it wrote is durable."""
        assert job is self._job, "the job in flight"
        assert job.done, "run, without an error"
        self._job = None
        cut, self._cut_in_flight = self._cut_in_flight, None
        self._take_handles(job)
        if self._is_overtaken:
            self._is_overtaken = False
            return
        if job.fills:
            self._layout.hollow = self._is_filling = False
        for write in job.writes:
            self._publish(write, cut)
        for index in job.indexes:
            if cut is None or index.segment is not cut.segment:
                index.segment.index_entries = index.end
        for segment in self._swaps_in_flight:
            if segment in self._layout.segments:
                self._files.sealed(segment)
        self._swaps_in_flight, self._strays_in_flight = [], []
        synced = job.last_index if cut is None else min(job.last_index, cut.index)
        assert synced >= self._synced_index, "what is synced stays synced"
        self._synced_index = synced
        self._tail.evict(self.settings.cache_bytes, synced)
        self._trim_front()

    def _take_handles(self, job: Job) -> None:
        """Files that the job opened are the segments' now, or those of a reset to be closed."""
        if job.truncation is not None:
            truncated = job.truncation.segment
            truncated.handle, truncated.allocated = job.truncation.handle, job.truncation.position
        for write in job.writes:
            write.segment.handle, write.segment.allocated = write.handle, write.allocated

    def _publish(self, write: SegmentWrite, cut: Cut | None) -> None:
        segment = write.segment
        segment.written = write.end
        if cut is not None and segment is cut.segment:
            segment.written = min(write.end, cut.position)
        if write.seal and segment not in self._unsealed and segment in self._layout.segments:
            segment.sealed = True
            self._files.sealed(segment)

    # ----------------------------------------------------------------------- making more of it due

    def _schedule_cut(self, cut: Cut) -> None:
        """Jobs have to follow if the files have, or will have, what was cut off."""
        segment = cut.segment
        if self._job is not None and (
            self._cut_in_flight is None or cut.index < self._cut_in_flight.index
        ):
            self._cut_in_flight = cut
        has_more = segment.handed > cut.position
        cut.dropped = [gone for gone in reversed(cut.dropped) if gone.has_file]
        for gone in cut.dropped:
            self._files.keep(gone)
        segment.handed = min(segment.handed, cut.position)
        segment.written = min(segment.written, cut.position)
        if not has_more and not cut.dropped:
            return
        segment.index_entries = 0
        if self._cut is not None:
            cut.dropped = self._cut.dropped + cut.dropped
        if self._on_disk_index > cut.index:
            cut.lowered = self._lowered(segment)
        self._cut = cut

    def _lowered(self, segment: Segment) -> tuple[IndexWrite, bytes]:
        """Index and checkpoint of the log as it stands now, just cut."""
        assert segment.index is not None, "the active segment's index is in memory"
        index = IndexWrite(segment, 0, segment.index.encode(0, len(segment.index)))
        known = self._known()
        swaps = [swap for new, swap in self._swaps if new in self._layout.segments]
        return index, checkpoints.encode(replace(known, swaps=swaps))

    def _trim_front(self) -> None:
        """Let go of sealed segments before the log's start; their files go after a checkpoint."""
        gone = self._layout.drop_before_start(self._extra_index)
        if not gone:
            return
        for segment in gone:
            self._files.remove(segment)
        self._removals += [segment.base_offset for segment in gone]
        self._wants_checkpoint = True

    def _forget_everything(self) -> None:
        """What was pending is void, and the job in flight speaks of what is gone."""
        self._left_behind += self._layout.segments
        if self._cut is not None:
            self._left_behind += self._cut.dropped
        self._is_overtaken = self._job is not None
        self._cut = self._cut_in_flight = None
        self._swaps, self._swaps_in_flight = [], []
        self._strays, self._strays_in_flight = [], []
        self._unsealed, self._removals = [], []
        self._is_filling = False
        self._tail.clear()
        self._files.forget()

    def _close_files(self) -> None:
        """Also those that a job which failed had opened, or left open."""
        gone = self._left_behind + (self._cut.dropped if self._cut is not None else [])
        left: list[int] = []
        if self._job is not None:
            self._take_handles(self._job)
            gone += [write.segment for write in self._job.writes]
            left = self._job.handles_left()
        for segment in gone:
            if segment not in self._layout.segments and segment.handle is not None:
                left.append(segment.handle)
                segment.handle = None
        self._files.close()
        for handle in left:
            let_go(self._disk, handle)
