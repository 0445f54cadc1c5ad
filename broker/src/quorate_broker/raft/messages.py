"""What the members of a Raft group say to each other, and what each of them must not forget.

Inert values. They are msgspec structs and not dataclasses because several are made per produce and
a frozen struct is built in C. Indexes count records (a batch covers a range of them, an internal
entry takes one); -1 means "nothing before the first entry". The entries of an `Append` are raw
record batches and travel outside the encoded head: see `encoding`. `core` says who sends what when.

    PreVote    -> PreVoteReply      may I stand? (changes nothing at the receiver)
    Vote       -> VoteReply         I stand in this term
    Append     -> AppendReply       entries; the reply counts only what the follower has synced
    Snapshot   -> SnapshotReply     what lies before the leader's first entry, piece by piece
    Heartbeat  -> HeartbeatReply    I lead; small, so that nodes may coalesce those of many groups
    TimeoutNow                      stand at once: leadership is handed over

Fields that were added later stand at the end and have defaults: members of two versions understand
each other, the older one skips what it does not know.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

Buffer: TypeAlias = bytes | bytearray | memoryview

Term = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""A term is written into a batch as its leader epoch, an int32."""
Index = Annotated[int, msgspec.Meta(ge=-1, le=2**62)]
Millis = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
"""A reading of the leader's monotonic clock; only the leader makes anything of it."""
Life = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""A number that a hollow replica draws when it starts; 0 is said by those that are whole."""


Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Crc = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


class Peer(msgspec.Struct, frozen=True, order=True):
    """One member: a node id alone is not enough, an emptied disk comes back as another member."""

    node_id: int
    incarnation: str


class HardState(msgspec.Struct, frozen=True):
    """Must be on disk before any message that was written under it leaves."""

    term: int = 0
    vote: Peer | None = None

    def covers(self, other: HardState) -> bool:
        """Whether having this on disk is at least as good as having `other` there."""
        if self.term != other.term:
            return self.term > other.term
        return other.vote is None or self.vote == other.vote


class PreVote(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Would you vote for me in `term` (my own term plus one)?"""

    term: Term
    last_index: Index
    last_term: Term


class PreVoteReply(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """`term` is the receiver's own term, `asked` the term of the question."""

    term: Term
    asked: Term
    granted: bool


class Vote(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """`transfer`: the leader itself asked for this election, so its lease does not protect it."""

    term: Term
    last_index: Index
    last_term: Term
    transfer: bool = False


class VoteReply(msgspec.Struct, frozen=True, array_like=True, tag=4):
    term: Term
    granted: bool


class Append(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Entries that follow (`prev_index`, `prev_term`), each buffer holding whole batches.

    Where compaction has made one empty batch of several, the first one may begin `skip` indexes
    before the one behind `prev_index`.
    """

    term: Term
    prev_index: Index
    prev_term: Term
    commit: Index
    entries: tuple[Buffer, ...] = ()
    skip: Count = 0


class AppendReply(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """How far the sender's log equals the leader's: in memory (`received`), on disk (`match`).

    `rejected` is the `prev_index` that did not fit, or -1 when it did (-1 always fits). Then
    `hint_term` is the greatest term in the sender's log that is not above the one that did not
    fit, and `hint_index` that term's last index there. `full`: it takes no records now.
    """

    term: Term
    received: Index
    match: Index
    rejected: Index = -1
    hint_term: Term = 0
    hint_index: Index = -1
    life: Life = 0
    full: bool = False


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """`commit` never exceeds what the receiver has acknowledged.

    `at_ms` comes back in the reply: when this was sent. `rest`: all is committed everywhere, there
    will be no more heartbeats until something happens. To a hollow replica: its `life`, and in
    `last_index` how far the leader's log went when that was known.
    """

    term: Term
    commit: Index
    at_ms: Millis = 0
    rest: bool = False
    life: Life = 0
    last_index: Index = -1


class HeartbeatReply(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """`received` and `match` as in `AppendReply`: it makes good for replies that were lost.

    `rest`: the sender rests from here on.
    """

    term: Term
    received: Index
    match: Index
    at_ms: Millis = 0
    rest: bool = False
    life: Life = 0
    full: bool = False


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, tag=9):
    term: Term


class Snapshot(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """A piece, from `position` on, of what the entries up to `index` came to.

    `total` bytes with the CRC-32C `crc`; what they say is the log's and the replica's affair.
    """

    term: Term
    index: Index
    last_term: Term
    position: Count
    total: Count
    crc: Crc
    chunk: Buffer = b""


class SnapshotReply(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Bytes from the start that the sender has; all of them: it goes on behind `index`."""

    term: Term
    index: Index
    position: Count
    life: Life = 0


Message: TypeAlias = (
    PreVote
    | PreVoteReply
    | Vote
    | VoteReply
    | Append
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | TimeoutNow
    | Snapshot
    | SnapshotReply
)
