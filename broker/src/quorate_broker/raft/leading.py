"""The leader's end of replication.

- It begins with an internal entry of its own term; nothing of an older term is committed by
  counting, only by being below something of the own term (Raft 5.4.2, figure 8).
- It counts itself only up to what its own disk has, but sends before that (decision: order).
- Appends are pipelined per follower (`progress`); a conflict is found by terms, not one by one: the
  follower names its greatest term not above the refused one and that term's end, the leader goes
  to the smaller of the two ends (KRaft's diverging epoch).
- CheckQuorum: without replies of a majority within `election_max_ms` it steps down.
- Transfer: proposals are refused, the target catches up, gets TimeoutNow and stands at once.
- Heartbeats of all groups of a node fall on the same milliseconds, so that they share frames.

One `replicate` sends what any number of proposals appended. Next: `changes`, which moves the
group's membership; `resting`, `snapshots`; `following`, the other end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from quorate_broker.raft import quorum, resting, snapshots
from quorate_broker.raft.membership import Membership
from quorate_broker.raft.messages import (
    Append,
    AppendReply,
    Buffer,
    Heartbeat,
    HeartbeatReply,
    Peer,
    SnapshotReply,
    TimeoutNow,
)
from quorate_broker.raft.ports import RaftLog, Slice
from quorate_broker.raft.progress import Mode, Packed, Progress
from quorate_broker.raft.state import FOREVER_MS, Role, State
from quorate_broker.raft.throttle import Throttle
from quorate_broker.wire.batch import InternalKind


class Leading:
    """What only a leader has. Lives as long as the leadership does."""

    def __init__(self, peers: Sequence[Peer], last_index: int, now_ms: int) -> None:
        self.followers = {peer: Progress(last_index, now_ms) for peer in peers}
        self.term_start = last_index + 1
        """Index of the internal entry that begins this term."""
        self.heartbeat_ms = now_ms
        self.busy_ms = now_ms
        """When something happened last: only after a while without is there rest."""
        self.round_ms = now_ms
        """Of the last heartbeats: the time, or more where two rounds began in one millisecond."""
        self.resting = False
        self.waking = False
        """It woke by something that did not say what time it is."""
        self.wanted: Membership | None = None
        self.packed: Packed | None = None
        self.leaving: dict[Peer, int] = {}
        """Members no more, but until then they are told so."""
        self.transferee: Peer | None = None
        self.transfer_ends_ms = 0
        self.uncommitted: deque[tuple[int, int]] = deque()  # (last index, bytes)
        self.uncommitted_bytes = 0

    def appended(self, last_index: int, size: int) -> None:
        self.uncommitted.append((last_index, size))
        self.uncommitted_bytes += size

    def committed(self, index: int) -> None:
        uncommitted = self.uncommitted
        while uncommitted and uncommitted[0][0] <= index:
            self.uncommitted_bytes -= uncommitted.popleft()[1]


def start(state: State) -> None:
    """A majority voted: lead, beginning with an entry of the own term."""
    state.become(Role.LEADER)
    state.leader = state.me
    leading = Leading(state.peers, state.log.last_index, state.now_ms)
    state.leading = leading
    content = msgspec.msgpack.encode((state.me.node_id, state.me.incarnation))
    index = state.log.append_internal(InternalKind.TERM_START, state.term, content)
    assert index == leading.term_start
    tick(state, leading)
    advance(state, leading)


def append_members(state: State, leading: Leading, members: Membership) -> None:
    """`members` are in effect from here on."""
    before = frozenset(state.peers)
    last_index = state.log.append_internal(InternalKind.MEMBERSHIP, state.term, members.encode())
    state.read_members()
    assert state.members_index == last_index, "the log knows its newest membership"
    for peer in before.difference(state.peers):
        leading.leaving[peer] = state.now_ms + 2 * state.settings.election_max_ms
    for peer in state.peers:
        leading.leaving.pop(peer, None)
        if peer not in leading.followers:
            leading.followers[peer] = Progress(last_index, state.now_ms, is_new=True)
    advance(state, leading)


def _forget_left(state: State, leading: Leading) -> None:
    """Who left is told until it knows, or does not answer for long."""
    for peer, until_ms in tuple(leading.leaving.items()):
        if state.now_ms >= until_ms or leading.followers[peer].told >= state.members_index:
            del leading.leaving[peer], leading.followers[peer]


# ------------------------------------------------------------------------------------------- time


def tick(state: State, leading: Leading) -> None:
    now_ms = state.now_ms
    if resting.is_silent(leading):
        return
    if _is_alone(state, leading):
        state.follow(state.term, None)
        return
    if leading.transferee is not None and now_ms >= leading.transfer_ends_ms:
        leading.transferee = None
        if is_removed(state, leading):
            state.follow(state.term, None)
            return
    if now_ms < leading.heartbeat_ms:
        return
    every_ms = state.settings.heartbeat_ms
    leading.heartbeat_ms = (now_ms // every_ms + 1) * every_ms
    beat(state, leading)
    _forget_left(state, leading)
    _hand_over(state, leading)
    resting.settle(state, leading)


def beat(state: State, leading: Leading) -> None:
    """A heartbeat to everybody now."""
    leading.round_ms = max(state.now_ms, leading.round_ms)
    may_rest = resting.may_rest(state, leading)
    for peer, follower in leading.followers.items():
        _send_heartbeat(state, peer, follower, may_rest)


def ask_round(state: State, leading: Leading) -> int:
    """Heartbeats whose answers are told from those to all that were sent before."""
    leading.round_ms += 1
    beat(state, leading)
    return leading.round_ms


def _is_alone(state: State, leading: Leading) -> bool:
    since_ms = _reached(state, leading, lambda follower: follower.heard_ms, state.now_ms)
    return state.now_ms - since_ms >= state.settings.election_max_ms


def _reached(state: State, leading: Leading, value: Callable[[Progress], int], own: int) -> int:
    """What majorities have reached of something that each member has, `own` being this one's."""

    def of(peer: Peer) -> int:
        return own if peer == state.me else value(leading.followers[peer])

    return quorum.agreed(state.halves, of)


