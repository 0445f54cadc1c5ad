"""One replica's log: record batches and internal entries, in memory first, on disk by jobs.

Signatures first; the body follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quorate_broker.log.disk import Buffer, Disk

if TYPE_CHECKING:
    from quorate_broker.wire.batch import BatchHeader, InternalKind


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Sizes in bytes."""

    segment_bytes: int = 1 << 30
    index_interval_bytes: int = 16 << 10
    preallocate_bytes: int = 16 << 20
    cache_bytes: int = 4 << 20  # recent batches kept in memory for followers and tail readers
    job_bytes: int = 16 << 20  # at most about this much in one job


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What opening found. `corrupt` set: no vote, no campaign, no serving; read-only."""

    torn_bytes: int = 0
    copied_bytes: int = 0  # beyond the checkpoint: copied, synced and renamed into place
    scanned_batches: int = 0
    corrupt: str | None = None
    wall_ms: int = 0


@dataclass(frozen=True, slots=True)
class Slice:
    """Whole entries for a follower; `last_index` = first_index - 1 when there is nothing."""

    batches: list[memoryview]
    last_index: int


class Job:
    """Blocking work handed out by `take_job`; run it in a disk thread, then call `job_done`."""

    error: OSError | None

    def run(self) -> None:
        """Write, roll, truncate, sync. Raises OSError, which is final for the log."""
        raise NotImplementedError


class Log:
    """See module."""

    recovery: RecoveryReport

    @classmethod
    def open(cls, disk: Disk, path: str, settings: LogSettings, wall_ms: int) -> Log:
        """Blocking. Recovers after an unclean stop; a new log is made if the folder is empty."""
        raise NotImplementedError

    @property
    def corrupt(self) -> str | None:
        """Why these bytes cannot be trusted (found at open or by a later read), else None."""
        raise NotImplementedError

    @property
    def failed(self) -> OSError | None:
        """The error that ended this log's writing, else None. Never cleared."""
        raise NotImplementedError

    @property
    def start_offset(self) -> int: ...
    @property
    def next_offset(self) -> int: ...
    @property
    def first_index(self) -> int: ...
    @property
    def last_index(self) -> int:
        """-1 when empty."""
        ...

    @property
    def last_term(self) -> int:
        """0 when empty."""
        ...

    @property
    def synced_index(self) -> int:
        """Everything up to here survives a power cut."""
        ...

    @property
    def size_bytes(self) -> int: ...

    def append(self, buf: Buffer) -> None:
        """One whole stamped entry; ours from now on (the caller must not write into it)."""
        raise NotImplementedError

    def append_internal(self, kind: InternalKind, term: int, content: bytes, wall_ms: int) -> int:
        """Build and append an internal entry; its index."""
        raise NotImplementedError

    def truncate_after(self, index: int) -> None:
        """Forget everything behind `index` (the last index of an entry, or first_index - 1)."""
        raise NotImplementedError

    def term_at(self, index: int) -> int | None:
        """Also answers for first_index - 1 (index -1: term 0). None when unknown."""
        raise NotImplementedError

    def end_of_term(self, term: int) -> tuple[int, int]:
        """(greatest known term <= term, its last index)."""
        raise NotImplementedError

    def end_offset_of_term(self, term: int) -> tuple[int, int]:
        """As Kafka's OffsetForLeaderEpoch: (term, end offset), (-1, -1) when unknown."""
        raise NotImplementedError

    def high_watermark(self, commit_index: int) -> int:
        """The offset behind the last record at or below `commit_index`."""
        raise NotImplementedError

    def index_of_offset(self, offset: int) -> int:
        """The index of a record."""
        raise NotImplementedError

    def slice(self, first_index: int, max_bytes: int) -> Slice:
        """Entries from the one that begins at `first_index`, internals too; at least one."""
        raise NotImplementedError

    def read(self, offset: int, max_bytes: int, end_offset: int) -> list[memoryview]:
        """Whole batches, no internals; the first contains `offset`; all end <= `end_offset`."""
        raise NotImplementedError

    def offset_for_time(self, timestamp_ms: int, end_offset: int) -> tuple[int, int] | None:
        """(offset, timestamp) of the first record not older than `timestamp_ms`."""
        raise NotImplementedError

    def max_timestamp(self, end_offset: int) -> tuple[int, int] | None:
        """(offset, timestamp) of the record with the greatest timestamp."""
        raise NotImplementedError

    def take_job(self) -> Job | None:
        """None while one is in flight, when there is nothing to do, and for ever after an error."""
        raise NotImplementedError

    def job_done(self, job: Job) -> None:
        """On the loop, after `run` returned: publishes what is durable now (synced_index)."""
        raise NotImplementedError

    def checkpoint(self, index: int, extra: bytes) -> None:
        """Write a checkpoint with the next job; `extra` describes the state at `index`, which
        should be committed: a truncation below it drops it."""
        raise NotImplementedError

    @property
    def checkpoint_index(self) -> int:
        """Index that `checkpoint_extra` describes; -1 (or first_index - 1) when there is none."""
        ...

    @property
    def checkpoint_extra(self) -> bytes: ...

    @property
    def bytes_since_checkpoint(self) -> int:
        """A checkpoint is due at 64 MB or 5 s, whichever comes first (decision 12)."""
        ...

    def replay_headers(self, from_index: int) -> Iterator[tuple[int, BatchHeader]]:
        """(index of its last record, header) of every entry that begins at or after from_index;
        call with `checkpoint_index + 1`."""
        raise NotImplementedError

    def close(self) -> None:
        """Blocking clean stop: run what is pending, trim, checkpoint, close the files."""
        raise NotImplementedError
