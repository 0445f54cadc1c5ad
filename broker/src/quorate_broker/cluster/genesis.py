"""How empty disks become one cluster, and never two.

Every seed asks every other what it holds, and does the one step that the answers allow:

    empty    --all seeds empty, same list, I am the lowest id---> prepared  (a new genesis, synced)
    empty    --a seed holds a genesis that names my incarnation-> prepared  (that genesis, synced)
    prepared --every seed holds this genesis, or one is formed--> formed    (may vote)
    empty    --a formed seed's genesis does not name my disk---> ask to join (that cluster)

The genesis names (node id, incarnation) of every voter, and an incarnation is on disk before it
is told to anyone; so a seed that lost its disk is not in the genesis, and two lost disks of three
leave one broker that waits for them rather than two that begin anew. Nobody votes before every
seed has synced the genesis. An empty disk that is told a cluster id (`cluster.id`) never starts a
cluster, it only joins that one.

Whoever is not named by the genesis, because its disk was lost or because it was not there yet,
asks the cluster to admit it: that is a decision of the metadata group, which therefore needs its
majority (`members`). It keeps the genesis as the others do, and follows as a learner first.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from quorate_broker.cluster.records import Member


class Phase(enum.StrEnum):
    EMPTY = "empty"
    PREPARED = "prepared"
    FORMED = "formed"


class Genesis(msgspec.Struct, frozen=True):
    """What a cluster starts from."""

    cluster_id: str
    voters: tuple[Member, ...]


class Answer(msgspec.Struct, frozen=True):
    """What one seed says of itself. `seeds` are the node ids of its seed list."""

    node_id: int
    incarnation: str
    phase: Phase
    genesis: Genesis | None
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Propose:
    """Make a genesis for these voters and sync it."""

    voters: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Adopt:
    """Sync this genesis."""

    genesis: Genesis


@dataclass(frozen=True, slots=True)
class Form:
    """Everyone has it: sync that, then vote."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do yet; `reason` is for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class AskToJoin:
    """Ask one of these members to have this broker admitted to their cluster."""

    genesis: Genesis
    members: tuple[int, ...]


Step = Propose | Adopt | Form | AskToJoin | Wait


def step(me: Answer, others: Sequence[Answer], expected_cluster_id: str) -> Step:
    """The one step that these answers allow. `others` are the seeds that answered, me left out."""
    if not me.seeds:
        return Wait(
            "the seed list is empty: set `seeds`, a broker never forms a cluster alone by omission"
        )
    missing = set(me.seeds) - {me.node_id} - {other.node_id for other in others}
    if me.phase is Phase.EMPTY:
        return _from_empty(me, others, missing, expected_cluster_id)
    assert me.genesis is not None
    if any(o.phase is Phase.FORMED and o.genesis == me.genesis for o in others):
        return Form()
    late = missing | {o.node_id for o in others if o.genesis != me.genesis}
    if late:
        return Wait(
            f"seeds {sorted(late)} have not synced the genesis of {me.genesis.cluster_id} yet"
        )
    return Form()


def _from_empty(
    me: Answer, others: Sequence[Answer], missing: set[int], expected_cluster_id: str
) -> Step:
    found = next((o.genesis for o in others if o.genesis is not None), None)
    if found is not None:
        if expected_cluster_id not in ("", found.cluster_id):
            return Wait(
                f"the seeds belong to cluster {found.cluster_id}, but this broker is to join "
                f"{expected_cluster_id}"
            )
        if Member(me.node_id, me.incarnation) in found.voters:
            return Adopt(found)
        formed = [o.node_id for o in others if o.phase is Phase.FORMED and o.genesis == found]
        if formed:
            return AskToJoin(found, tuple(formed))
        return Wait(
            f"cluster {found.cluster_id} is being formed with another disk of broker {me.node_id}; "
            f"this empty one (incarnation {me.incarnation}) may ask to join when it is"
        )
    if expected_cluster_id:
        return Wait(f"this disk is empty and may only join cluster {expected_cluster_id}")
    if missing:
        return Wait(f"seeds {sorted(missing)} have not answered yet")
    strangers = sorted(o.node_id for o in others if set(o.seeds) != set(me.seeds))
    if strangers:
        return Wait(f"seeds {strangers} have another seed list than {sorted(me.seeds)}")
    if me.node_id != min(me.seeds):
        return Wait(f"broker {min(me.seeds)} is the first of the seeds and is to start the cluster")
    voters = [Member(o.node_id, o.incarnation) for o in others]
    return Propose(tuple(sorted([*voters, Member(me.node_id, me.incarnation)])))
