"""The follower's end of replication.

- Entries are taken in when the one before them is the same here, by (index, term); what
  contradicts them is cut off first, and never below the commit index.
- An acknowledgement says how far the log is on disk *and* equal to this leader's. It is written
  when the log's sync is done, one for all appends that came meanwhile.
- A batch is looked at before it is kept: contiguous, terms that neither fall nor exceed the
  leader's, a checksum that holds. What fails ends the append; the leader will send it again.
- A log that begins anew takes no entries before a snapshot: only that says who founded the group,
  and who does not know its group could be filled and yet never stand.
- Who is addressed by a leader of an older term answers with its own: that leader steps down.
"""

from __future__ import annotations

from collections.abc import Iterator

from quorate_broker.raft.messages import (
    Append,
    AppendReply,
    Buffer,
    Heartbeat,
    HeartbeatReply,
    Peer,
)
from quorate_broker.raft.state import Role, State
from quorate_broker.wire import batch, compacted
from quorate_broker.wire.batch import BatchError, BatchHeader


def on_append(state: State, sender: Peer, message: Append) -> None:
    if message.term < state.term:
        state.send(sender, AppendReply(state.term, -1, -1))
        return
    hear(state, sender, message.term)
    if not _fits(state, message):
        _reject(state, sender, message)
        return
    state.incoming = None
    last = _take(state, message)
    state.read_members()
    state.matched = max(state.matched, last)
    state.told_commit = max(message.commit, state.told_commit or 0)
    _learn_commit(state, message.commit)
    if state.log.synced_index >= last:
        _acknowledge(state, sender)
    else:
        state.ack_due = True


def on_heartbeat(state: State, sender: Peer, message: Heartbeat) -> None:
    if message.term < state.term:
        state.send(sender, HeartbeatReply(state.term, -1, -1))
        return
    hear(state, sender, message.term)
    _learn_commit(state, message.commit)
    if message.life and message.life == state.life and state.fill_index is None:
        state.fill_index = message.last_index
        _fill(state)
    state.resting = message.rest and _may_rest(state)
    match = min(state.log.synced_index, state.matched)
    place = (state.term, state.matched, match, message.at_ms)
    reply = HeartbeatReply(*place, rest=state.resting, life=state.life, full=state.paused)
    state.send(sender, reply)


def synced(state: State) -> None:
    """More of the log is on disk: acknowledge it."""
    _fill(state)
    if not state.ack_due or state.leader is None:
        return
    match = min(state.log.synced_index, state.matched)
    if match > state.acked:
        _acknowledge(state, state.leader)
    state.ack_due = match < state.matched


def hear(state: State, sender: Peer, term: int) -> None:
    """`sender` leads `term`: it lives, and no election is due."""
    if term > state.term or state.leader != sender or state.role is not Role.FOLLOWER:
        state.follow(term, sender)
    state.resting = False
    state.contact_ms = state.now_ms
    state.restart_timer()


def _may_rest(state: State) -> bool:
    ends = (state.commit_index, state.matched, state.log.synced_index)
    return not state.life and set(ends) == {state.log.last_index}


def _fill(state: State) -> None:
    """A hollow replica is whole when it has, on disk, all that it can ever have acknowledged.

    To leaders before this one: what of it counted is in this leader's log. To this one, in an
    earlier life: that was in its log when it heard of the new life. So: as far as its log went
    then, and something committed of its own term, for only then is the past known at all.
    And it knows with whom it votes.
    """
    if state.fill_index is None or not state.log.hollow:
        return
    match = min(state.log.synced_index, state.matched)
    if (
        match >= max(state.fill_index, state.commit_index)
        and state.log.term_at(state.commit_index) == state.term
        and state.members.voters
    ):
        state.log.fill()


def _fits(state: State, message: Append) -> bool:
    prev = message.prev_index
    if not state.is_told:
        return False
    if prev <= state.commit_index:  # also what retention has taken away here
        return True
    return prev <= state.log.last_index and state.log.term_at(prev) == message.prev_term


def _reject(state: State, sender: Peer, message: Append) -> None:
    hint_term, hint_index = state.log.end_of_term(message.prev_term)
    match = min(state.log.synced_index, state.matched)
    state.send(
        sender,
        AppendReply(
            state.term,
            state.matched,
            match,
            message.prev_index,
            hint_term,
            hint_index,
            state.life,
        ),
    )


def _acknowledge(state: State, leader: Peer) -> None:
    match = min(state.log.synced_index, state.matched)
    state.acked = match
    place = (state.term, state.matched, match)
    state.send(leader, AppendReply(*place, life=state.life, full=state.paused))


def agreed(state: State, index: int) -> None:
    """Up to `index` everything here is the leader's, and committed."""
    state.matched = max(state.matched, index)
    if index > state.commit_index:
        state.commit(index)
    _fill(state)


def _learn_commit(state: State, commit: int) -> None:
    known = min(commit, state.matched)
    if known > state.commit_index:
        state.commit(known)
        _fill(state)


# ------------------------------------------------------------------------------------- the entries


def _take(state: State, message: Append) -> int:
    """Keep what is new of the entries; the last index that is now equal to the leader's."""
    log = state.log
    last = message.prev_index - message.skip
    for header, buf in _batches(message.entries):
        end = last + (1 if header.is_internal else header.last_offset_delta + 1)
        if _is_here(state, end, header.leader_epoch):
            last = end
            continue
        if state.paused and not header.is_internal:
            break
        known = max(last, _known(state, end, header.leader_epoch))
        if log.last_index > known:
            assert known >= state.commit_index, "committed entries are never cut off"
            assert known >= state.matched, "this leader contradicts itself"
            log.truncate_after(known)
        if not _is_acceptable(state, message.term, header, known - last, buf):
            break
        if known > last:
            buf = compacted.gap(log.next_offset, header.last_offset, header.leader_epoch)
            header = batch.parse_header(buf)
        log.append(buf, header)
        assert log.last_index == end
        last = end
    return max(last, message.prev_index)


def _known(state: State, end: int, term: int) -> int:
    """How far the log goes into a batch of the leader's, of `term`, that ends at `end`.

    Compaction makes one empty batch of several committed ones, here or there; so the log may end,
    or turn into another leader's, in the middle of it. Of such a batch the front is cut off.
    """
    known_term, known = state.log.end_of_term(term)
    return min(end, known) if known_term == term else -1


def _is_here(state: State, index: int, term: int) -> bool:
    if index <= state.commit_index:
        return True
    return index <= state.log.last_index and state.log.term_at(index) == term


def _batches(entries: tuple[Buffer, ...]) -> Iterator[tuple[BatchHeader, Buffer]]:
    for buf in entries:
        try:
            for at, header in batch.headers(buf):
                whole = at == 0 and header.size == len(buf)
                yield header, buf if whole else memoryview(buf)[at : at + header.size]
        except BatchError:
            return


def _is_acceptable(state: State, term: int, header: BatchHeader, front: int, buf: Buffer) -> bool:
    """Whether the batch, but for its first `front` records, continues the log."""
    return (
        header.base_offset + front == state.log.next_offset
        and (front == 0 or (header.count == 0 and not header.is_control))
        and state.log.last_term <= header.leader_epoch <= term
        and batch.verify_crc(buf, header)
    )
