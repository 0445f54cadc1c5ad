"""One replica's log: record batches and internal entries, in memory first, on disk by jobs.

Appends and truncations change memory at once and everything that reads sees them at once; the
files follow by jobs. The loop's part never blocks but for reads of old data:

    append, truncate_after, checkpoint     state in memory
    take_job -> Job.run() in a thread      everything pending: writes, one fdatasync per file
    job_done                               `synced_index` moves

An acknowledgement may only ever stand on `synced_index`. A job that failed is final: no further
job is handed out, and nothing is synced again (decision 12). A log whose bytes are `corrupt` is
read-only for good: its replica gives no vote and is filled again from the leader (decision 10).

Where to read next: `view` (the reading half), `layout` (the shape), `tail` (entries in memory),
`jobs` (what a thread does), `recovery` (opening).
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate_broker.log import checkpoint as checkpoints
from quorate_broker.log import recovery
from quorate_broker.log.disk import Buffer, Disk
from quorate_broker.log.jobs import IndexWrite, Reserve, SegmentWrite, Truncation
from quorate_broker.log.jobs import Job as Job
from quorate_broker.log.layout import Segment, note
from quorate_broker.log.openfiles import OpenFiles
from quorate_broker.log.reader import follow
from quorate_broker.log.recovery import RecoveryReport as RecoveryReport
from quorate_broker.log.tail import Entry
from quorate_broker.log.view import LogView
from quorate_broker.log.view import Slice as Slice
from quorate_broker.wire import batch
from quorate_broker.wire.batch import BatchHeader, InternalKind


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Sizes in bytes."""

    segment_bytes: int = 1 << 30
    index_interval_bytes: int = 16 << 10
    preallocate_bytes: int = 16 << 20
    cache_bytes: int = 4 << 20  # recent batches kept in memory for followers and tail readers


@dataclass(slots=True)
class _Cut:
    """A truncation that the files have yet to follow, or that came while a job was in flight."""

    index: int
    segment: Segment
    position: int
    dropped: list[Segment]
    lowered: tuple[IndexWrite, bytes] | None = None


