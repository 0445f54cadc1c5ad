"""One replica's log: record batches and internal entries, in memory first, on disk by jobs.

Appends and truncations change memory at once and everything that reads sees them at once; the
files follow by jobs. The loop's part never blocks but for reads of old data:

    append, truncate_after, checkpoint     state in memory
    advance_start, reset, swap, put_state  likewise; each is on disk wholly or not at all
    take_job -> Job.run() in a thread      everything pending: writes, one fdatasync per file
    job_done                               `synced_index` moves

An acknowledgement may only ever stand on `synced_index`. A job that failed is final: no further
job is handed out, and nothing is synced again (decision 12). A log whose bytes are `corrupt` is
read-only for good: its replica gives no vote and is filled again from the leader (decision 10).

Where to read next: `view` (the reading half), `flushing` (what makes the jobs), `layout` (the
shape), `jobs` (what a thread does), `recovery` (opening).
"""

from __future__ import annotations

from dataclasses import replace

from quorate_broker.log import checkpoint as checkpoints
from quorate_broker.log import recovery
from quorate_broker.log.cleaner_files import Cleaned, CleanedSegment
from quorate_broker.log.disk import Buffer, Disk, let_go
from quorate_broker.log.flushing import Cut, FlushedLog
from quorate_broker.log.jobs import Job as Job
from quorate_broker.log.jobs import Reset
from quorate_broker.log.layout import Prefix, Segment, note
from quorate_broker.log.reader import follow
from quorate_broker.log.recovery import RecoveryReport as RecoveryReport
from quorate_broker.log.settings import LogSettings as LogSettings
from quorate_broker.log.tail import Entry
from quorate_broker.log.view import Slice as Slice
from quorate_broker.wire import batch
from quorate_broker.wire.batch import BatchHeader, InternalKind


class Log(FlushedLog):
    """See the module. Not thread-safe: one loop calls it; only `Job.run` may be elsewhere."""

    def __init__(
        self, disk: Disk, path: str, settings: LogSettings, recovered: recovery.Recovered
    ) -> None:
        super().__init__(disk, path, settings, recovered)
        self.recovery: RecoveryReport = recovered.report

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
        if layout.must_roll(header, self.settings.segment_bytes, self.settings.segment_ms):
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
        self._schedule_cut(Cut(index, segment, position, dropped))

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

    def checkpoint(self, index: int, extra: bytes) -> None:
        """Write a checkpoint with the next job.

        `extra` is the replica's own state at `index`, which should be committed: a truncation
        below `index` drops it. Due every 64 MB or 5 s (decision 12).
        """
        assert self.first_index - 1 <= index <= self.last_index, "inside the log"
        self._extra_index = index
        self._extra = extra
        self._wants_checkpoint = True
        if index == self.last_index and self.start_offset == self.next_offset:
            self.roll()  # nothing is left in the active segment
        self._trim_front()

    def fill(self) -> None:
        """What this log lacked is in it again, as far as it ever counted: it is hollow no more.

        True once the next job is done: who was told earlier would count on a replica that a crash
        makes hollow again.
        """
        if self._layout.hollow and not self._is_filling:
            self._is_filling = self._wants_checkpoint = True

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
        them; the active one too, once it is sealed, if nothing is left in it. None goes with
        entries behind the index that `checkpoint` was called with: internal ones may lie there
        that are not committed. So call that in the same turn; it also keeps the producers, whom
        the entries that go told of.
        """
        assert self.start_offset <= offset <= self.next_offset, "inside the log"
        self._layout.advance_start(offset)
        self._wants_checkpoint = True
        self._trim_front()

    def roll(self) -> None:
        """The active segment ends here, if it holds an offset; sealed with the next job."""
        layout = self._layout
        if layout.segments and layout.may_roll:
            self._unsealed.append(layout.roll())
            self._wants_checkpoint = True

    def put_state(self, index: int, content: bytes) -> None:
        """Keep what the hosted machine is at `index`, which is committed.

        On disk before anything else that the same job does: call it before the `advance_start` or
        `reset` that counts on it.
        """
        self._state = (index, content)
        self._has_new_state = True

    def reset(self, prefix: Prefix, extra: bytes = b"") -> None:
        """Forget everything and begin behind `prefix`; `extra` is the replica's state there.

        In effect at once. On disk with the next job, wholly or not at all; until that is done
        nothing counts as synced.
        """
        assert self.corrupt is None, "a corrupt log is read-only"
        self._forget_everything()
        self._layout.begin_behind(prefix)
        self._synced_index = self._on_disk_index = -1
        self._extra_index, self._extra = prefix.index, extra
        known = checkpoints.of_layout(self._layout, prefix.index, extra)
        self._reset = Reset(checkpoints.encode(replace(known, sweeping=True)))
        self._wants_checkpoint = True

    def swap(self, cleaned: Cleaned) -> bool:
        """Take cleaned segments in the place of what they stand for, at once; files follow.

        False when any of those has left the log meanwhile, or the new files cannot be opened: then
        all stays as it is, and a job removes them.
        """
        assert not self.swapping, "one cleaning at a time"
        handles = self._open_cleaned(cleaned)
        if handles is None:
            for new in cleaned.segments:
                self._strays += [new.segment_file, new.index_file]
            return False
        for new, handle in zip(cleaned.segments, handles, strict=True):
            segment = _of_cleaned(new, handle)
            self._layout.swap(segment, new.replaces)
            for old in new.replaces:
                self._files.remove(old)
            also = [old.base_offset for old in new.replaces[1:]]
            self._swaps.append((segment, checkpoints.Swap(new.base_offset, also)))
        self._layout.clean_to = max(self._layout.clean_to, cleaned.clean_to)
        self._wants_checkpoint = True
        return True

    def _open_cleaned(self, cleaned: Cleaned) -> list[int] | None:
        replaced = [old for new in cleaned.segments for old in new.replaces]
        if self.failed is not None or any(old not in self._layout.segments for old in replaced):
            return None
        handles: list[int] = []
        try:
            for new in cleaned.segments:
                handles.append(self._disk.open(f"{self._path}/{new.segment_file}"))
        except OSError:
            for handle in handles:
                let_go(self._disk, handle)
            return None
        return handles

    def close(self) -> None:
        """Clean stop: write what is pending, trim, checkpoint, close the files. Blocking.

        A failed or corrupt log only closes its files. No job may be running.
        """
        if self.corrupt is None and self.failed is None:
            if self._job is not None:
                self.job_done(self._job)
            if self._on_disk_index != self.last_index or self._cut:
                self._wants_checkpoint = True
            while (job := self.take_job()) is not None:
                job.run()
                self.job_done(job)
            self._trim()
        self._close_files()

    def _trim(self) -> None:
        active = self._layout.active if self._layout.segments else None
        if active is None or active.allocated <= active.size:
            return
        self._files.prepare(active)
        assert active.handle is not None, "prepared"
        self._disk.truncate(active.handle, active.size)
        self._disk.sync(active.handle)
        active.allocated = active.size


def _of_cleaned(cleaned: CleanedSegment, handle: int) -> Segment:
    size = cleaned.size
    return Segment(
        base_offset=cleaned.base_offset,
        base_index=cleaned.base_index,
        index=cleaned.index,
        size=size,
        handed=size,
        written=size,
        allocated=size,
        handle=handle,
        index_entries=len(cleaned.index),
        sealed=True,
        has_file=True,
        first_timestamp=cleaned.replaces[0].first_timestamp,
    )
