"""Whom an event concerns, and whether it is news: what kopf's handlers do, without kopf.

    event of a watch --version neither heard nor listed, or: it is gone--> wake its cluster

Nothing here waits or asks; the simulation's watches deliver to the same code.

Read next: `health.py` for the `Pulse`, which remembers; `handlers.py`, `resync.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from quorate_operator import model
from quorate_operator.facts import Json
from quorate_operator.health import Pulse, Thing
from quorate_operator.names import CLUSTER_LABEL, Key

WATCHED: Final = (
    ("v1", "pods"),
    ("v1", "services"),
    ("v1", "configmaps"),
    ("v1", "serviceaccounts"),
    ("v1", "persistentvolumeclaims"),
    ("apps/v1", "statefulsets"),
    ("policy/v1", "poddisruptionbudgets"),
    ("networking.k8s.io/v1", "networkpolicies"),
    ("autoscaling/v2", "horizontalpodautoscalers"),
)
"""Children, filtered by our label on the server."""


class News:
    """Takes what watches deliver."""

    def __init__(self, pulse: Pulse, wake: Callable[[Key], None]) -> None:
        self._pulse = pulse
        self._wake = wake

    def deliver(self, plural: str, what: str | None, metadata: Json) -> None:
        """`what`: ADDED, MODIFIED, DELETED; None: a list that the watch begins with shows it."""
        found = thing(plural, metadata)
        version = "" if what == "DELETED" else str(metadata.get("resourceVersion", ""))
        if self._pulse.heard(found, version):
            self._wake(found.key)


def thing(plural: str, metadata: Json) -> Thing:
    """What this is the metadata of."""
    name = metadata["name"]
    cluster = name if plural == model.PLURAL else metadata["labels"][CLUSTER_LABEL]
    return Thing(plural, metadata["namespace"], name, sys.intern(cluster))
