"""A log without a disk, for tests of Raft and of the replica alone.

It keeps the calls of `log.log.Log` that `raft` and `partition.replica` use, and what they may
rely on: appends and truncations show at once, `synced_index` moves only when a job is done, and a
job covers only what it was taken for. `crash` is a power cut: only the synced part is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from quorate_broker.raft.messages import Buffer
from quorate_broker.wire import batch
from quorate_broker.wire.batch import BatchHeader, InternalKind


@dataclass(frozen=True, slots=True)
class Entry:
    """One batch or internal entry with the index of its last record."""

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


@dataclass(slots=True)
class MemoryJob:
    """Syncs what was there when it was taken, unless that was cut off meanwhile."""

    last_index: int
    checkpoint: tuple[int, bytes] | None
    runs: int = 0

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
    _job: MemoryJob | None = None
    _wanted_checkpoint: tuple[int, bytes] | None = None

    first_index = 0
    start_offset = 0

    @property
    def last_index(self) -> int:
        return self.entries[-1].last_index if self.entries else -1

    @property
    def last_term(self) -> int:
        return self.entries[-1].term if self.entries else 0

    @property
    def next_offset(self) -> int:
        return self.entries[-1].header.next_offset if self.entries else 0

    @property
    def membership(self) -> tuple[int, bytes]:
        for entry in reversed(self.entries):
            if entry.header.is_internal:
                told = batch.parse_internal(entry.buf)
                if told.kind is InternalKind.MEMBERSHIP:
                    return told.index, told.content
        return self.first_index - 1, self.founding

    # ---------------------------------------------------------------------------------- changes

    def fill(self) -> None:
        self.hollow = False

    def append(self, buf: Buffer) -> None:
        header = batch.parse_header(buf)
        assert header.size == len(buf), "one whole entry"
        assert header.base_offset == self.next_offset
        assert header.leader_epoch >= self.last_term
        records = 1 if header.is_internal else header.last_offset_delta + 1
        self.entries.append(Entry(self.last_index + records, header, memoryview(bytes(buf))))
        self.bytes_since_checkpoint += len(buf)

    def append_internal(self, kind: InternalKind, term: int, content: bytes, wall_ms: int) -> int:
        index = self.last_index + 1
        buf = batch.build_internal(
            base_offset=self.next_offset,
            leader_epoch=term,
            index=index,
            internals=1 + sum(1 for entry in self.entries if entry.header.is_internal),
            kind=kind,
            content=content,
            timestamp_ms=wall_ms,
        )
        self.append(buf)
        return index

    def truncate_after(self, index: int) -> None:
        assert index == -1 or any(entry.last_index == index for entry in self.entries)
        assert index >= self.checkpoint_index, "what is checkpointed is committed"
        while self.last_index > index:
            self.entries.pop()
        self.synced_index = min(self.synced_index, index)
        if self._job is not None:
            self._job.last_index = min(self._job.last_index, index)

    # --------------------------------------------------------------------------------- questions

    def term_at(self, index: int) -> int | None:
        if index == -1:
            return 0
        for entry in self.entries:
            if entry.last_index >= index:
                return entry.term
        return None

    def end_of_term(self, term: int) -> tuple[int, int]:
        for entry in reversed(self.entries):
            if entry.term <= term:
                return entry.term, entry.last_index
        return 0, -1

    def slice(self, first_index: int, max_bytes: int) -> MemorySlice:
        batches: list[Buffer] = []
        last_index, size = first_index - 1, 0
        for entry in self.entries:
            if entry.last_index < first_index:
                continue
            if batches and size + len(entry.buf) > max_bytes:
                break
            batches.append(entry.buf)
            last_index, size = entry.last_index, size + len(entry.buf)
        return MemorySlice(batches, last_index)

    def high_watermark(self, commit_index: int) -> int:
        offset = 0
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
        idle = self.synced_index == self.last_index and self._wanted_checkpoint is None
        if self._job is not None or idle:
            return None
        self._job = MemoryJob(self.last_index, self._wanted_checkpoint)
        self._wanted_checkpoint = None
        return self._job

    def job_done(self, job: MemoryJob) -> None:
        assert job is self._job
        assert job.runs == 1, "a job is run before it is done"
        self._job = None
        self.synced_index = max(self.synced_index, job.last_index)
        if job.checkpoint is not None:
            self.checkpoint_index, self.checkpoint_extra = job.checkpoint

    def checkpoint(self, index: int, extra: bytes) -> None:
        self._wanted_checkpoint = (index, extra)
        self.bytes_since_checkpoint = 0

    def crash(self) -> MemoryLog:
        """What is left after a power cut."""
        kept = [entry for entry in self.entries if entry.last_index <= self.synced_index]
        return MemoryLog(
            kept,
            self.synced_index,
            checkpoint_index=self.checkpoint_index,
            checkpoint_extra=self.checkpoint_extra,
            founding=self.founding,
            hollow=self.hollow,
        )
