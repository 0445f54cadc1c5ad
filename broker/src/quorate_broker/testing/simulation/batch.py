"""Many seeds, and the question whether they met every kind of trouble.

A batch in which a fault never fired proves nothing about it: `unseen` names those, and whoever
runs a batch of some size treats them as a failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from quorate_broker.testing.simulation import faults
from quorate_broker.testing.simulation.run import Simulation

MUST_BE_SEEN = (
    *faults.KINDS,
    "message lost",
    "message duplicated",
    "message swallowed",
    "connection reset",
    "slow sync",
    "disk failed",
    "power cut within a job",
    "power cut behind a job",
    "power cut during recovery",
    "clean stop",
    "rotten",
    "rot found",
    "torn tail cut",
    "disk: lost",
    "disk: torn",
    "disk: kept",
    "election",
    "truncation",
    "append refused",
    "duplicate batch",
    "unknown fate",
    "read",
    "PreVote",
    "Vote",
    "TimeoutNow",
)


@dataclass(slots=True)
class Failure:
    """A seed that found something."""

    seed: int
    options: str
    error: Exception
    lately: list[str]


@dataclass(slots=True)
class Batch:
    """What a row of seeds gave."""

    seeds: int = 0
    events: int = 0
    acked: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    @property
    def unseen(self) -> list[str]:
        """Kinds of trouble that no seed met."""
        return [kind for kind in MUST_BE_SEEN if not self.seen[kind]]


def run_seed(seed: int, batch: Batch) -> None:
    """Run one seed and add it to the batch; a failure is kept, not raised."""
    simulation = Simulation(seed)
    batch.seeds += 1
    try:
        report = simulation.run()
    except Exception as error:  # noqa: BLE001 - whatever a seed finds is its result
        options = simulation.options.describe()
        batch.failures.append(Failure(seed, options, error, list(simulation.lately)))
        return
    batch.events += report.events
    batch.acked += report.acked
    batch.seen += report.seen


def run_seeds(first: int, count: int, progress: Callable[[Batch], None]) -> Batch:
    """Run `count` seeds from `first` on."""
    batch = Batch()
    for seed in range(first, first + count):
        run_seed(seed, batch)
        progress(batch)
    return batch
