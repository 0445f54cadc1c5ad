"""One member of a Raft group, as a pure state machine.

Inputs are calls with `now_ms`; outputs are drained with `ready()`. No clock, no dice of its own, no
I/O: the same calls give the same outputs, so that a seed replays a whole cluster.

    step, tick, append, synced, hard_state_synced, ...   ->   ready()   ->   the driver acts

The log it is given acts in memory at once; the driver syncs it and says so. `Ready` tells what must
be journaled; everything in `Ready.messages` may leave at once, what may not yet is held back here.
Read `state` for the roles, then `election`, `leading`, `following`, `changes`.

Who belongs to the group is in the log; `want_members` says, to a leader, who should.
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate_broker.raft import (
    changes,
    election,
    following,
    leading,
    membership,
    resting,
    snapshots,
)
from quorate_broker.raft.membership import Membership
from quorate_broker.raft.messages import (
    Append,
    AppendReply,
    Buffer,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Message,
    Peer,
    PreVote,
    PreVoteReply,
    Snapshot,
    SnapshotReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from quorate_broker.raft.ports import Dice, RaftLog
from quorate_broker.raft.progress import NEVER_MS as NEVER_MS
from quorate_broker.raft.settings import RaftSettings
from quorate_broker.raft.state import FOREVER_MS, State
from quorate_broker.raft.state import Role as Role
from quorate_broker.raft.state import Seat as Seat
from quorate_broker.wire.batch import BatchHeader, InternalKind

_HANDLERS = {
    PreVote: election.on_pre_vote,
    PreVoteReply: election.on_pre_vote_reply,
    Vote: election.on_vote,
    VoteReply: election.on_vote_reply,
    TimeoutNow: election.on_timeout_now,
    Append: following.on_append,
    Heartbeat: following.on_heartbeat,
    Snapshot: snapshots.on_snapshot,
    AppendReply: leading.on_append_reply,
    SnapshotReply: leading.on_snapshot_reply,
    HeartbeatReply: leading.on_heartbeat_reply,
}


@dataclass(frozen=True, slots=True)
class Ready:
    """What the driver must do."""

    hard_state: HardState | None
    """Journal it, then say `hard_state_synced`; no entry of its term may be written before."""
    messages: list[tuple[Peer, Message]]
    """May leave now: what they depend on is on disk."""


class Raft:
    """The door to the package. All times are monotonic milliseconds."""

    def __init__(
        self, seat: Seat, log: RaftLog, hard_state: HardState, settings: RaftSettings, dice: Dice
    ) -> None:
        self._state = State(seat, log, hard_state, settings, dice)

    # ----------------------------------------------------------------------------------- inputs

    def step(self, sender: Peer, message: Message, now_ms: int) -> None:
        """A message came, of whomever: `sender` need not be a member by this log, which may not
        have the newest membership yet. What strangers answer is not counted."""
        state = self._state
        self._at(now_ms)
        if state.failed or sender == state.me:
            return
        if isinstance(message, PreVote) and sender not in state.peers:
            # Who left and was not told asks for ever: a group that rests need not wake for that.
            election.on_pre_vote(state, sender, message)
            return
        self._wake_for(message)
        _HANDLERS[type(message)](state, sender, message)  # type: ignore[operator]
        if isinstance(message, PreVote | Vote):
            election.wake(state)  # the lease of a leader that rests holds until here

    def _wake_for(self, message: Message) -> None:
        state = self._state
        if state.leading is None or isinstance(message, HeartbeatReply):
            return
        resting.wake(state, state.leading)

    def tick(self, now_ms: int) -> None:
        state = self._state
        self._at(now_ms)
        if state.failed:
            return
        if state.leading is not None:
            leading.tick(state, state.leading)
            self._go_on()
        else:
            election.tick(state)

    def append(self, buf: Buffer, header: BatchHeader) -> None:
        """Append a stamped batch; only while `may_propose`."""
        state = self._state
        assert state.leading is not None, "only a leader appends"
        assert state.leading.transferee is None, "leadership is being handed over"
        resting.wake(state, state.leading)
        state.log.append(buf, header)
        state.leading.appended(state.log.last_index, header.size)

    def append_internal(self, kind: InternalKind, content: bytes) -> int:
        """Append an entry of this kind, only while leading; its index."""
        state = self._state
        assert state.leading is not None, "only a leader appends"
        resting.wake(state, state.leading)
        return state.log.append_internal(kind, state.term, content)

    def synced(self) -> None:
        """The log's `synced_index` moved."""
        state = self._state
        if state.failed:
            return
        if state.leading is not None:
            leading.advance(state, state.leading)
        else:
            following.synced(state)

    def hard_state_synced(self, hard_state: HardState) -> None:
        """The journal has `hard_state` on disk."""
        state = self._state
        assert hard_state.covers(state.durable), "the journal went back"
        state.durable = hard_state
        if not state.failed:
            election.own_vote_is_durable(state)

    def campaign(self, now_ms: int) -> None:
        """Ask for an election now; does nothing for a leader."""
        state = self._state
        self._at(now_ms)
        if not state.failed and state.role is not Role.LEADER:
            election.ask(state)

    def wake(self, now_ms: int) -> None:
        """Something may have happened to the other members: end the rest, if there is one."""
        state = self._state
        self._at(now_ms)
        if state.leading is not None:
            resting.wake(state, state.leading)
        else:
            election.wake(state)

    def ask_round(self, now_ms: int) -> int:
        """As leader: ask everybody whether it still is. It is, when `confirmed_ms` is not below the
        number that this returns; elsewhere that will not be."""
        state = self._state
        self._at(now_ms)
        if state.leading is None:
            return FOREVER_MS
        resting.wake(state, state.leading)
        return leading.ask_round(state, state.leading)

    def want_members(self, voters: frozenset[Peer], learners: frozenset[Peer], now_ms: int) -> None:
        """As leader: bring the group to these voters and, beside them, these learners."""
        state = self._state
        self._at(now_ms)
        if state.leading is None or not voters:
            return
        wanted = membership.of(voters, (), learners)
        if wanted != state.leading.wanted:
            state.leading.wanted = wanted
            if wanted != state.members:
                resting.wake(state, state.leading)
        self._go_on()

    def _go_on(self) -> None:
        state = self._state
        if state.leading is not None:
            changes.step(state, state.leading)

    def transfer(self, target: Peer | None, now_ms: int) -> bool:
        """Hand leadership to `target` (None: whoever is furthest). False if that cannot begin."""
        state = self._state
        self._at(now_ms)
        if state.leading is None:
            return False
        chosen = leading.target_of(state, state.leading, target)
        if chosen is None:
            return False
        resting.wake(state, state.leading)
        leading.transfer(state, state.leading, chosen)
        return True

    def peer_lost(self, peer: Peer, now_ms: int) -> None:
        """The connection to `peer` broke."""
        state = self._state
        self._at(now_ms)
        if state.failed:
            return
        if state.leading is not None:
            if peer in state.leading.followers:
                resting.wake(state, state.leading)
                leading.lost(state, state.leading, peer)
        elif peer == state.leader:
            election.hasten(state)
        elif peer in state.peers:
            election.wake(state)

    def restore_commit(self, index: int) -> None:
        """Once, before anything else: what was committed when a checkpoint was taken."""
        self._state.restore_commit(index)

    def fail(self) -> None:
        """The disk cannot be trusted: no vote, no acknowledgement, no leadership from here on."""
        state = self._state
        state.failed = True
        if state.role is not Role.FOLLOWER:
            state.follow(state.term, None)
        state.leader = None
        state.silence()

    # ---------------------------------------------------------------------------------- outputs

    def ready(self, now_ms: int) -> Ready:
        state = self._state
        self._at(now_ms)
        if state.failed:
            return Ready(None, [])
        self._go_on()
        if state.leading is not None:
            leading.replicate(state, state.leading)
        hard = None
        if state.hard is not state.announced:
            hard = state.announced = state.hard
        return Ready(hard, state.release())

    # ------------------------------------------------------------------------------------ state

    @property
    def paused(self) -> bool:
        """Whether no records are taken from a leader, because the disk is full."""
        return self._state.paused

    @paused.setter
    def paused(self, is_paused: bool) -> None:
        self._state.paused = is_paused

    @property
    def role(self) -> Role:
        return self._state.role

    @property
    def term(self) -> int:
        return self._state.hard.term

    @property
    def leader(self) -> Peer | None:
        return self._state.leader

    @property
    def commit_index(self) -> int:
        return self._state.commit_index

    @property
    def now_ms(self) -> int:
        """The latest time it was told."""
        return self._state.now_ms

    @property
    def may_write(self) -> bool:
        """Whether entries may go to disk: none is written before the term it belongs to."""
        return self._state.durable.covers(self._state.hard)

    @property
    def may_propose(self) -> bool:
        """Whether this member leads, is not handing over, and has room for more."""
        state = self._state
        return state.leading is not None and state.leading.transferee is None and not self.is_full

    @property
    def is_full(self) -> bool:
        state = self._state
        return (
            state.leading is not None
            and state.leading.uncommitted_bytes >= state.settings.uncommitted_bytes
        )

    @property
    def serving(self) -> bool:
        """Whether an entry of the own term is committed: only then is the past known."""
        state = self._state
        return state.leading is not None and state.commit_index >= state.leading.term_start

    def configure(self, settings: RaftSettings) -> None:
        """Limits from now on; timing is armed already, and stays as it was."""
        old = self._state.settings
        timing = (old.heartbeat_ms, old.election_min_ms, old.election_max_ms)
        assert timing == (settings.heartbeat_ms, settings.election_min_ms, settings.election_max_ms)
        self._state.settings = settings

    @property
    def is_current(self) -> bool:
        """Whether it knows all that was committed when this member started, or before.

        An entry of the leader's term is committed, so all of older terms are; and, as a follower,
        this leader has said since then how far it had committed, and that is here. What this
        member knew in an earlier life may be committed later than its checkpoint says.
        """
        state = self._state
        if state.leader is None or state.log.term_at(state.commit_index) != state.term:
            return False
        if state.leading is not None:
            return True
        return state.told_commit is not None and state.commit_index >= state.told_commit

    @property
    def in_sync(self) -> frozenset[Peer]:
        """As leader: the voters that had everything within `lag_ms`, the leader included."""
        state = self._state
        if state.leading is None:
            return frozenset()
        oldest_ms = state.now_ms - state.settings.lag_ms
        if state.leading.resting:
            return frozenset((state.me, *state.electors))
        followers = state.leading.followers
        fresh = (peer for peer in state.electors if followers[peer].caught_up_ms >= oldest_ms)
        return frozenset((state.me, *fresh))

    @property
    def members(self) -> Membership:
        """Those in effect: by the newest entry of the log, committed or not."""
        return self._state.members

    @property
    def members_settled(self) -> bool:
        """As leader: whether the wanted members are in effect, and committed."""
        state = self._state
        return state.leading is not None and changes.is_settled(state, state.leading)

    @property
    def held_index(self) -> int:
        """As leader: up to here every member has what this log has, on disk; -1 elsewhere."""
        state = self._state
        if state.leading is None:
            return -1
        others = state.leading.followers.values()
        held = (-1 if each.life else each.match for each in others)
        return min(state.log.synced_index, *held) if others else state.log.synced_index

    @property
    def confirmed_ms(self) -> int:
        """As leader: when majorities last took this member for one, by its own clock (or, where
        rounds were asked for in quick succession, a little more)."""
        state = self._state
        if state.leading is None:
            return NEVER_MS
        return leading.confirmed_ms(state, state.leading)

    @property
    def leads_soon(self) -> bool:
        """Whether it does not serve yet, and needs nobody else's vote for that."""
        state = self._state
        may_win = not state.failed and state.is_alone and state.may_stand
        return may_win and not self.serving

    @property
    def resting(self) -> bool:
        """Whether there is nothing to do before something happens, not even to say one is there."""
        state = self._state
        return state.resting if state.leading is None else resting.is_silent(state.leading)

    @property
    def deadline_ms(self) -> int:
        """When `tick` must be called at the latest."""
        state = self._state
        if state.failed:
            return FOREVER_MS
        if state.leading is not None:
            return leading.deadline_ms(state.leading)
        if state.resting:
            return FOREVER_MS
        return NEVER_MS if state.deadline_ms is None else state.deadline_ms

    def _at(self, now_ms: int) -> None:
        state = self._state
        assert now_ms >= state.now_ms, "time went back"
        state.now_ms = now_ms
        if state.leading is not None and state.leading.waking:
            resting.woken(state, state.leading)
