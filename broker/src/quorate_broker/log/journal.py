"""The journal of terms and votes of all groups of a node (decision 9).

Signatures first; the body follows.
"""

from __future__ import annotations

from typing import NamedTuple

from quorate_broker.log.disk import Disk


class Vote(NamedTuple):
    """For whom; the same two facts as `raft`'s Peer."""

    node_id: int
    incarnation: str


class TermAndVote(NamedTuple):
    """What a group must never forget."""

    term: int
    vote: Vote | None


class JournalJob:
    """One group commit; run it in a disk thread, then call `job_done`."""

    groups: tuple[str, ...]  # whose state is durable once this is done
    error: OSError | None

    def run(self) -> None:
        """Append and sync, or rewrite. Raises OSError, which is final for the journal."""
        raise NotImplementedError


class StateJournal:
    """See module."""

    states: dict[str, TermAndVote]

    @classmethod
    def open(cls, disk: Disk, path: str) -> StateJournal:
        """Blocking; `path` is the file (its folder is made). Raises JournalError."""
        raise NotImplementedError

    @property
    def failed(self) -> OSError | None: ...

    def put(self, group: str, term: int, vote: Vote | None) -> None:
        """In memory at once, durable when the next job is done. Terms never go back."""
        raise NotImplementedError

    def remove(self, group: str) -> None:
        """Forget a deleted group."""
        raise NotImplementedError

    def take_job(self) -> JournalJob | None:
        """None while one is in flight, when nothing is pending, and for ever after an error."""
        raise NotImplementedError

    def job_done(self, job: JournalJob) -> None:
        """On the loop, after `run` returned."""
        raise NotImplementedError

    def close(self) -> None:
        """Blocking: write what is pending, close the file."""
        raise NotImplementedError