def is_removed(state: State, leading: Leading) -> bool:
    """Whether this leader is no voter any more, for good."""
    return state.commit_index >= state.members_index and not state.may_stand


def confirmed_ms(state: State, leading: Leading) -> int:
    """When, by the own clock, majorities last took this member for their leader.

    It is no lease: a follower that loses its connection forgets its leader at once. Who has to know
    the newest asks for a round and waits until this is not before the asking.
    """
    return _reached(state, leading, lambda follower: follower.agreed_ms, leading.round_ms)


def deadline_ms(leading: Leading) -> int:
    if resting.is_silent(leading):
        return FOREVER_MS
    if leading.transferee is None:
        return leading.heartbeat_ms
    return min(leading.heartbeat_ms, leading.transfer_ends_ms)


# ---------------------------------------------------------------------------------------- sending


def replicate(state: State, leading: Leading) -> None:
    """Send every follower what it lacks, as far as its window allows."""
    cut: dict[int, Slice] = {}  # followers that are equally far share the slices
    for peer, follower in leading.followers.items():
        throttle = throttle_of(state, leading, follower)
        while follower.may_send(state.settings):
            if throttle is not None and not throttle.may_send(state.now_ms):
                break  # the next heartbeat is early enough to look again
            size = _send_next(state, peer, follower, cut)
            if size is None:
                break
            if throttle is not None:
                throttle.sent(size)
    if state.settings.eager_commit:
        for peer, follower in leading.followers.items():
            if follower.told < min(follower.match, state.commit_index):
                _send_heartbeat(state, peer, follower, rest=False)


def _send_next(state: State, peer: Peer, follower: Progress, cut: dict[int, Slice]) -> int | None:
    """One piece, append or probe: how many bytes of the log it holds; None: it has everything."""
    if snapshots.is_needed(state, follower):
        assert state.leading is not None
        state.leading.packed = snapshots.pack(state, state.leading.packed)
        follower.give(state.leading.packed)
    if follower.mode is Mode.SNAPSHOT:
        return snapshots.send(state, peer, follower)
    last_index = state.log.last_index
    if follower.next <= last_index:
        return _send_entries(state, peer, follower, cut)
    if follower.mode is not Mode.PROBE:
        return None
    _send_append(state, peer, follower, ())
    follower.sent(last_index, 0, state.now_ms)
    return 0


def throttle_of(state: State, leading: Leading, follower: Progress) -> Throttle | None:
    """What slows down the feeding of a follower that is behind; None for one that keeps up.

    And for all while majorities do not: then commits wait for those who are behind.
    """
    oldest_ms = state.now_ms - state.settings.lag_ms
    if follower.caught_up_ms >= oldest_ms:
        return None
    fresh_ms = _reached(state, leading, lambda other: other.caught_up_ms, state.now_ms)
    return state.throttle if fresh_ms >= oldest_ms else None


def _send_entries(state: State, peer: Peer, follower: Progress, cut: dict[int, Slice]) -> int:
    """How many bytes went."""
    first = follower.next
    piece = cut.get(first)
    if piece is None or follower.full:
        limit = 1 if follower.full else state.settings.append_bytes
        piece = cut[first] = state.log.slice(first, limit)
    assert piece.last_index >= first, "a slice has at least one batch"
    _send_append(state, peer, follower, tuple(piece.batches), first - piece.first_index)
    size = sum(map(len, piece.batches))
    follower.sent(piece.last_index, size, state.now_ms)
    return size


def _send_append(
    state: State, peer: Peer, follower: Progress, entries: tuple[Buffer, ...], skip: int = 0
) -> None:
    prev_index = follower.next - 1
    prev_term = state.log.term_at(prev_index) if prev_index >= 0 else 0
    assert prev_term is not None, "the log knows the term before its first entry"
    follower.told = state.commit_index
    commit = state.commit_index
    state.send(peer, Append(state.term, prev_index, prev_term, commit, entries, skip))


