"""Brokers of two versions in one cluster: the present one, and the one before it.

The older one speaks version 1 of the lines between brokers and knows one feature level less; its
code is the present one's, held back where versions meet (`net.greeting`, `feature.level.known`).

- The level of the cluster rises when every member has said that it knows it, not before.
- Who is too old for the cluster's level ends with a sentence; somebody reads it.
- Two ends of a line speak what the older one knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quorate_broker.cluster.records import FEATURE_LEVEL
from quorate_broker.net import greeting
from quorate_broker.testing.simulation.checkers import must

if TYPE_CHECKING:
    from quorate_broker.testing.simulation.whole.machine import Machine


@dataclass(frozen=True, slots=True)
class Version:
    """What a release knows."""

    line: int
    level: int


OLDER = Version(line=1, level=FEATURE_LEVEL - 1)
NEWER = Version(greeting.VERSION, FEATURE_LEVEL)


class Versions:
    """The memory of a run."""

    def __init__(self, seen: Counter[str]) -> None:
        self.level = 0
        """The highest that the cluster was seen at."""
        self._seen = seen

    def look(self, machines: Iterable[Machine]) -> None:
        for machine in machines:
            parts = machine.node.parts if machine.node is not None else None
            if parts is None:
                continue
            image = parts.controller.image
            if 0 < self.level < image.feature_level:
                self._seen["feature level raised"] += 1
            self.level = max(self.level, image.feature_level)
            for member in image.members:
                broker = image.brokers.get(member.node_id)
                must(
                    broker is None or broker.feature_level >= image.feature_level,
                    f"level {image.feature_level} is too high for broker {member.node_id}",
                )
            must(
                image.feature_level <= machine.version.level or not machine.is_serving,
                f"node {machine.node_id} serves at level {image.feature_level}, it is too old",
            )
            self._look_at_lines(machine)

    def _look_at_lines(self, machine: Machine) -> None:
        assert machine.mesh is not None
        for line in machine.mesh.lines():
            must(
                line.version <= machine.version.line,
                f"node {machine.node_id} speaks version {line.version} of lines",
            )
            self._seen["line of version 1"] += line.version == OLDER.line
