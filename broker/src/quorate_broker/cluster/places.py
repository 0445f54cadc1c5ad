"""Where one partition lives, and where it is going.

    settled (target None) --Moved--> moving --Moved--> moving ... --Settled--> settled

Metadata only says what is wanted; the partition's own group gets there by itself (learners first,
then a change of voters) and its leader reports when it has. Until then everyone who may be part of
the group by then or still keeps the replica: a target that was given up half way (`former`) may
have become the group already. Read next: `image`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quorate_broker.cluster.records import Member


@dataclass(frozen=True, slots=True)
class Moved:
    """A new target."""

    target: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """The group consists of these now."""

    voters: tuple[Member, ...]


Change = Moved | Settled


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """Where one partition lives. The first replica is the preferred leader."""

    index: int
    voters: tuple[Member, ...]
    """As it settled last."""
    target: tuple[Member, ...] | None = None
    """As it shall be, while that is not so."""
    moves: int = 0
    """How often a target was set."""
    former: tuple[Member, ...] = ()
    """Members of targets that were replaced before the partition settled."""

    @property
    def wanted(self) -> tuple[Member, ...]:
        """What the group shall consist of."""
        return self.voters if self.target is None else self.target

    @property
    def holders(self) -> frozenset[Member]:
        """Everyone who may be part of the group: they keep a replica."""
        return frozenset((*self.voters, *self.wanted, *self.former))

    @property
    def replicas(self) -> tuple[int, ...]:
        """Node ids as Kafka shows them: preferred leader first, those that leave last."""
        if self.target is None:
            return tuple([one.node_id for one in self.voters])
        return tuple(dict.fromkeys(one.node_id for one in (*self.target, *self.voters)))

    @property
    def adding(self) -> tuple[int, ...]:
        """Node ids that get a replica they did not have."""
        return _ids_beyond(self.wanted, self.voters)

    @property
    def removing(self) -> tuple[int, ...]:
        """Node ids that lose theirs."""
        return _ids_beyond(self.voters, self.wanted)

    def replaced(self, old: Member, new: Member) -> tuple[Member, ...] | None:
        """What to want when `new` takes the place of `old`; None if nothing changes."""
        if old not in self.wanted:
            return None
        return tuple(new if one == old else one for one in self.wanted)

    def changed(self, change: Change) -> PartitionInfo:
        """The next state."""
        match change:
            case Moved():
                former = tuple(sorted({*self.former, *(self.target or ())}))
                return dataclasses.replace(
                    self, target=change.target, moves=self.moves + 1, former=former
                )
            case Settled():
                return dataclasses.replace(self, voters=change.voters, target=None, former=())


def new(rows: Sequence[tuple[Member, ...]], first: int) -> tuple[PartitionInfo, ...]:
    """New partitions, numbered from `first`."""
    return tuple(PartitionInfo(first + i, voters) for i, voters in enumerate(rows))


def _ids_beyond(some: Iterable[Member], others: Iterable[Member]) -> tuple[int, ...]:
    known = {one.node_id for one in others}
    return tuple(one.node_id for one in some if one.node_id not in known)
