"""One word for people, out of the conditions. Pure; the same in the status and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WORDS: Final = ("healthy", "changing", "degraded", "stalled", "down", "asleep")


def word(states: Mapping[str, str], *, asleep: bool) -> str:
    """The worst that is true; `states` by type of condition, `asleep` when it hibernates."""
    if states.get("Ready") != "True":
        return "asleep" if asleep else "down"
    if states.get("Stalled") == "True":
        return "stalled"
    if states.get("Reconciling") == "True":
        return "changing"
    if "False" in (states.get(kind) for kind in ("FullyReplicated", "UpToDate", "StorageReady")):
        return "degraded"
    return "healthy"
