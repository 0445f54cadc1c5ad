"""The simulators by name: the core of one partition, and whole brokers.

The core is quick and meets every fault of disks and networks thousands of times; whole brokers are
slower by an order of magnitude, and bring in all that lies between a client's socket and the core.
"""

from __future__ import annotations

from quorate_broker.testing.simulation import batch
from quorate_broker.testing.simulation.batch import Layer, Outcome, attempt
from quorate_broker.testing.simulation.report import Teller
from quorate_broker.testing.simulation.whole import faults
from quorate_broker.testing.simulation.whole.run import WholeSimulation

SEEN_SOON = (
    *faults.KINDS,
    "power cut within a job",
    "connection reset",
    "bytes held back",
    "unknown fate",
    "joined a group",
    "offset committed",
    "exit",
    "wiped",
    "old disk",
    "disk: no room",
    "join",
    "upgraded",
    "downgraded",
    "line of version 1",
    "records deleted",
    "begins later",
    "compacted",
    "misread",
    "rotten segment",
    "rot found",
)
"""What 200 seeds of whole brokers must meet."""
SEEN_LATER = ("EIO in sync", "EIO in pwrite", "reassigned", "exit with an error")


def run_whole(seed: int, tell: Teller | None = None) -> Outcome:
    """Run one seed of whole brokers."""
    return attempt(seed, WholeSimulation(seed, tell))


WHOLE = Layer(run_whole, SEEN_SOON, SEEN_LATER)
LAYERS = {"core": batch.CORE, "whole": WHOLE}
