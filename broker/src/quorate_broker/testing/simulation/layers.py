"""The simulators by name: the core of one partition, and whole brokers.

The core is quick and meets every fault of disks and networks thousands of times; whole brokers are
slower by an order of magnitude, and bring in all that lies between a client's socket and the core.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from quorate_broker.testing.simulation import batch
from quorate_broker.testing.simulation.batch import Layer, Outcome
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
    "join",
)
"""What 200 seeds of whole brokers must meet."""
SEEN_LATER = ("EIO in sync", "EIO in pwrite", "reassigned", "exit with an error")


def run_whole(seed: int, tell: Callable[[str], None] | None = None) -> Outcome:
    """Run one seed of whole brokers; what it finds is its result, not raised."""
    simulation = WholeSimulation(seed, tell)
    options = simulation.options.describe()
    try:
        simulation.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, the seed found it
        words = "".join(traceback.format_exception(error))
        return Outcome(seed, options, error=words, lately=tuple(simulation.lately))
    return Outcome(
        seed,
        options,
        simulation.trace,
        simulation.scheduler.events,
        len(simulation.history.acked),
        simulation.healed_us,
        dict(simulation.seen),
    )


WHOLE = Layer(run_whole, SEEN_SOON, SEEN_LATER)
LAYERS = {"core": batch.CORE, "whole": WHOLE}
