"""Which brokers hold a new partition.

Round robin over the members in order of id, starting where the cluster's partitions so far end,
so that leaders and replicas come out even; pure, and the same for the same image.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.cluster.records import Member


def place(
    members: Sequence[Member], partitions: int, replication_factor: int, start: int
) -> tuple[tuple[Member, ...], ...]:
    """Replicas for `partitions` new partitions; `start` rotates the first leader.

    The followers of successive rounds are shifted too, so that the load of a lost broker falls on
    all the others and not on its neighbour alone.
    """
    assert 1 <= replication_factor <= len(members)
    ordered = sorted(members)
    count = len(ordered)
    rows = []
    for i in range(start, start + partitions):
        shift = (i // count) % max(1, count - 1)
        followers = [
            ordered[(i + 1 + (shift + k) % (count - 1)) % count]
            for k in range(replication_factor - 1)
        ]
        rows.append((ordered[i % count], *followers))
    return tuple(rows)
