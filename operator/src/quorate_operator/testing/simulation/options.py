"""What a seed draws: the cluster, its users, and how often what goes wrong (a swarm of runs).

A seed alone dies with the next change of the code; it is always told together with these.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Final

SIZES: Final = (1, 3, 3, 3, 5)


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """Chances are per call or event; times in seconds."""

    replicas: int = 3
    flanking: int = 0
    partitions: int = 4
    copies: tuple[int, ...] = (1, 3, 3, 3)
    """How many replicas a partition has is one of these."""
    storage: str = "persistent"
    when_scaled: str = "Retain"
    unbind_after: str = ""
    """Empty: no volume is given up by itself."""
    local_volumes: bool = True
    """A volume stands on one node, and its pod with it."""
    nodes: int = 4
    storm_s: float = 0.0
    pace_s: float = 10.0
    """Mean time between two deeds."""
    lull: bool = False
    """One more comes when all is at rest."""
    half_an_hour: bool = False
    """Nothing is heard for so long at the end."""
    refused: float = 0.0
    """429, 500, 503."""
    lost: float = 0.0
    """A request or its answer: the effect may be there."""
    stale: float = 0.0
    """A list of metadata shows what it showed before."""
    slow: float = 0.0
    killed: float = 0.0
    """The operator, between any two calls."""
    silence: float = 0.0
    """A broker does not answer the operator."""
    flips: float = 0.0
    """Another broker is elected, for no reason, per look of the brokers."""

    def describe(self) -> str:
        return " ".join(f"{one.name}={getattr(self, one.name)}" for one in dataclasses.fields(self))


def enough(replicas: int, storage: str) -> int:
    """One alone whose storage goes with its pod loses everything when it is restarted."""
    return max(replicas, 3 if storage == "ephemeral" else 1)


def draw(dice: random.Random) -> Options:
    """The options of a run."""
    drawn = Options(
        replicas=dice.choice(SIZES),
        flanking=dice.choice((0, 2)),
        partitions=dice.randint(1, 6),
        storage=dice.choice(("persistent",) * 6 + ("ephemeral",)),
        when_scaled=dice.choice(("Retain", "Delete")),
        unbind_after=dice.choice(("", "", "90s")),
        local_volumes=dice.random() < 0.7,
        nodes=dice.choice((3, 4, 6)),
        storm_s=dice.choice((120.0, 240.0)),
        pace_s=dice.choice((3.0, 8.0, 20.0)),
        lull=dice.random() < 0.4,
        half_an_hour=dice.random() < 0.03,
        refused=dice.choice((0.0, 0.01, 0.05)),
        lost=dice.choice((0.0, 0.01, 0.05)),
        stale=dice.choice((0.0, 0.1)),
        slow=dice.choice((0.0, 0.02)),
        killed=dice.choice((0.0, 0.002, 0.01)),
        silence=dice.choice((0.0, 0.05)),
        flips=dice.choice((0.0, 0.002)),
    )
    return dataclasses.replace(drawn, replicas=enough(drawn.replicas, drawn.storage))


@dataclasses.dataclass
class Trouble:
    """The chances as they are now; all zero once the world has calmed down."""

    refused: float = 0.0
    lost: float = 0.0
    stale: float = 0.0
    slow: float = 0.0
    killed: float = 0.0
    silence: float = 0.0
    flips: float = 0.0

    @classmethod
    def of(cls, options: Options) -> Trouble:
        return cls(**{one.name: getattr(options, one.name) for one in dataclasses.fields(cls)})

    def end(self) -> None:
        for one in dataclasses.fields(self):
            setattr(self, one.name, 0.0)
