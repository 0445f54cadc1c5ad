"""How many clusters may be on a rollout at once. Places are taken here and nowhere else.

A new image that does not work is found out on the first cluster, while the others wait: the next
one begins when it is through. A place is held from the first restart to the end of a rollout; the
status says so (`rollout.startedAt`), and an operator that starts takes the places from there.
Paused and hibernating clusters hold none, and restarts of brokers that are down need none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from quorate_operator.facts import Json
from quorate_operator.names import Key

DEFAULT_PLACES: Final = 1


class Budget:
    def __init__(self, places: int = DEFAULT_PLACES) -> None:
        self._places = places
        self._rolling: set[Key] = set()

    def begin_with(self, clusters: Iterable[Json]) -> None:
        """Those that were on a rollout when the operator before this one ended."""
        for one in clusters:
            metadata, told = one["metadata"], (one.get("status") or {}).get("rollout") or {}
            if told.get("startedAt"):
                self._rolling.add(Key(metadata["namespace"], metadata["name"]))

    def holds(self, key: Key) -> bool:
        return key in self._rolling

    def take(self, key: Key) -> str:
        """Empty: it has a place now. Else one of those that have to be through first."""
        if key not in self._rolling and len(self._rolling) >= self._places:
            return str(min(self._rolling, key=str))
        self._rolling.add(key)
        return ""

    def give_back(self, key: Key) -> None:
        self._rolling.discard(key)
