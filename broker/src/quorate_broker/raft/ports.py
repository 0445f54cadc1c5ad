"""What the Raft core asks of the world: a log that answers from memory, and dice.

`log.Log` satisfies `RaftLog`; `raft` and `log` do not import each other. `partition.replica` joins
the two, and keeps what is derived from the log (producers) in step with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from quorate_broker.raft.messages import Buffer
from quorate_broker.wire.batch import BatchHeader, InternalKind


class Dice(Protocol):
    """The part of `random.Random` that elections need."""

    def randint(self, a: int, b: int) -> int: ...


class Slice(Protocol):
    """Whole batches, internal entries included."""

    @property
    def batches(self) -> Sequence[Buffer]: ...
    @property
    def last_index(self) -> int: ...
    @property
    def first_index(self) -> int:
        """Where the first batch begins; before what was asked for if that lies within it."""
        ...


class RaftLog(Protocol):
    """A log whose calls take effect in memory at once; only `synced_index` speaks of the disk."""

    @property
    def first_index(self) -> int: ...
    @property
    def last_index(self) -> int: ...
    @property
    def last_term(self) -> int: ...
    @property
    def next_offset(self) -> int: ...
    @property
    def synced_index(self) -> int: ...
    @property
    def membership(self) -> tuple[int, bytes]:
        """The newest in the log, with its entry's index; follows appends and truncations."""
        ...

    @property
    def hollow(self) -> bool:
        """Whether this log may lack what was acknowledged in its name."""
        ...

    def fill(self) -> None:
        """It lacks nothing any more."""
        ...

    def append(self, buf: Buffer, header: BatchHeader) -> None:
        """One whole stamped batch or internal entry, of which `header` is the header."""
        ...

    def append_internal(self, kind: InternalKind, term: int, content: bytes) -> int: ...
    def truncate_after(self, index: int) -> None: ...
    def term_at(self, index: int) -> int | None: ...
    def end_of_term(self, term: int) -> tuple[int, int]: ...
    def slice(self, first_index: int, max_bytes: int) -> Slice: ...
    def pack(self) -> bytes:
        """All that another log must know to begin at `first_index`, for its `unpack`."""
        ...

    def unpack(self, index: int, term: int, content: bytes) -> None:
        """Forget everything and begin behind (`index`, `term`). ValueError: not a snapshot."""
        ...