def _send_heartbeat(state: State, peer: Peer, follower: Progress, rest: bool) -> None:
    assert state.leading is not None
    at_ms = state.leading.round_ms
    follower.told = told = min(follower.match, state.commit_index)
    if not rest:
        follower.rests = False
    if follower.life:
        hollow = (follower.life, state.log.last_index)
        state.send(peer, Heartbeat(state.term, told, at_ms, rest, *hollow))
    else:
        state.send(peer, Heartbeat(state.term, told, at_ms, rest))


# ---------------------------------------------------------------------------------------- replies


def on_append_reply(state: State, sender: Peer, message: AppendReply) -> None:
    follower = _follower(state, sender, message)
    if follower is None:
        return
    if message.rejected < 0:
        _heard(state, follower, message)
        if message.full:
            follower.holds_back(state.now_ms)
        elif follower.mode is Mode.PROBE and message.received >= follower.next - 1:
            follower.accepted()
        return
    follower.heard_ms = state.now_ms
    if (
        follower.mode is Mode.SNAPSHOT
        or message.rejected <= follower.match
        or (follower.mode is Mode.PROBE and message.rejected != follower.next - 1)
    ):
        return  # an old one: it fits by now, or something else was asked since
    follower.probe(max(_agreed(state.log, message), follower.match) + 1)


def _agreed(log: RaftLog, message: AppendReply) -> int:
    """The last index up to which the two logs may be equal: always the end of an entry of ours.

    Where both know the hinted term, its shorter end is one; an end in another term of theirs may
    lie in the middle of a batch here.
    """
    term, end = log.end_of_term(message.hint_term)
    if term == message.hint_term:
        return min(end, message.hint_index)
    while end > message.hint_index:
        term, end = log.end_of_term(term - 1)
    return end


def on_heartbeat_reply(state: State, sender: Peer, message: HeartbeatReply) -> None:
    follower = _follower(state, sender, message)
    if follower is None:
        return
    assert state.leading is not None
    follower.agreed_ms = max(follower.agreed_ms, min(message.at_ms, state.leading.round_ms))
    follower.rests = message.rest
    _heard(state, follower, message)
    follower.full = message.full
    settings = state.settings
    is_hasty = follower.mode is Mode.PROBE and not follower.full
    follower.remind(settings.heartbeat_ms if is_hasty else settings.resend_ms, state.now_ms)
    if follower.is_stuck(state.settings.resend_ms, state.now_ms):
        follower.probe(max(follower.received, follower.match) + 1)


def on_snapshot_reply(state: State, sender: Peer, message: SnapshotReply) -> None:
    follower = _follower(state, sender, message)
    if follower is not None:
        snapshots.answered(state, follower, message)
        assert state.leading is not None
        if all(other.packed is None for other in state.leading.followers.values()):
            state.leading.packed = None


def lost(state: State, leading: Leading, peer: Peer) -> None:
    """The connection is gone, and what was in flight with it."""
    follower = leading.followers[peer]
    if follower.mode is Mode.SNAPSHOT:
        follower.asked_ms = None
        return
    follower.probe(max(follower.received, follower.match) + 1)


def _follower(
    state: State, sender: Peer, message: AppendReply | HeartbeatReply | SnapshotReply
) -> Progress | None:
    if message.term > state.term:
        state.follow(message.term, None)
        return None
    if message.term < state.term or state.leading is None:
        return None
    follower = state.leading.followers.get(sender)
    if follower is not None:
        follower.lives(message.life, state.log.last_index)
    return follower


def _heard(state: State, follower: Progress, message: AppendReply | HeartbeatReply) -> None:
    leading = state.leading
    assert leading is not None
    before = follower.match
    follower.heard(message.received, message.match, state.log.last_index, state.now_ms)
    if follower.match > before:
        advance(state, leading)
        _hand_over(state, leading)


def advance(state: State, leading: Leading) -> None:
    """Commit what a majority has on disk, if it is of the own term or below something that is."""
    index = _reached(state, leading, lambda follower: follower.match, state.log.synced_index)
    if index > state.commit_index and _may_commit(leading, index):
        assert state.log.term_at(index) == state.term
        state.commit(index)
        leading.committed(index)
        leading.busy_ms = state.now_ms


def _may_commit(leading: Leading, index: int) -> bool:
    return index >= leading.term_start


# --------------------------------------------------------------------------------------- transfer


def transfer(state: State, leading: Leading, target: Peer) -> None:
    leading.transferee = target
    leading.transfer_ends_ms = state.now_ms + state.settings.election_max_ms
    _hand_over(state, leading)


def target_of(state: State, leading: Leading, wanted: Peer | None) -> Peer | None:
    """Who may take over: `wanted`, or whoever has most on disk; only if it was heard lately."""
    oldest_ms = state.now_ms - state.settings.election_min_ms
    ranked = [
        (follower.match, follower.heard_ms, peer)
        for peer, follower in leading.followers.items()
        if (leading.resting or follower.heard_ms > oldest_ms) and wanted in (None, peer)
        if not follower.life and peer in state.halves[0]
    ]
    return max(ranked)[2] if ranked else None


def _hand_over(state: State, leading: Leading) -> None:
    target = leading.transferee
    if target is not None and leading.followers[target].match == state.log.last_index:
        state.send(target, TimeoutNow(state.term))
