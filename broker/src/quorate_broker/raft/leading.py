"""The leader's end of replication.

- It begins with an internal entry of its own term; nothing of an older term is committed by
  counting, only by being below something of the own term (Raft 5.4.2, figure 8).
- It counts itself only up to what its own disk has, but sends before that (decision: order).
- Appends are pipelined per follower (`progress`); a conflict is found by terms, not one by one: the
  follower names its greatest term not above the refused one and that term's end, the leader goes
  to the smaller of the two ends (KRaft's diverging epoch).
- CheckQuorum: without replies of a majority within `election_max_ms` it steps down.
- Transfer: proposals are refused, the target catches up, gets TimeoutNow and stands at once.

One `replicate` sends what any number of proposals appended. Next: `following`, the other end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from quorate_broker.raft import quorum
from quorate_broker.raft.messages import (
    Append,
    AppendReply,
    Buffer,
    Heartbeat,
    HeartbeatReply,
    Peer,
    TimeoutNow,
)
from quorate_broker.raft.ports import Slice
from quorate_broker.raft.progress import Mode, Progress
from quorate_broker.raft.state import Role, State
from quorate_broker.wire.batch import InternalKind


class Leading:
    """What only a leader has. Lives as long as the leadership does."""

    def __init__(self, peers: Sequence[Peer], last_index: int, now_ms: int) -> None:
        self.followers = {peer: Progress(last_index, now_ms) for peer in peers}
        self.term_start = last_index + 1
        """Index of the internal entry that begins this term."""
        self.heartbeat_ms = now_ms
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


# ------------------------------------------------------------------------------------------- time


def tick(state: State, leading: Leading) -> None:
    now_ms = state.now_ms
    if _is_alone(state, leading):
        state.follow(state.term, None)
        return
    if leading.transferee is not None and now_ms >= leading.transfer_ends_ms:
        leading.transferee = None
    if now_ms < leading.heartbeat_ms:
        return
    leading.heartbeat_ms = now_ms + state.settings.heartbeat_ms
    for peer, follower in leading.followers.items():
        _send_heartbeat(state, peer, follower)
    _hand_over(state, leading)


def _is_alone(state: State, leading: Leading) -> bool:
    heard = [follower.heard_ms for follower in leading.followers.values()]
    since_ms = quorum.reached([*heard, state.now_ms])
    return state.now_ms - since_ms >= state.settings.election_max_ms


def deadline_ms(leading: Leading) -> int:
    if leading.transferee is None:
        return leading.heartbeat_ms
    return min(leading.heartbeat_ms, leading.transfer_ends_ms)


# ---------------------------------------------------------------------------------------- sending


def replicate(state: State, leading: Leading) -> None:
    """Send every follower what it lacks, as far as its window allows."""
    last_index = state.log.last_index
    cut: dict[int, Slice] = {}  # followers that are equally far share the slices
    for peer, follower in leading.followers.items():
        while follower.may_send(state.settings):
            if follower.next <= last_index:
                if not _send_entries(state, peer, follower, cut):
                    break
            elif follower.mode is Mode.PROBE:
                _send_append(state, peer, follower, ())
                follower.sent(last_index, 0, state.now_ms)
            else:
                break
    if state.settings.eager_commit:
        for peer, follower in leading.followers.items():
            if follower.told < min(follower.match, state.commit_index):
                _send_heartbeat(state, peer, follower)


def _send_entries(state: State, peer: Peer, follower: Progress, cut: dict[int, Slice]) -> bool:
    first = follower.next
    if first < state.log.first_index:
        return False  # trimmed: only a snapshot could help
    piece = cut.get(first)
    if piece is None:
        piece = cut[first] = state.log.slice(first, state.settings.append_bytes)
    assert piece.last_index >= first, "a slice has at least one batch"
    _send_append(state, peer, follower, tuple(piece.batches))
    size = sum(map(len, piece.batches))
    follower.sent(piece.last_index, size, state.now_ms)
    return True


def _send_append(state: State, peer: Peer, follower: Progress, entries: tuple[Buffer, ...]) -> None:
    prev_index = follower.next - 1
    prev_term = state.log.term_at(prev_index) if prev_index >= 0 else 0
    assert prev_term is not None, "the log knows the term before its first entry"
    follower.told = state.commit_index
    state.send(peer, Append(state.term, prev_index, prev_term, state.commit_index, entries))


def _send_heartbeat(state: State, peer: Peer, follower: Progress) -> None:
    follower.told = min(follower.match, state.commit_index)
    state.send(peer, Heartbeat(state.term, follower.told))


# ---------------------------------------------------------------------------------------- replies


def on_append_reply(state: State, sender: Peer, message: AppendReply) -> None:
    follower = _follower(state, sender, message.term)
    if follower is None:
        return
    if message.rejected < 0:
        _heard(state, follower, message)
        if follower.mode is Mode.PROBE and message.received >= follower.next - 1:
            follower.accepted()
        return
    follower.heard_ms = state.now_ms
    if message.rejected <= follower.match or (
        follower.mode is Mode.PROBE and message.rejected != follower.next - 1
    ):
        return  # an old one: it fits by now, or something else was asked since
    _, end = state.log.end_of_term(message.hint_term)
    agreed = min(end, message.hint_index, message.rejected - 1)
    follower.probe(max(agreed, follower.match) + 1)


def on_heartbeat_reply(state: State, sender: Peer, message: HeartbeatReply) -> None:
    follower = _follower(state, sender, message.term)
    if follower is None:
        return
    _heard(state, follower, message)
    follower.remind(state.settings.heartbeat_ms, state.now_ms)
    if follower.is_stuck(state.settings.resend_ms, state.now_ms):
        follower.probe(max(follower.received, follower.match) + 1)


def lost(state: State, leading: Leading, peer: Peer) -> None:
    """The connection is gone, and what was in flight with it."""
    follower = leading.followers[peer]
    follower.probe(max(follower.received, follower.match) + 1)


def _follower(state: State, sender: Peer, term: int) -> Progress | None:
    if term > state.term:
        state.follow(term, None)
        return None
    if term < state.term or state.leading is None:
        return None
    return state.leading.followers.get(sender)


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
    matches = [follower.match for follower in leading.followers.values()]
    index = quorum.reached([*matches, state.log.synced_index])
    if index > state.commit_index and _may_commit(leading, index):
        assert state.log.term_at(index) == state.term
        state.commit(index)
        leading.committed(index)


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
        if follower.heard_ms > oldest_ms and wanted in (None, peer)
    ]
    return max(ranked)[2] if ranked else None


def _hand_over(state: State, leading: Leading) -> None:
    target = leading.transferee
    if target is not None and leading.followers[target].match == state.log.last_index:
        state.send(target, TimeoutNow(state.term))
