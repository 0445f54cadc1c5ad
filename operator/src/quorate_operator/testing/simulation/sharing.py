"""The settings that the model's brokers share: in their metadata, and so with all that run at once.

One of them acts only when a broker starts; whoever runs with another value says so (`Standing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from quorate_operator.facts import Standing

NEEDS_RESTART: Final = "raft.heartbeat.interval.ms"


class Shared:
    """What the cluster sets; nothing when it is formed."""

    def __init__(self) -> None:
        self.version = 1
        self.values: dict[str, str] = {}

    def change(self, put: Mapping[str, str], drop: Iterable[str]) -> None:
        gone = set(drop)
        values = {name: text for name, text in self.values.items() if name not in gone}
        values |= put
        if values != self.values:
            self.version += 1
            self.values = values

    def at_start(self) -> str:
        """What a broker that starts now goes by until it ends."""
        return self.values.get(NEEDS_RESTART, "")

    def standing(self, began_with: str) -> Standing:
        return Standing(self.version, restart=began_with != self.at_start())
