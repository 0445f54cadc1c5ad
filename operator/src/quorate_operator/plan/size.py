"""How many brokers there are, and how many there are to be next. Pure.

    standing   what the StatefulSet was last given; nothing falls below it without a drain
    effective  what it is given now, on its way to `spec.replicas`

Growing waits until the brokers have formed a cluster: the list of seeds must not change while they
find each other. From then on a new broker finds a cluster that it can only join. Shrinking goes
from the highest number down, over brokers that are members no more.

Read next: `scaling.py`, which lets brokers leave; `subject.py`, which hands the number on.
"""

from __future__ import annotations

from typing import Any

from quorate_operator.names import BROKERS_ANNOTATION
from quorate_operator.plan import identity
from quorate_operator.plan.inputs import Wish, asked_once


@asked_once
def standing(wish: Wish) -> int:
    """The largest number that any record names: an edited record starts no removal by itself.

    When there never was a StatefulSet, what kept volumes say; without any, 0.
    """
    workload = wish.workload("broker")
    annotations = workload.get("metadata", {}).get("annotations") or {}
    known = max(
        _number(annotations.get(BROKERS_ANNOTATION)),
        _number(workload.get("spec", {}).get("replicas")),
        wish.previous.effective_replicas or 0,
    )
    return known or _kept(wish)


def _kept(wish: Wish) -> int:
    """A cluster made anew over its volumes begins with the brokers that it had: fewer may be too
    few for a majority. Those that are not asked for any more leave as always."""
    recorded = identity.recorded(wish)
    return max(
        (
            one.ordinal + 1
            for one in wish.observed.volumes
            if recorded and one.cluster_id == recorded and not one.drained and not one.terminating
        ),
        default=0,
    )


@asked_once
def effective(wish: Wish) -> int:
    """How many broker pods the StatefulSet is to have after this pass."""
    now, wanted = standing(wish), wish.spec.replicas
    if not now:
        return wanted
    if not identity.recorded(wish):
        return now
    if wanted >= now:
        return _grown(wish, now, wanted)
    while now > wanted and has_left(wish, now):
        now -= 1
    return now


def has_left(wish: Wish, node_id: int) -> bool:
    """The leader was asked just now, and has no such member: nothing of it is needed."""
    return wish.survey is not None and node_id not in wish.survey.members


def _grown(wish: Wish, now: int, wanted: int) -> int:
    """No broker is started over a volume that is, or may be, on its way out."""
    unusable = [one.ordinal for one in wish.observed.volumes if one.terminating or one.drained]
    return min([wanted, *(ordinal for ordinal in unusable if now <= ordinal < wanted)])


def _number(value: Any) -> int:
    """0 for whatever is not a count of brokers: somebody may have written there."""
    try:
        return max(0, min(int(value), 99))
    except (TypeError, ValueError):
        return 0
