"""Many seeds, and the question whether they met every kind of trouble.

A batch in which a fault never fired proves nothing about it: `unseen` names those, and whoever
runs a batch of some size treats them as a failure. What a seed gave is plain data, so that other
processes may run it and a file may keep it. Next: `simulate`, the command.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from quorate_broker.testing.simulation import faults
from quorate_broker.testing.simulation.report import Report, Teller, Trace
from quorate_broker.testing.simulation.run import Simulation

SEEN_SOON = (
    *faults.KINDS,
    "message lost",
    "message duplicated",
    "message swallowed",
    "message held up",
    "connection reset",
    "slow sync",
    "disk failed",
    "EIO in sync",
    "EIO in pwrite",
    "misread log",
    "disk: no room",
    "power cut within a job",
    "power cut behind a job",
    "power cut during recovery",
    "recovery failed",
    "clean stop",
    "rotten log",
    "rotten checkpoint",
    "rotten qindex",
    "rotten journal",
    "rot found",
    "torn tail cut",
    "tail copied",
    "disk: lost",
    "disk: torn",
    "disk: kept",
    "election",
    "truncation",
    "append refused",
    "duplicate batch",
    "producers compared",
    "unknown fate",
    "hollow",
    "set aside",
    "members settled",
    "removed",
    "wiped",
    "Snapshot",
    "log start moved",
    "log start moved everywhere",
    "rest",
    "died at rest",
    "woken by gossip",
    "scrubbed",
    "zombie",
    "fenced",
    "read",
    "PreVote",
    "Vote",
    "TimeoutNow",
)
"""What 200 seeds must meet."""
SEEN_LATER = (
    "rot found by scrubbing",
    "EIO in open",
    "EIO in pread",
    "EIO in truncate",
    "EIO in rename",
    "EIO in sync_dir",
    "misread qindex",
    "disk: holed",
    "transfer refused",
    "message to the one before",
    "begins behind a snapshot",
)
"""And 1,000 these, too."""
MANY_SEEDS = 1_000


class Outcome(msgspec.Struct, frozen=True):
    """What one seed gave. `error` is empty when all held."""

    seed: int
    options: str
    trace: int = 0
    events: int = 0
    acked: int = 0
    healed_us: int = 0
    seen: dict[str, int] = {}
    error: str = ""
    lately: tuple[str, ...] = ()
    cpu_ms: int = 0
    """Of one run, without waiting for a core."""


class Drawn(Protocol):
    """What a seed drew."""

    def describe(self) -> str: ...


class Run(Protocol):
    """One run of one seed, whichever the layer."""

    @property
    def options(self) -> Drawn: ...
    @property
    def trace(self) -> Trace: ...

    def run(self) -> Report: ...


def attempt(seed: int, simulation: Run) -> Outcome:
    """Run it; what it finds is its result, not raised."""
    options = simulation.options.describe()
    began_s = time.process_time()
    try:
        report = simulation.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, the seed found it
        words = "".join(traceback.format_exception(error))
        return Outcome(seed, options, error=words, lately=tuple(simulation.trace.lately))
    return Outcome(
        seed,
        options,
        report.trace,
        report.events,
        report.acked,
        report.healed_us,
        dict(report.seen),
        cpu_ms=round(1_000 * (time.process_time() - began_s)),
    )


def run_core(seed: int, tell: Teller | None = None) -> Outcome:
    """Run one seed of the core layer."""
    return attempt(seed, Simulation(seed, tell))


@dataclass(frozen=True, slots=True)
class Layer:
    """A simulator: how to run a seed of it, and what a batch must meet."""

    run: Callable[[int, Teller | None], Outcome]
    soon: tuple[str, ...]
    later: tuple[str, ...]


CORE = Layer(run_core, SEEN_SOON, SEEN_LATER)


def run_twice(layer: Layer, seed: int) -> Outcome:
    """Run a seed, and again: the same seed gives the same trace, or it replays nothing."""
    first = layer.run(seed, None)
    if first.error:
        return first
    second = layer.run(seed, None)
    if (first.trace, first.events) == (second.trace, second.events) and not second.error:
        return first
    words = f"not deterministic: trace {first.trace:08x}, then {second.trace:08x}\n{second.error}"
    return msgspec.structs.replace(first, error=words)


@dataclass(slots=True)
class Batch:
    """What a row of seeds gave."""

    seeds: int = 0
    events: int = 0
    acked: int = 0
    healed_us: int = 0
    """The longest."""
    cpu_ms: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    failures: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.events += outcome.events
        self.acked += outcome.acked
        self.healed_us = max(self.healed_us, outcome.healed_us)
        self.cpu_ms += outcome.cpu_ms
        self.seen.update(outcome.seen)
        if outcome.error:
            self.failures.append(outcome)

    def unseen(self, layer: Layer) -> list[str]:
        """Kinds of trouble that no seed met, and should have."""
        wanted: Iterable[str] = layer.soon
        if self.seeds >= MANY_SEEDS:
            wanted = (*layer.soon, *layer.later)
        return [kind for kind in wanted if not self.seen[kind]]
