"""Many seeds: what they found, and whether together they met every kind of trouble.

Read next: `world.py`, which runs one.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from typing import Final

from quorate_operator.testing.simulation import people, waking, world
from quorate_operator.testing.simulation.world import Report

ENOUGH: Final = 100
"""So many seeds meet everything."""
TWICE: Final = 8
"""Every so manieth seed is run again: one that does not replay proves nothing."""
WANTED: Final = frozenset(
    {deed.__name__.replace("_", " ") for deed in people.DEEDS}
    | waking.ALL
    | {
        "an operator was killed",
        "an operator was found deaf",
        "a lease was lost",
        "a lull",
        "a pass failed",
        "a request was lost",
        "a request was refused",
        "an answer was lost",
        "a list was stale",
        "a pass: done",
        "a pass: failed",
        "operator took a pod",
        "operator took a volume",
        "operator took a child",
        "a volume was given up",
        "the only copy",
        "controller took a pod",
        "drain took a pod",
        "node controller took a pod",
        "blocked: BrokerDown",
        "blocked: NoLeader",
        "blocked: UnderReplicated",
        "blocked: Unanswered",
        "blocked: Draining",
        "blocked: NotFormed",
        "blocked: OnlyCopy",
        "blocked: VolumeStuck",
    }
)


@dataclasses.dataclass
class Batch:
    """What is known of several."""

    seeds: int = 0
    cpu_s: float = 0.0
    seen: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    failures: list[Report] = dataclasses.field(default_factory=list)

    def add(self, report: Report) -> None:
        self.seeds += 1
        self.cpu_s += report.cpu_s
        self.seen += report.seen
        if report.breach:
            self.failures.append(report)

    def unseen(self) -> list[str]:
        return sorted(WANTED - set(self.seen))


def run_seed(seed: int) -> Report:
    """One, and again where it is its turn."""
    began_s = time.process_time()
    report = world.run(seed)
    report.cpu_s = time.process_time() - began_s
    if seed % TWICE == 0 and not report.breach:
        again = world.run(seed)
        if again.trace != report.trace:
            report.breach = f"it ran differently: {report.trace:08x}, then {again.trace:08x}"
    return report
