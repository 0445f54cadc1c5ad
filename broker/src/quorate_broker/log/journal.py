"""The journal of terms and votes of all groups of a node (decision 9).

A vote that is forgotten is a second leader. So: one file, appended in blocks (everything pending
in one write, one `fdatasync`), and nothing that depends on a state leaves before its job is done.

A block is a head (magic, sequence number, payload length, CRC-32C over the rest) and msgpack of
the states that changed. It is written twice, one copy behind the other: a torn write spoils a
block that nobody was told about, but one rotten copy of a block that was synced must not pass for
that. Sequence numbers tell the two apart: a number missing below one that is there is corruption.

Opening reads all blocks and writes the result to a new file (synced, renamed into place: decision
12, after an unclean stop pages prove nothing). The same rewrite keeps the file near 1 MB.
"""

from __future__ import annotations

import posixpath
import struct
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from crc32c import crc32c

from quorate_broker.log.disk import Disk, read_if_there, reserve, write_whole
from quorate_broker.log.errors import JournalError

_MAGIC = b"QVJ1"
_HEAD = struct.Struct(">4sQI")  # magic, sequence, payload length
_CRC = struct.Struct(">I")  # of sequence, length and payload
_OVERHEAD = _HEAD.size + _CRC.size
_REWRITE_BYTES = 1 << 20
_MAX_PAYLOAD = 64 << 20


class Vote(NamedTuple):
    """For whom; the same two facts as `raft`'s Peer."""

    node_id: int
    incarnation: str


class TermAndVote(NamedTuple):
    """What a group must never forget."""

    term: int
    vote: Vote | None


_Changes = dict[str, TermAndVote | None]  # None: the group was removed


@dataclass(slots=True)
class JournalJob:
    """One group commit; run it in a disk thread, then give it back to `job_done`."""

    disk: Disk
    path: str
    handle: int
    at: int
    content: bytes
    groups: tuple[str, ...]
    """Whose state is durable once this is done."""
    rewrite: bool
    error: OSError | None = None
    done: bool = False

    def run(self) -> None:
        """Append and sync, or rewrite. Raises OSError, which is final for the journal."""
        assert not self.done, "a job runs once"
        assert self.error is None, "a failed job never runs again"
        try:
            if self.rewrite:
                self._rewrite()
            else:
                self.disk.pwrite(self.handle, [self.content], self.at)
                self.disk.sync(self.handle)
        except OSError as error:
            self.error = error
            raise
        self.done = True

    def _rewrite(self) -> None:
        folder, name = posixpath.split(self.path)
        write_whole(self.disk, folder, name, self.content)
        old, self.handle = self.handle, self.disk.open(self.path)
        self.disk.close(old)
        reserve(self.disk, self.handle, len(self.content), _REWRITE_BYTES)


