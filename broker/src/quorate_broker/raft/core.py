"""One member of a Raft group, as a pure state machine.

Inputs are calls with `now_ms`; outputs are drained with `ready()`. No clock, no dice of its own, no
I/O: the same calls give the same outputs, so that a seed replays a whole cluster.

    step, tick, append, synced, hard_state_synced, ...   ->   ready()   ->   the driver acts

The log it is given acts in memory at once; the driver syncs it and says so. `Ready` tells what must
be journaled; everything in `Ready.messages` may leave at once, what may not yet is held back here.
Read `state` for the roles, then `election`, `leading`, `following`.

Membership changes, learners and snapshots are not built yet. Their places: `quorum.ballot` and
`quorum.reached` (joint majorities), `State.voters` (follows the log), a third `progress.Mode`.
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate_broker.raft import election, following, leading
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
    TimeoutNow,
    Vote,
    VoteReply,
)
from quorate_broker.raft.ports import Dice, RaftLog
from quorate_broker.raft.settings import RaftSettings
from quorate_broker.raft.state import FOREVER_MS, State
from quorate_broker.raft.state import NEVER_MS as NEVER_MS
from quorate_broker.raft.state import Role as Role
from quorate_broker.raft.state import Seat as Seat
from quorate_broker.wire.batch import BatchHeader

_HANDLERS = {
    PreVote: election.on_pre_vote,
    PreVoteReply: election.on_pre_vote_reply,
    Vote: election.on_vote,
    VoteReply: election.on_vote_reply,
    TimeoutNow: election.on_timeout_now,
    Append: following.on_append,
    Heartbeat: following.on_heartbeat,
    AppendReply: leading.on_append_reply,
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
        """A message came. Strangers (another incarnation, a removed member) are not heard."""
        state = self._state
        self._at(now_ms)
        if state.failed or sender not in state.voters or sender == state.me:
            return
        _HANDLERS[type(message)](state, sender, message)  # type: ignore[operator]

    def tick(self, now_ms: int) -> None:
        state = self._state
        self._at(now_ms)
        if state.failed:
            return
        if state.leading is not None:
            leading.tick(state, state.leading)
        else:
            election.tick(state)

    def append(self, buf: Buffer, header: BatchHeader) -> None:
        """Append a stamped batch; only while `may_propose`."""
        state = self._state
        assert state.leading is not None, "only a leader appends"
        assert state.leading.transferee is None, "leadership is being handed over"
        state.log.append(buf, header)
        state.leading.appended(state.log.last_index, header.size)

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

    def transfer(self, target: Peer | None, now_ms: int) -> bool:
        """Hand leadership to `target` (None: whoever is furthest). False if that cannot begin."""
        state = self._state
        self._at(now_ms)
        if state.leading is None:
            return False
        chosen = leading.target_of(state, state.leading, target)
        if chosen is None:
            return False
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
                leading.lost(state, state.leading, peer)
        elif peer == state.leader:
            election.hasten(state)

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
        if state.leading is not None:
            leading.replicate(state, state.leading)
        hard = None
        if state.hard is not state.announced:
            hard = state.announced = state.hard
        return Ready(hard, state.release())

    # ------------------------------------------------------------------------------------ state

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

    @property
    def in_sync(self) -> frozenset[Peer]:
        """As leader: who had everything within `lag_ms`, the leader included."""
        state = self._state
        if state.leading is None:
            return frozenset()
        oldest_ms = state.now_ms - state.settings.lag_ms
        followers = state.leading.followers.items()
        fresh = (peer for peer, follower in followers if follower.caught_up_ms >= oldest_ms)
        return frozenset((state.me, *fresh))

    @property
    def deadline_ms(self) -> int:
        """When `tick` must be called at the latest."""
        state = self._state
        if state.failed:
            return FOREVER_MS
        if state.leading is not None:
            return leading.deadline_ms(state.leading)
        return NEVER_MS if state.deadline_ms is None else state.deadline_ms

    def _at(self, now_ms: int) -> None:
        assert now_ms >= self._state.now_ms, "time went back"
        self._state.now_ms = now_ms
