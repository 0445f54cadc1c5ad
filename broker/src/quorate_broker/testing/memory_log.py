"""A log without a disk, for tests of Raft and of the replica alone.

It keeps the calls of `log.log.Log` that `raft` and `partition.replica` use, and what they may
rely on: appends and truncations show at once, `synced_index` moves only when a job is done, and a
job covers only what it was taken for. `crash` is a power cut: only the synced part is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from quorate_broker.log import told
from quorate_broker.log.layout import Prefix
from quorate_broker.raft.messages import Buffer
from quorate_broker.wire import batch, compacted
from quorate_broker.wire.batch import BatchHeader, InternalEntry, InternalKind

_NOTHING = Prefix(-1, 0, 0, 0, 0, b"")


@dataclass(frozen=True, slots=True)
class Entry:
    """One batch or internal entry with the index of its last record."""

    first_index: int
    last_index: int
    header: BatchHeader
    buf: memoryview

    @property
    def term(self) -> int:
        return self.header.leader_epoch


@dataclass(frozen=True, slots=True)
class MemorySlice:
    batches: list[Buffer]
    last_index: int
    first_index: int


@dataclass(slots=True)
class MemoryJob:
    """Syncs what was there when it was taken, unless that was cut off meanwhile."""

    last_index: int
    checkpoint: tuple[int, bytes] | None
    runs: int = 0
    is_stale: bool = False
    """The log was reset since."""

    def run(self) -> None:
        self.runs += 1


@dataclass(slots=True)
class MemoryLog:
    """See the module's head."""

    entries: list[Entry] = field(default_factory=list)
    synced_index: int = -1
    corrupt: str | None = None
    checkpoint_index: int = -1
    checkpoint_extra: bytes = b""
    bytes_since_checkpoint: int = 0
    founding: bytes = b""
    hollow: bool = False
    start_offset: int = 0
    state: tuple[int, bytes] | None = None
    base: Prefix = _NOTHING
    """What lies before the entries, but for the membership: that is `founding`."""
    _job: MemoryJob | None = None
    _wanted_checkpoint: tuple[int, bytes] | None = None
    _disk: MemoryLog | None = None
    """What a power cut leaves while a reset is not on disk yet."""

    @property
    def first_index(self) -> int:
        return self.base.index + 1

    @property
    def last_index(self) -> int:
        return self.entries[-1].last_index if self.entries else self.base.index

    @property
    def last_term(self) -> int:
        return self.entries[-1].term if self.entries else self.base.term

    @property
    def next_offset(self) -> int:
        return self.entries[-1].header.next_offset if self.entries else self.base.offset

    @property
    def membership(self) -> tuple[int, bytes]:
        for entry in reversed(self._internals(InternalKind.MEMBERSHIP)):
            return entry.index, entry.content
        return self.first_index - 1, self.founding

    @property
    def starts(self) -> list[tuple[int, int]]:
        starts = [
            (entry.index, told.decode_start(entry.content))
            for entry in self._internals(InternalKind.LOG_START)
        ]
        return [start for start in starts if start[1] > self.start_offset]

    def _internals(self, kind: InternalKind) -> list[InternalEntry]:
        internal = (entry for entry in self.entries if entry.header.is_internal)
        parsed = [batch.parse_internal(entry.buf) for entry in internal]
        return [entry for entry in parsed if entry.kind is kind]

    def prefix(self) -> Prefix:
        return replace(self.base, membership=self.founding, start_offset=self.start_offset)

    # ---------------------------------------------------------------------------------- changes

    def fill(self) -> None:
        self.hollow = False

    def append(self, buf: Buffer) -> None:
        header = batch.parse_header(buf)
        assert header.size == len(buf), "one whole entry"
        assert header.base_offset == self.next_offset
        assert header.leader_epoch >= self.last_term
        first = self.last_index + 1
        records = 1 if header.is_internal else header.last_offset_delta + 1
        self.entries.append(Entry(first, first + records - 1, header, memoryview(bytes(buf))))
        self.bytes_since_checkpoint += len(buf)

    def append_internal(self, kind: InternalKind, term: int, content: bytes, wall_ms: int) -> int:
        index = self.last_index + 1
        buf = batch.build_internal(
            base_offset=self.next_offset,
            leader_epoch=term,
            index=index,
            internals=1 + self._internals_so_far,
            kind=kind,
            content=content,
            timestamp_ms=wall_ms,
        )
        self.append(buf)
        return index

    @property
    def _internals_so_far(self) -> int:
        own = sum(1 for entry in self.entries if entry.header.is_internal)
        return self.base.internals + own

    def advance_start(self, offset: int) -> None:
        """Entries wholly before it go, the last one stays."""
        assert self.start_offset <= offset <= self.next_offset
        self.start_offset = offset
        while len(self.entries) > 1 and self.entries[0].header.next_offset <= offset:
            gone = self.entries[0]
            self.founding = self._membership_behind(gone)
            self.base = Prefix(
                index=gone.last_index,
                term=gone.term,
                offset=gone.header.next_offset,
                internals=self.base.internals + gone.header.is_internal,
                start_offset=offset,
                membership=b"",
            )
            self.entries.pop(0)

    def _membership_behind(self, entry: Entry) -> bytes:
        if entry.header.is_internal:
            parsed = batch.parse_internal(entry.buf)
            if parsed.kind is InternalKind.MEMBERSHIP:
                return parsed.content
        return self.founding

    def compact(self, first_index: int, last_index: int) -> None:
        """One empty batch in the place of all batches from here to there, which are of one term."""
        kept = [e for e in self.entries if e.last_index < first_index]
        gone = [e for e in self.entries if first_index <= e.first_index <= last_index]
        header = batch.parse_header(
            buf := compacted.gap(
                gone[0].header.base_offset, gone[-1].header.last_offset, gone[0].term
            )
        )
        kept.append(Entry(first_index, last_index, header, memoryview(buf)))
        self.entries = kept + [e for e in self.entries if e.first_index > last_index]

    def put_state(self, index: int, content: bytes) -> None:
        self.state = (index, content)

    def reset(self, prefix: Prefix, extra: bytes) -> None:
        """On disk with the next job."""
        self._disk = self.crash()
        self.entries = []
        self.base = prefix
        self.founding = prefix.membership
        self.start_offset = prefix.start_offset
        self.synced_index = -1
        self.checkpoint_index, self.checkpoint_extra = prefix.index, extra
        if self._job is not None:
            self._job.is_stale = True

    def truncate_after(self, index: int) -> None:
        assert index == self.base.index or any(entry.last_index == index for entry in self.entries)
        assert index >= self.checkpoint_index, "what is checkpointed is committed"
        while self.last_index > index:
            self.entries.pop()
        self.synced_index = min(self.synced_index, index)
        if self._job is not None:
            self._job.last_index = min(self._job.last_index, index)

    # --------------------------------------------------------------------------------- questions

    def term_at(self, index: int) -> int | None:
        if index == self.base.index:
            return self.base.term
        if index < self.base.index:
            return None
        for entry in self.entries:
            if entry.last_index >= index:
                return entry.term
        return None

    def end_of_term(self, term: int) -> tuple[int, int]:
        for entry in reversed(self.entries):
            if entry.term <= term:
                return entry.term, entry.last_index
        return (self.base.term, self.base.index) if self.base.term <= term else (0, -1)

    def slice(self, first_index: int, max_bytes: int) -> MemorySlice:
        batches: list[Buffer] = []
        assert first_index >= self.first_index, "it is gone"
        begin, last_index, size = first_index, first_index - 1, 0
        for entry in self.entries:
            if entry.last_index < first_index:
                continue
            if batches and size + len(entry.buf) > max_bytes:
                break
            if not batches:
                begin = entry.first_index
            batches.append(entry.buf)
            last_index, size = entry.last_index, size + len(entry.buf)
        return MemorySlice(batches, last_index, begin)

    def high_watermark(self, commit_index: int) -> int:
        offset = self.base.offset
        for entry in self.entries:
            if entry.last_index > commit_index:
                break
            offset = entry.header.next_offset
        return offset

    def replay_headers(self, from_index: int) -> Iterator[tuple[int, BatchHeader]]:
        for entry in self.entries:
            if entry.last_index >= from_index:
                yield entry.last_index, entry.header

    # -------------------------------------------------------------------------------------- disk

    def take_job(self) -> MemoryJob | None:
        is_whole = self._disk is None and self.synced_index == self.last_index
        idle = is_whole and self._wanted_checkpoint is None
        if self._job is not None or idle:
            return None
        self._job = MemoryJob(self.last_index, self._wanted_checkpoint)
        self._wanted_checkpoint = None
        return self._job

    def job_done(self, job: MemoryJob) -> None:
        assert job is self._job
        assert job.runs == 1, "a job is run before it is done"
        self._job = None
        if job.is_stale:
            return
        self.synced_index = max(self.synced_index, job.last_index)
        self._disk = None
        if job.checkpoint is not None:
            self.checkpoint_index, self.checkpoint_extra = job.checkpoint

    def checkpoint(self, index: int, extra: bytes) -> None:
        self._wanted_checkpoint = (index, extra)
        self.bytes_since_checkpoint = 0

    def crash(self) -> MemoryLog:
        """What is left after a power cut."""
        if self._disk is not None:
            return self._disk
        kept = [entry for entry in self.entries if entry.last_index <= self.synced_index]
        return MemoryLog(
            kept,
            self.synced_index,
            checkpoint_index=self.checkpoint_index,
            checkpoint_extra=self.checkpoint_extra,
            founding=self.founding,
            hollow=self.hollow,
            start_offset=self.start_offset,
            state=self.state,
            base=self.base,
        )
