"""Which brokers hold a new partition.

Round robin over the members, starting where the cluster's partitions so far end, so that leaders
and replicas come out even; and over the racks first: as long as there is a rack without a replica
of the partition, the next one goes there. Pure, and the same for the same image. Racks count only
when every broker has told its own, as in Kafka: half a map spreads worse than none.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from quorate_broker.cluster.records import Member

if TYPE_CHECKING:
    from quorate_broker.cluster.image import Broker

Racks = Mapping[int, str]
"""Node id -> rack; empty when they do not count."""

NO_RACKS: Racks = {}


def racks(brokers: Iterable[Broker]) -> Racks:
    """Of brokers that have all told one."""
    told = {one.node_id: one.rack for one in brokers}
    return {node_id: rack for node_id, rack in told.items() if rack} if all(told.values()) else {}


def place(
    members: Sequence[Member],
    partitions: int,
    replication_factor: int,
    start: int,
    racks: Racks = NO_RACKS,
) -> tuple[tuple[Member, ...], ...]:
    """Replicas for `partitions` new partitions; `start` rotates the first leader.

    The followers of successive rounds are shifted too, so that the load of a lost broker falls on
    all the others and not on its neighbour alone.
    """
    assert 1 <= replication_factor <= len(members)
    ordered = _alternating(members, racks)
    count = len(ordered)
    rows = []
    for i in range(start, start + partitions):
        shift = (i // count) % max(1, count - 1)
        followers = [ordered[(i + 1 + (shift + k) % (count - 1)) % count] for k in range(count - 1)]
        rows.append(_spread(ordered[i % count], followers, replication_factor, racks))
    return tuple(rows)


def best(able: Sequence[int], others: Collection[int], load: Counter[int], racks: Racks) -> int:
    """Who takes one more replica beside `others`: another rack first, then the least loaded."""
    used = Counter(racks.get(node_id, "") for node_id in others)
    return min(able, key=lambda one: (used[racks.get(one, "")], load[one], one))


def _alternating(members: Sequence[Member], racks: Racks) -> list[Member]:
    """In order of id, one of each rack after the other."""
    by_rack: dict[str, list[Member]] = {}
    for member in sorted(members):
        by_rack.setdefault(racks.get(member.node_id, ""), []).append(member)
    rounds = itertools.zip_longest(*(by_rack[rack] for rack in sorted(by_rack)))
    return [member for one_round in rounds for member in one_round if member is not None]


def _spread(
    leader: Member, followers: Sequence[Member], replication_factor: int, racks: Racks
) -> tuple[Member, ...]:
    """The leader and the first followers that bring the fewest replicas into one rack."""
    row = [leader]
    used = Counter([racks.get(leader.node_id, "")])
    left = list(followers)
    while len(row) < replication_factor:
        taken = min(left, key=lambda one: used[racks.get(one.node_id, "")])
        left.remove(taken)
        row.append(taken)
        used[racks.get(taken.node_id, "")] += 1
    return tuple(row)
