"""The log as Raft sees it, with what is derived from it (the producers) kept in step.

Also where a snapshot is made and taken: see `snapshot` for what is in one. Next: `replica`.
"""

from __future__ import annotations

from quorate_broker.log.log import Log
from quorate_broker.partition import snapshot
from quorate_broker.partition.producers import ProducerTable
from quorate_broker.raft import membership
from quorate_broker.raft.messages import Buffer
from quorate_broker.raft.ports import Slice
from quorate_broker.wire.batch import BatchHeader, InternalKind

_NO_TIME = -1
"""Internal entries carry no time: this part has no wall clock."""


def is_of_producer(header: BatchHeader) -> bool:
    """Whether an idempotent producer wrote it, and numbered it."""
    return header.producer_id >= 0 and not header.is_control


class FollowedLog:
    """Implements `raft.ports.RaftLog`."""

    def __init__(self, log: Log, producers: ProducerTable) -> None:
        self._log = log
        self._producers = producers
        self.has_begun_anew = False
        """A snapshot was taken since this was last looked at."""
        self.term_at = log.term_at
        self.end_of_term = log.end_of_term

    @property
    def first_index(self) -> int:
        return self._log.first_index

    @property
    def last_index(self) -> int:
        return self._log.last_index

    @property
    def last_term(self) -> int:
        return self._log.last_term

    @property
    def next_offset(self) -> int:
        return self._log.next_offset

    @property
    def synced_index(self) -> int:
        return self._log.synced_index

    @property
    def membership(self) -> tuple[int, bytes]:
        return self._log.membership

    @property
    def hollow(self) -> bool:
        return self._log.hollow

    def fill(self) -> None:
        self._log.fill()

    def append(self, buf: Buffer, header: BatchHeader) -> None:
        offset = self._log.next_offset
        self._log.append(buf)
        if is_of_producer(header):
            self._producers.record(header, offset, self._log.last_index)

    def append_internal(self, kind: InternalKind, term: int, content: bytes) -> int:
        return self._log.append_internal(kind, term, content, _NO_TIME)

    def truncate_after(self, index: int) -> None:
        self._log.truncate_after(index)
        self._producers.rollback(index)

    def slice(self, first_index: int, max_bytes: int) -> Slice:
        return self._log.slice(first_index, max_bytes)

    def pack(self) -> bytes:
        return snapshot.encode(self._log.prefix(), self._producers.snapshot(), self._log.state)

    def unpack(self, index: int, term: int, content: bytes) -> None:
        contents = snapshot.decode(content)
        if (contents.index, contents.term) != (index, term):
            raise ValueError("a snapshot of another place than it says")
        membership.decode(contents.membership)
        self._producers.begin(index, contents.producers)
        ours, theirs = self._log.state, contents.state
        if theirs is not None and (ours is None or ours[0] < theirs[0]):
            self._log.put_state(*theirs)
        self._log.reset(contents.prefix, contents.producers)
        self.has_begun_anew = True
