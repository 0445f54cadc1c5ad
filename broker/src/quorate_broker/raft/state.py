"""What a member of a Raft group is at this moment, and the few changes all its parts share.

                    no leader for a while              a majority would
        FOLLOWER ----------------------> PRE_CANDIDATE ----------------> CANDIDATE
         ^  ^  |                               |   ^                      |   |
         |  |  +-- TimeoutNow of the leader ---|---|----------------------^   | a majority does
         |  +------------- a leader, a higher term, refused --------------+   v
         +--------------------- a higher term, no quorum, failed -------- LEADER

`election` moves along these arrows, `leading` and `following` hold what each end of replication
does, `core` is the door. The outbox keeps the one rule that must never break: a message leaves
only when the hard state under which it was written is on disk.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from quorate_broker.raft import membership
from quorate_broker.raft.membership import Halves, Membership
from quorate_broker.raft.messages import HardState, Message, Peer
from quorate_broker.raft.ports import Dice, RaftLog
from quorate_broker.raft.progress import NEVER_MS
from quorate_broker.raft.settings import RaftSettings
from quorate_broker.raft.throttle import Throttle

if TYPE_CHECKING:
    from quorate_broker.raft.leading import Leading


class Role(Enum):
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


_MOVES = {
    Role.FOLLOWER: {Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE},
    Role.PRE_CANDIDATE: {Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE},
    Role.CANDIDATE: {Role.FOLLOWER, Role.PRE_CANDIDATE, Role.LEADER},
    Role.LEADER: {Role.FOLLOWER},
}
FOREVER_MS = 2**62


@dataclass(frozen=True, slots=True)
class Seat:
    """Who this member is; with whom it votes is in its log."""

    group: str
    me: Peer
    throttle: Throttle = field(default_factory=Throttle, compare=False)
    """Shared by all groups of a broker: for those it leads and feeds."""


@dataclass(slots=True)
class Incoming:
    """A snapshot of which some pieces are here."""

    key: tuple[int, int, int, int]
    """Index, term, length, checksum: leaders of different terms may send the same one."""
    content: bytearray = field(default_factory=bytearray)


class State:
    """One member. Changed only by the functions of this package."""

    def __init__(
        self, seat: Seat, log: RaftLog, hard: HardState, settings: RaftSettings, dice: Dice
    ) -> None:
        assert hard.term >= log.last_term, "entries of a term that was never journaled"
        self.me = seat.me
        self.throttle = seat.throttle
        self.log = log
        self.settings = settings
        self.dice = dice

        self.hard = hard
        self.durable = hard
        self.announced = hard
        """The hard state that the driver was last asked to journal."""
        self.role = Role.FOLLOWER
        self.leader: Peer | None = None
        self.commit_index = -1
        self.failed = False

        self.members = Membership()
        self.members_index = -1
        self.halves: Halves = ()
        self.is_voter = False
        """By the newest membership, committed or not."""
        self.peers: tuple[Peer, ...] = ()
        """All members but this one."""
        self.electors: tuple[Peer, ...] = ()
        """All others that vote."""
        self._members_content: bytes | None = None
        self.read_members()
        self._life = dice.randint(1, 2**53) if log.hollow else 0
        self.fill_index: int | None = None
        """Hollow: this far the log of this term's leader went when it knew this life."""

        self.now_ms = NEVER_MS
        self.deadline_ms: int | None = None
        """When to ask for an election; None until the first tick."""
        self.contact_ms = NEVER_MS
        """When the leader was last heard: its lease."""
        self.votes: dict[Peer, bool] = {}
        self.resting = False
        """As a follower: the leader said that it will be silent until something happens."""

        self.matched = -1
        """As a follower: up to here the log equals that of this term's leader."""
        self.acked = -1
        self.told_commit: int | None = None
        """As a follower: the greatest commit index that came with an append, in this life. (A
        heartbeat says no more than what is known to be here.)"""
        self.ack_due = False
        self.incoming: Incoming | None = None
        self.paused = False
        """As a follower: the disk is full, no records are taken."""
        self.leading: Leading | None = None
        self._outbox: deque[tuple[HardState, Peer, Message]] = deque()

    @property
    def term(self) -> int:
        return self.hard.term

    # ---------------------------------------------------------------------------------- members

    def read_members(self) -> None:
        """The log grew or was cut: the newest membership in it is in effect."""
        self.members_index, content = self.log.membership
        if content == self._members_content:
            return
        self._members_content = content
        self.members = membership.decode(content)
        self.halves = self.members.halves
        self.is_voter = any(self.me in voters for voters in self.halves)
        self.peers = tuple(sorted(self.members.all - {self.me}))
        self.electors = tuple(sorted(frozenset().union(*self.halves) - {self.me}))

    @property
    def is_told(self) -> bool:
        """Whether it knows what its log begins with: a snapshot is the beginning where none is."""
        return self.members.voters != () or self.log.last_index > -1

    @property
    def may_stand(self) -> bool:
        """Whether this member votes, and has all that it ever acknowledged.

        Until the membership that leaves it out is known to be committed it may be the only one
        that has what is needed to lead (Ongaro's dissertation, 4.2.2).
        """
        if self.log.hollow:
            return False
        return self.is_voter or self.members_index > self.commit_index

    @property
    def is_alone(self) -> bool:
        """Whether nobody else has a vote."""
        return self.halves == (frozenset((self.me,)),)

    @property
    def life(self) -> int:
        """What is said of it in every reply: not 0 while hollow."""
        return self._life if self.log.hollow else 0

    # ------------------------------------------------------------------------------------ roles

    def become(self, role: Role) -> None:
        assert role in _MOVES[self.role], f"no way from {self.role} to {role}"
        self.role = role

    def follow(self, term: int, leader: Peer | None) -> None:
        """Be a follower in `term` (not below the own one), of `leader` if it is known."""
        assert term >= self.term
        if term > self.term:
            self.enter(HardState(term))
        else:
            assert self.role is not Role.LEADER or leader is None, f"two leaders in term {term}"
            assert self.leader is None or leader is None or self.leader == leader
        if self.role is Role.LEADER:
            self.restart_timer()
        self.become(Role.FOLLOWER)
        self.leader = leader
        self.leading = None
        self.votes = {}
        self.resting = False

    def enter(self, hard: HardState) -> None:
        """A new term: what was equal to the last leader's log need not be equal to the next one's,
        but for what is committed."""
        assert hard.term > self.term
        self.hard = hard
        self.matched = self.acked = self.commit_index
        self.ack_due = False
        self.fill_index = None

    def restart_timer(self) -> None:
        low, high = self.settings.election_min_ms, self.settings.election_max_ms
        self.deadline_ms = self.now_ms + self.dice.randint(low, high)

    def restore_commit(self, index: int) -> None:
        """What was known to be committed before a restart."""
        assert self.commit_index == -1, "only once, at the start"
        self.commit(index)
        self.matched = self.acked = index

    def commit(self, index: int) -> None:
        assert self.commit_index <= index <= self.log.last_index, "commits only grow"
        self.commit_index = index

    # ----------------------------------------------------------------------------------- outbox

    def send(self, to: Peer, message: Message) -> None:
        self._outbox.append((self.hard, to, message))

    def release(self) -> list[tuple[Peer, Message]]:
        """The messages that may leave now, in order."""
        released = []
        outbox, durable = self._outbox, self.durable
        while outbox and (outbox[0][0] is durable or durable.covers(outbox[0][0])):
            _, to, message = outbox.popleft()
            released.append((to, message))
        return released

    def silence(self) -> None:
        """Say nothing more, not even what waits for the journal."""
        self._outbox.clear()