class Log(LogView):
    """See the module. Not thread-safe: one loop calls it; only `Job.run` may be elsewhere."""

    def __init__(
        self, disk: Disk, path: str, settings: LogSettings, recovered: recovery.Recovered
    ) -> None:
        files = OpenFiles(disk, path, recovered.layout)
        super().__init__(path, recovered.layout, files, recovered.report.corrupt)
        self.settings = settings
        self.recovery: RecoveryReport = recovered.report
        self._disk = disk
        self._unsealed: list[Segment] = self._layout.segments[-1:]
        self._synced_index = self._layout.next_index - 1
        self._job: Job | None = None
        self._cut: _Cut | None = None  # for the next job
        self._cut_in_flight: _Cut | None = None  # what the job in flight does not know
        self._removals: list[int] = []
        known = recovered.checkpoint
        self._on_disk_index = known.next_index - 1 if known else -1  # what a checkpoint claims
        self._extra_index = known.extra_index if known else -1
        self._extra = known.extra if known else b""
        self._wants_checkpoint = False
        self._bytes_since_checkpoint = 0

    @classmethod
    def open(
        cls,
        disk: Disk,
        path: str,
        settings: LogSettings,
        wall_ms: int,
        *,
        founding: bytes | None = None,
    ) -> Log:
        """Recover the log in folder `path`, or begin one there. Blocking; raises OSError.

        One that begins has the `founding` membership, and says so on disk before this returns.
        None makes it hollow: its entries were lost, or it joins a group that lives.
        """
        interval = settings.index_interval_bytes
        found = recovery.open_log(disk, path, interval, wall_ms, founding)
        return cls(disk, path, settings, found)

    @property
    def disk(self) -> Disk:
        """Where it lies; for the cleaner and the scrubber."""
        return self._disk

    @property
    def path(self) -> str:
        """Its folder."""
        return self._path

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

    # ------------------------------------------------------------------------------------ writing

    def append(self, buf: Buffer) -> None:
        """One whole stamped batch or internal entry; ours from now on: do not write into it."""
        self._append(buf, batch.parse_header(buf))

    def append_internal(self, kind: InternalKind, term: int, content: bytes, wall_ms: int) -> int:
        """Build and append an internal entry; its index."""
        layout = self._layout
        index = layout.next_index
        buf = batch.build_internal(
            base_offset=layout.next_offset,
            leader_epoch=term,
            index=index,
            internals=layout.internals.count + 1,
            kind=kind,
            content=content,
            timestamp_ms=wall_ms,
        )
        self._append(buf, batch.parse_header(buf))
        return index

    def _append(self, buf: Buffer, header: BatchHeader) -> None:
        assert self.corrupt is None, "a corrupt log is read-only"
        assert header.size == len(buf), "exactly one whole entry"
        layout = self._layout
        if layout.must_roll(header.size, self.settings.segment_bytes):
            self._unsealed.append(layout.roll())
        place = layout.place(header, buf)
        self._tail.append(
            Entry(
                first_index=place.index,
                last_index=layout.next_index - 1,
                base_offset=place.offset,
                next_offset=layout.next_offset,
                segment=layout.active,
                position=place.position,
                data=memoryview(buf),
            )
        )
        self._bytes_since_checkpoint += header.size

    def truncate_after(self, index: int) -> None:
        """Forget everything behind `index`: the last index of an entry, or first_index - 1."""
        layout = self._layout
        assert self.corrupt is None, "a corrupt log is read-only"
        assert self.first_index - 1 <= index <= self.last_index, "inside the log"
        if index == self.last_index:
            return
        segment = layout.segment_of_index(index + 1)
        position = self._position_of(segment, index + 1)
        self._reindex(segment, position, index)
        dropped = layout.cut(index, position)
        assert layout.active is segment, "the cut one is the last one now"
        self._tail.truncate_after(index)
        self._unsealed = [known for known in self._unsealed if known not in dropped]
        if segment not in self._unsealed:
            segment.sealed = False
            self._files.keep(segment)
            self._unsealed = [segment]
        if self._extra_index > index:
            self._extra_index, self._extra = self.first_index - 1, b""
        self._synced_index = min(self._synced_index, index)
        self._schedule_cut(_Cut(index, segment, position, dropped))

    def _position_of(self, segment: Segment, index: int) -> int:
        """Where the entry that begins at `index` begins."""
        entry = self._tail.entry_of_index(index) if self._tail.covers_index(index) else None
        if entry is not None:
            assert entry.first_index == index, "an index at a batch border"
            return entry.position
        for found in self._old_entries(segment, index, 0):
            assert found.place.index == index, "an index at a batch border"
            return found.place.position
        raise AssertionError(f"no entry at index {index}")

    def _reindex(self, segment: Segment, position: int, last_index: int) -> None:
        """Cut the sparse index at `position`; what it gathered since its last entry comes again."""
        self._load_index(segment)
        assert segment.index is not None, "loaded"
        place = segment.index.cut(position)
        if place is None:
            return
        for first_index, header, data in self.walk(place.index, self.settings.index_interval_bytes):
            if first_index > last_index:
                break
            note(segment, place, header, data)
            place = follow(place, header)

    def _schedule_cut(self, cut: _Cut) -> None:
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
        known = checkpoints.of_layout(self._layout, self._extra_index, self._extra)
        return index, checkpoints.encode(known)

    def checkpoint(self, index: int, extra: bytes) -> None:
        """Write a checkpoint with the next job.

        `extra` is the replica's own state at `index`, which should be committed: a truncation
        below `index` drops it. Due every 64 MB or 5 s (decision 12).
        """
        assert self.first_index - 1 <= index <= self.last_index, "inside the log"
        self._extra_index = index
        self._extra = extra
        self._wants_checkpoint = True

    def fill(self) -> None:
        """What this log lacked is in it again, as far as it ever counted: it is hollow no more.

        Durable with the next job; a crash before that leaves it hollow.
        """
        if self._layout.hollow:
            self._layout.hollow = False
            self._wants_checkpoint = True

    @property
    def checkpoint_index(self) -> int:
        """The index that `checkpoint_extra` describes; first_index - 1 when there is none."""
        return max(self._extra_index, self.first_index - 1)

    @property
    def checkpoint_extra(self) -> bytes:
        return self._extra

    @property
    def bytes_since_checkpoint(self) -> int:
        """Bytes appended since; what a recovery would have to copy."""
        return self._bytes_since_checkpoint

    def advance_start(self, offset: int) -> None:
        """The log begins at `offset` now, as a committed entry said (decision 7).

        Whole segments before it go with the next job, after a checkpoint that no longer names
        them.
        """
        assert self.start_offset <= offset <= self.next_offset, "inside the log"
        gone = self._layout.advance_start(offset)
        for segment in gone:
            self._files.remove(segment)
        self._removals += [segment.base_offset for segment in gone]
        if self._extra_index < self.first_index - 1:
            self._extra_index, self._extra = self.first_index - 1, b""
        self._wants_checkpoint = True

    # --------------------------------------------------------------------------------------- jobs

    def take_job(self) -> Job | None:
        """None while one is in flight, when there is nothing to do, and for ever after an error."""
        if self._job is not None or self.corrupt is not None:
            return None
        pending = self._tail.take_pending()
        if not (pending or self._cut or self._wants_checkpoint or self._removals):
            return None
        job = Job(self._disk, self._path, self.last_index)
        self._add_cut(job)
        self._add_writes(job, pending)
        if self._wants_checkpoint:
            self._add_checkpoint(job)
        self._job = job
        return job

    def _add_cut(self, job: Job) -> None:
        cut = self._cut
        if cut is None:
            return
        self._cut = None
        job.truncation = Truncation(cut.segment, cut.position, cut.dropped, cut.lowered)
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
        known = checkpoints.of_layout(self._layout, self._extra_index, self._extra)
        job.checkpoint = checkpoints.encode(known)
        job.removals, self._removals = self._removals, []
        self._on_disk_index = self.last_index
        self._wants_checkpoint = False
        self._bytes_since_checkpoint = 0

    def job_done(self, job: Job) -> None:
        """On the loop, after `run` returned: what it wrote is durable."""
        assert job is self._job, "the job in flight"
        assert job.done, "run, without an error"
        self._job = None
        cut, self._cut_in_flight = self._cut_in_flight, None
        if job.truncation is not None:
            truncated = job.truncation.segment
            truncated.handle, truncated.allocated = job.truncation.handle, job.truncation.position
        for write in job.writes:
            self._publish(write, cut)
        for index in job.indexes:
            if cut is None or index.segment is not cut.segment:
                index.segment.index_entries = index.end
        synced = job.last_index if cut is None else min(job.last_index, cut.index)
        assert synced >= self._synced_index, "what is synced stays synced"
        self._synced_index = synced
        self._tail.evict(self.settings.cache_bytes, synced)

    def _publish(self, write: SegmentWrite, cut: _Cut | None) -> None:
        segment = write.segment
        segment.handle, segment.allocated = write.handle, write.allocated
        segment.written = write.end
        if cut is not None and segment is cut.segment:
            segment.written = min(write.end, cut.position)
        if write.seal and segment not in self._unsealed and segment in self._layout.segments:
            segment.sealed = True
            self._files.sealed(segment)

    def close(self) -> None:
        """Clean stop: write what is pending, trim, checkpoint, close the files. Blocking.

        A failed or corrupt log only closes its files. No job may be running.
        """
        if self.corrupt is None and self.failed is None:
            if self._job is not None:
                self.job_done(self._job)
            if self._on_disk_index != self.last_index or self._cut:
                self._wants_checkpoint = True
            job = self.take_job()
            if job is not None:
                job.run()
                self.job_done(job)
            self._trim()
        self._files.close()

    def _trim(self) -> None:
        active = self._layout.active if self._layout.segments else None
        if active is None or active.allocated <= active.size:
            return
        self._files.prepare(active)
        assert active.handle is not None, "prepared"
        self._disk.truncate(active.handle, active.size)
        self._disk.sync(active.handle)
        active.allocated = active.size
