"""How many brokers there are, and how many there are to be next. Pure.

    standing   what the StatefulSet was last given; nothing may fall below it without a drain
    effective  what it is given now

Growing waits until the brokers have formed a cluster: the list of seeds must not change while they
find each other. From then on a new broker finds a cluster that it can only join.

Read next: `subject.py`, which hands the number to the templates.
"""

from __future__ import annotations

from typing import Any

from quorate_operator.names import BROKERS_ANNOTATION
from quorate_operator.plan import identity
from quorate_operator.plan.inputs import Wish


def standing(wish: Wish) -> int:
    """The largest number that any record names: an edited record starts no removal by itself.

    0 when there never was a StatefulSet.
    """
    workload = wish.workload("broker")
    annotations = workload.get("metadata", {}).get("annotations") or {}
    return max(
        _number(annotations.get(BROKERS_ANNOTATION)),
        _number(workload.get("spec", {}).get("replicas")),
        wish.previous.effective_replicas or 0,
    )


def effective(wish: Wish) -> int:
    """How many broker pods the StatefulSet is to have after this pass."""
    now, wanted = standing(wish), wish.spec.replicas
    if not now:
        return wanted
    if not identity.recorded(wish):
        return now
    return max(now, wanted)


def _number(value: Any) -> int:
    """0 for whatever is not a count of brokers: somebody may have written there."""
    try:
        return max(0, min(int(value), 99))
    except (TypeError, ValueError):
        return 0
