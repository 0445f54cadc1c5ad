"""Snapshots: for a follower that needs what the leader's log does not have any more.

A snapshot is what lies before the log's first entry (`RaftLog.pack`), small beside the log itself;
the entries then follow as appends. It goes in pieces, one under way at a time; the follower says
how much it has, so that a lost piece, a lost connection or another leader with the same content
does not begin again. It is taken when it is whole and its checksum holds.

A hollow follower without anything gets one too, if only of an empty past: it is how it learns who
the founders are, who stand in no entry, and which numbers producers have used.
"""

from __future__ import annotations

from crc32c import crc32c

from quorate_broker.raft import following
from quorate_broker.raft.messages import Peer, Snapshot, SnapshotReply
from quorate_broker.raft.progress import Mode, Packed, Progress
from quorate_broker.raft.state import Incoming, State

# ----------------------------------------------------------------------------- the leader's end


def is_needed(state: State, follower: Progress) -> bool:
    """Whether entries alone would not do."""
    if follower.mode is Mode.SNAPSHOT:
        return False
    first_index = state.log.first_index
    knows_nothing = follower.life != 0 and not follower.based
    return follower.next < first_index or (knows_nothing and follower.next == first_index)


def pack(state: State, packed: Packed | None) -> Packed:
    """What the log begins with now, or `packed` if that is it."""
    index = state.log.first_index - 1
    if packed is not None and packed.index == index:
        return packed
    term = state.log.term_at(index)
    assert term is not None, "the log knows the term before its first entry"
    content = state.log.pack()
    return Packed(index, term, content, crc32c(content))


def send(state: State, peer: Peer, follower: Progress) -> int:
    """The next piece; its size in bytes."""
    packed, at = follower.packed, follower.position
    assert packed is not None, "in this mode there is one"
    piece = packed.content[at : at + state.settings.piece_bytes]
    total = len(packed.content)
    state.send(peer, Snapshot(state.term, packed.index, packed.term, at, total, packed.crc, piece))
    follower.asked_ms = state.now_ms
    return len(piece)


def answered(state: State, follower: Progress, message: SnapshotReply) -> None:
    """It has this much. Less than before: that is asked again when a while has passed, lest a
    message that came twice start a second stream."""
    follower.heard_ms = state.now_ms
    packed = follower.packed
    if packed is None or message.index != packed.index:
        return
    if message.position >= len(packed.content):
        follower.probe(max(packed.index, follower.match) + 1)
        follower.based = True
        return
    if message.position > follower.position:
        follower.asked_ms = None
    follower.position = message.position


# --------------------------------------------------------------------------- the follower's end


def on_snapshot(state: State, sender: Peer, message: Snapshot) -> None:
    has: int | None = 0
    if message.term >= state.term:
        following.hear(state, sender, message.term)
        has = _take(state, message)
    if has is not None:
        state.send(sender, SnapshotReply(state.term, message.index, has, state.life))


def _take(state: State, message: Snapshot) -> int | None:
    """Bytes that are here now; None where that is nobody's affair."""
    if _is_here(state, message):
        state.incoming = None
        return message.total
    if message.total > state.settings.snapshot_bytes:
        return None
    key = (message.index, message.last_term, message.total, message.crc)
    if state.incoming is None or state.incoming.key != key:
        state.incoming = Incoming(key)
    content = state.incoming.content
    if message.position == len(content):
        content += message.chunk
    if len(content) < message.total:
        return len(content)
    state.incoming = None
    if crc32c(content) != message.crc:
        return 0
    return _install(state, message, bytes(content))


def _is_here(state: State, message: Snapshot) -> bool:
    """Whether the log goes as far already, and knows whose it is."""
    log, index = state.log, message.index
    if index <= state.commit_index:
        return state.is_told
    if index <= log.last_index and log.term_at(index) == message.last_term:
        following.agreed(state, index)
        return True
    return False


def _install(state: State, message: Snapshot, content: bytes) -> int:
    assert state.matched <= message.index, "what equals this leader's log is not thrown away"
    try:
        state.log.unpack(message.index, message.last_term, content)
    except ValueError:  # another version's: nothing was changed
        return 0
    state.read_members()
    following.agreed(state, message.index)
    state.ack_due = True
    return message.total
