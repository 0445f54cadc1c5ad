"""Who belongs to a Raft group: voters, those on their way out, learners.

A membership is the content of an internal entry and in effect as soon as that is appended; when
the entry is cut off, the one before it is in effect again. While `outgoing` is not empty the group
is joint (Raft 6): votes, commits and the leader's lease need a majority of the voters and one of
the outgoing. Learners get every entry and count nowhere. Next: `changes` moves from one to another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeAlias

import msgspec

from quorate_broker.raft.messages import Peer

MAX_MEMBERS = 128

Peers = Annotated[tuple[Peer, ...], msgspec.Meta(max_length=MAX_MEMBERS)]
Halves: TypeAlias = tuple[frozenset[Peer], ...]


class Membership(msgspec.Struct, frozen=True, array_like=True):
    """All three sorted. Empty: not known yet, as in a replica that has still to be filled."""

    voters: Peers = ()
    outgoing: Peers = ()
    learners: Peers = ()

    @property
    def joint(self) -> bool:
        return self.outgoing != ()

    @property
    def all(self) -> frozenset[Peer]:
        return frozenset((*self.voters, *self.outgoing, *self.learners))

    @property
    def halves(self) -> Halves:
        """Each of these must agree by majority."""
        voters = frozenset(self.voters)
        return (voters, frozenset(self.outgoing)) if self.joint else (voters,)

    def encode(self) -> bytes:
        """The content of an internal entry."""
        assert self.voters, "a group has voters"
        _check(self)
        return _encoder.encode(self)


def of(
    voters: Iterable[Peer], outgoing: Iterable[Peer] = (), learners: Iterable[Peer] = ()
) -> Membership:
    """A membership of these; who votes on either side is no learner."""
    left = frozenset(outgoing)
    voting = frozenset(voters)
    learning = frozenset(learners) - voting - left
    return Membership(tuple(sorted(voting)), tuple(sorted(left)), tuple(sorted(learning)))


def decode(content: bytes) -> Membership:
    """The opposite of `encode`; b"" is the empty one. Raises ValueError."""
    if not content:
        return Membership()
    members = _decoder.decode(content)  # msgspec.ValidationError is a ValueError
    if not members.voters:
        raise ValueError("a membership without voters")
    try:
        _check(members)
    except AssertionError as error:
        raise ValueError(f"not a membership: {error}") from error
    return members


def _check(members: Membership) -> None:
    for peers in (members.voters, members.outgoing, members.learners):
        assert list(peers) == sorted(set(peers)), "sorted, each once"
        assert len(peers) <= MAX_MEMBERS, "too many"
        assert len({peer.node_id for peer in peers}) == len(peers), "one incarnation of a node"
    voting = {*members.voters, *members.outgoing}
    assert voting.isdisjoint(members.learners), "who votes is no learner"


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Membership)
