"""What must hold of replicas after every turn of their process (invariants E, I and J).

Nothing that a process knows changes but in a turn of its own loop, so that looking at whoever had
one is looking after every event.

- E: one leader per group and term, who has all that older terms committed; one vote per disk,
  group and term, and none of a hollow replica (J); commit indexes and high watermarks never go
  back; what is committed at an index is of one term, whoever says so.
- I: a replica that its disk has failed neither leads nor commits any more.

Next: `history`, what clients see of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from quorate_broker.net.lines import Line
from quorate_broker.net.mesh import Mesh
from quorate_broker.partition.replica import CorruptReplica, Replica
from quorate_broker.partition.shell import Partition
from quorate_broker.raft.core import Role
from quorate_broker.raft.messages import Message, Peer, Vote, VoteReply
from quorate_broker.testing.simulation.checkers import must


@dataclass(slots=True)
class _Seen:
    """What a replica was at when it was looked at last."""

    replica: Replica
    commit_index: int = -1
    high_watermark: int = 0
    has_failed: bool = False


@dataclass(slots=True)
class _Commits:
    """Of one group: what was committed in which term."""

    terms: dict[int, int]
    """The term of the entry at an index that somebody's commits ended at."""
    highest: dict[int, tuple[int, int]]
    """The highest index of all until then, and its term, by the term in which it was committed."""


class Watch:
    """The memory of a run."""

    def __init__(self, seen: Counter[str]) -> None:
        self._count = seen
        self._leaders: dict[tuple[str, int], int] = {}
        self._votes: dict[tuple[Peer, str, int], Peer] = {}
        self._seen: dict[tuple[int, str], _Seen] = {}
        self._commits: dict[str, _Commits] = {}

    # ---------------------------------------------------------------------------------- replicas

    def look(self, node_id: int, partition: Partition) -> None:
        """After a turn of its process."""
        replica, key = partition.replica, (node_id, partition.group)
        seen = self._seen.get(key)
        if seen is None or seen.replica is not replica:
            seen = self._seen[key] = _Seen(replica)
        if replica.error is not None:
            self._look_at_failed(node_id, partition, seen)
            return
        if replica.role is Role.LEADER:
            self._leads(node_id, partition)
        if replica.commit_index != seen.commit_index:
            self._has_committed(node_id, partition, seen)

    def _look_at_failed(self, node_id: int, partition: Partition, seen: _Seen) -> None:
        replica = partition.replica
        if not seen.has_failed:
            seen.has_failed = True
            seen.commit_index = replica.commit_index
            what = "rot found" if isinstance(replica.error, CorruptReplica) else "disk failed"
            self._count[what] += 1
        must(not replica.serving, f"I: node {node_id} serves {partition.group}, its disk failed")
        must(
            replica.commit_index == seen.commit_index,
            f"I: node {node_id} commits in {partition.group}, its disk failed",
        )

    def _leads(self, node_id: int, partition: Partition) -> None:
        group, replica = partition.group, partition.replica
        first = self._leaders.setdefault((group, replica.term), node_id)
        must(first == node_id, f"E: {first} and {node_id} lead {group} in term {replica.term}")
        if group in self._commits:
            self._has_all(node_id, group, replica)

    def _has_all(self, node_id: int, group: str, replica: Replica) -> None:
        leads_in, highest = replica.term, self._commits[group].highest
        before = [highest[term] for term in highest if term < leads_in]
        if not before:
            return
        index, term = max(before)
        found = replica.log.term_at(index)
        must(
            found == term or index < replica.log.first_index,
            f"E: {node_id} leads {group}, and at {index} it has {found}, not {term}",
        )

    def _has_committed(self, node_id: int, partition: Partition, seen: _Seen) -> None:
        group, replica = partition.group, partition.replica
        index, high_watermark = replica.commit_index, partition.high_watermark
        must(index > seen.commit_index, f"E: node {node_id} goes back in {group} to {index}")
        must(high_watermark >= seen.high_watermark, f"B: {group} ends at {high_watermark} again")
        seen.commit_index, seen.high_watermark = index, high_watermark
        term = replica.log.term_at(index)
        if index < 0 or term is None:
            return
        known = self._commits.setdefault(group, _Commits({}, {}))
        first = known.terms.setdefault(index, term)
        must(first == term, f"E: {group} has {first} and {term} committed at {index}")
        if index > max((highest for highest, _ in known.highest.values()), default=-1):
            known.highest[replica.term] = (index, term)

    # ------------------------------------------------------------------------------------- votes

    def said(self, me: Peer, to: Peer, group: str, message: Message, is_hollow: bool) -> None:
        """A vote that was given is given for ever, and never by who lost data."""
        if isinstance(message, Vote):
            choice = me
        elif isinstance(message, VoteReply) and message.granted:
            choice = to
        else:
            return
        voted = self._votes.setdefault((me, group, message.term), choice)
        must(voted == choice, f"E: {me} votes {choice} in {group}/{message.term}, voted {voted}")
        must(not is_hollow, f"J: {me} votes in {group}/{message.term}, but it is hollow")


class WatchedMesh(Mesh):
    """The product's lines; `said` hears what is sent on them."""

    said: Callable[[Peer, str, Message], None]

    def send(self, to: Peer, group: str, message: Message) -> None:
        self.said(to, group, message)
        super().send(to, group, message)

    def lines(self) -> list[Line]:
        """Those that stand, either way."""
        return [line for _, line in self._roster.lines() if line.peer is not None]