class StateJournal:
    """See the module. Not thread-safe: one loop calls it; only `JournalJob.run` is elsewhere."""

    def __init__(self, disk: Disk, path: str, states: dict[str, TermAndVote]) -> None:
        self.states = states
        """As of the last `put`: durable or about to be."""
        self._disk = disk
        self._path = path
        self._sequence = 0
        self._pending: _Changes = {}
        self._job: JournalJob | None = None
        content = self._whole()
        folder, name = posixpath.split(path)
        write_whole(disk, folder, name, content)
        self._handle = disk.open(path)
        self._size = len(content)
        reserve(disk, self._handle, self._size, _REWRITE_BYTES)

    @classmethod
    def open(cls, disk: Disk, path: str) -> StateJournal:
        """Read the journal (a new one if there is none) and write it afresh. Blocking.

        Raises JournalError when a block is missing that was synced once, and OSError.
        """
        disk.mkdirs(posixpath.dirname(path))
        return cls(disk, path, read_states(disk, path) or {})

    @property
    def failed(self) -> OSError | None:
        """The error that ended this journal's writing: the node must stop voting."""
        return self._job.error if self._job is not None else None

    def put(self, group: str, term: int, vote: Vote | None) -> None:
        """In memory at once, durable when the next job is done."""
        known = self.states.get(group)
        if known is not None:
            assert term >= known.term, "terms never go back"
            assert term > known.term or known.vote in (None, vote), "one vote in a term"
        state = TermAndVote(term, vote)
        if state != known:
            self.states[group] = state
            self._pending[group] = state

    def remove(self, group: str) -> None:
        """Forget a deleted group."""
        if self.states.pop(group, None) is not None:
            self._pending[group] = None

    def take_job(self) -> JournalJob | None:
        """None while one is in flight, when nothing is pending, and for ever after an error."""
        if self._job is not None or not self._pending:
            return None
        pending, self._pending = self._pending, {}
        self._sequence += 1
        content = _block(self._sequence, pending)
        rewrite = self._size + len(content) > _REWRITE_BYTES and self._size > 2 * self._least_size()
        if rewrite:
            content = self._whole()
        self._job = JournalJob(
            disk=self._disk,
            path=self._path,
            handle=self._handle,
            at=self._size,
            content=content,
            groups=tuple(pending),
            rewrite=rewrite,
        )
        return self._job

    def job_done(self, job: JournalJob) -> None:
        """On the loop, after `run` returned."""
        assert job is self._job, "the job in flight"
        assert job.done, "run, without an error"
        self._job = None
        self._handle = job.handle
        self._size = len(job.content) if job.rewrite else self._size + len(job.content)

    def close(self) -> None:
        """Write what is pending, close the file. Blocking; no job may be running."""
        if self.failed is None:
            if self._job is not None:
                self.job_done(self._job)
            job = self.take_job()
            if job is not None:
                job.run()
                self.job_done(job)
        self._disk.close(self._handle)

    def _whole(self) -> bytes:
        changes: _Changes = dict(self.states)
        return _block(self._sequence, changes)

    def _least_size(self) -> int:
        """About what a rewrite would leave."""
        return 2 * sum(len(group) + 64 for group in self.states)


def _block(sequence: int, changes: _Changes) -> bytes:
    payload = msgspec.msgpack.encode(changes)
    assert len(payload) <= _MAX_PAYLOAD, "a node has far fewer groups"
    head = _HEAD.pack(_MAGIC, sequence, len(payload))
    copy = head + _CRC.pack(crc32c(payload, crc32c(head))) + payload
    return copy + copy


def read_states(disk: Disk, path: str) -> dict[str, TermAndVote] | None:
    """What the journal says, without writing anything; None if there is none. JournalError."""
    data = read_if_there(disk, path)
    return None if data is None else replay(data)


def replay(data: bytes) -> dict[str, TermAndVote]:
    """The states; JournalError when something that must be there is not."""
    states: dict[str, TermAndVote] = {}
    expected: int | None = None
    at = data.find(_MAGIC)
    while at >= 0:
        found = _parse(data, at)
        if found is None:
            at = data.find(_MAGIC, at + 1)
            continue
        sequence, payload = found
        if expected is None:
            if at not in (0, _OVERHEAD + len(payload)):
                raise JournalError("the first block of the journal is corrupt")
        elif sequence > expected:
            raise JournalError(f"block {expected} of the journal is corrupt")
        if expected is None or sequence == expected:
            _apply(states, payload)
            expected = sequence + 1
        at = data.find(_MAGIC, at + _OVERHEAD + len(payload))
    if expected is None:
        raise JournalError("the journal has no block that can be read")
    return states


def _parse(data: bytes, at: int) -> tuple[int, bytes] | None:
    """(sequence, payload) of the sound copy at `at`."""
    if len(data) - at < _OVERHEAD:
        return None
    _, sequence, length = _HEAD.unpack_from(data, at)
    begin = at + _OVERHEAD
    if length > _MAX_PAYLOAD or begin + length > len(data):
        return None
    payload = data[begin : begin + length]
    (crc,) = _CRC.unpack_from(data, at + _HEAD.size)
    if crc != crc32c(payload, crc32c(data[at : at + _HEAD.size])):
        return None
    return sequence, payload


def _apply(states: dict[str, TermAndVote], payload: bytes) -> None:
    try:
        changes = msgspec.msgpack.decode(payload, type=_Changes)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalError(f"a block of the journal cannot be read: {error}") from error
    for group, state in changes.items():
        if state is None:
            states.pop(group, None)
        else:
            states[group] = state
