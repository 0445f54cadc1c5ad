"""Trouble, heal, wait until all is well, again; at the end read everything and judge.

Each phase takes one fault from a shuffled deck of all of them, which is shuffled anew when it is
used up, and sometimes a second one of the network on top. Safety is judged over the
whole history at the end; liveness after each phase: a new client can write to every partition, and
every replica is in sync. Read next: `faults` for what is done, `judge` for what must not be seen.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import random
import shutil
import sys
import time
from collections.abc import Sequence

from quorate_broker.testing import repository
from quorate_broker.testing.chaos.faults import DISK_FAILS, FAULTS, TOPIC, Scene
from quorate_broker.testing.chaos.judge import Violation, judge
from quorate_broker.testing.chaos.machines import Machines
from quorate_broker.testing.chaos.workload import Workload

PARTITIONS = 4
SEGMENT_BYTES = 256 << 10
"""Small, so that there are closed ones to rot."""
SECOND_FAULT = 0.25
PATIENCE_S = 90.0
"""For things that are judged by how long they took, or not at all."""
MEMORY_MB = 400
"""A broker that has lived through all that, and takes more, keeps what it should let go."""
LOOK_EVERY_S = 0.2
LAG_S = 3.0
"""A replica that stopped counts as in sync for this long; only what stays in sync longer is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What the command line says."""

    seed: int
    minutes: float
    faults: Sequence[str] = tuple(FAULTS)
    per_second: int = 200
    live_within_s: float = 10.0


@dataclasses.dataclass(slots=True)
class Phase:
    """One time of trouble. Times in seconds since the run began; None: never, in its patience."""

    kinds: tuple[str, ...]
    text: str
    begun_s: float
    load: float = 0.0
    """Of the machine (processes that want to run, mean of the last minute) when it began."""
    healed_s: float = 0.0
    writes_after_s: float | None = None
    """From healing to the last partition's first acknowledged write by a new client."""
    whole_after_s: float | None = None
    """From healing to every replica in sync."""


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """All that a report tells."""

    plan: Plan
    phases: list[Phase]
    violations: list[Violation]
    workload: Workload
    seconds: float
    memory_mb: tuple[int, ...] = ()
    """Of each broker at the end."""
    commit: str = ""


class Run:
    """One run, in the runner's own namespaces."""

    def __init__(self, plan: Plan, folder: pathlib.Path) -> None:
        self._plan = plan
        self._folder = folder
        self._source = random.Random(plan.seed)
        self._deck: list[str] = []
        self._commit = repository.commit()
        lag = f"replica.lag.time.max.ms={LAG_S * 1000:.0f}"
        segment = f"log.segment.bytes={SEGMENT_BYTES}"
        self._machines = Machines(folder, settings=[lag, segment])
        self._workload = Workload(self._machines.bootstrap, PARTITIONS, plan.per_second)
        self._phases: list[Phase] = []
        self._violations: list[Violation] = []

    def run(self) -> Result:
        try:
            self._begin()
            while self._workload.now_s() < self._plan.minutes * 60:
                self._trouble()
            say("reading everything")
            self._workload.finish()
            try:
                self._read_by_each_leader()
            finally:
                self._workload.history.save(self._folder / "history.jsonl")
            found = judge(self._workload.history) + self._violations
            found += [Violation("client", error) for error in self._workload.errors]
            memory_mb = tuple(map(self._machines.memory_mb, self._machines.node_ids))
            if max(memory_mb) > MEMORY_MB:
                found.append(Violation("memory", f"brokers take {memory_mb} MB at the end"))
            if found:
                self._keep_evidence()
            seconds = self._workload.now_s()
            return Result(
                self._plan, self._phases, found, self._workload, seconds, memory_mb, self._commit
            )
        finally:
            self._machines.close()

    def _keep_evidence(self) -> None:
        """What the disks hold, for `quorate-broker inspect`: the disks themselves go."""
        for node_id in self._machines.node_ids:
            target = self._folder / f"evidence-{node_id}"
            with contextlib.suppress(shutil.Error):  # a file that goes while it is copied
                shutil.copytree(self._machines.disks.data(node_id), target, dirs_exist_ok=True)
        say(f"what the brokers hold is kept in {self._folder}/evidence-*")

    def _begin(self) -> None:
        self._machines.start()
        self._wait_whole()
        self._workload.create_topic(len(self._machines.node_ids))
        self._workload.start()
        if None in self._workload.probe(PATIENCE_S).values():
            raise RuntimeError("the cluster takes no writes before any trouble")

    def _trouble(self) -> None:
        scene = Scene(self._machines, self._source, PARTITIONS)
        kinds = self._draw()
        phase = Phase(kinds, "", self._workload.now_s(), os.getloadavg()[0])
        self._phases.append(phase)
        phase.text = "; ".join(f"{kind} ({FAULTS[kind].begin(scene)})" for kind in kinds)
        say(f"{phase.begun_s:7.1f} s  {phase.text}")
        low, high = FAULTS[kinds[0]].hold_s
        time.sleep(self._source.uniform(low, high))
        self._machines.notice_ended()
        self._note_ended(kinds)
        self._machines.heal()
        phase.healed_s = self._workload.now_s()
        self._recover(phase)

    def _draw(self) -> tuple[str, ...]:
        if not self._deck:
            self._deck = self._source.sample(self._plan.faults, len(self._plan.faults))
        first = self._deck.pop()
        overlays = [k for k in self._plan.faults if FAULTS[k].overlays and k != first]
        if overlays and self._source.random() < SECOND_FAULT:
            return first, self._source.choice(overlays)
        return (first,)

    def _recover(self, phase: Phase) -> None:
        taken = self._workload.probe(PATIENCE_S)
        known = [seconds for seconds in taken.values() if seconds is not None]
        if len(known) == len(taken):
            phase.writes_after_s = max(known)
        whole_s = self._wait_whole()
        if whole_s is not None:
            phase.whole_after_s = whole_s - phase.healed_s
        self._note_ended(phase.kinds)
        writes, limit = phase.writes_after_s, self._plan.live_within_s
        say(f"           healed: writes after {_s(writes)}, whole after {_s(phase.whole_after_s)}")
        at = f"after {phase.text} at {phase.healed_s:.1f} s"
        if writes is None or writes > limit:
            never = [partition for partition, seconds in taken.items() if seconds is None]
            more = f", never partitions {never}" if never else ""
            self._violations.append(Violation("not-live", f"writes {_s(writes)} {at}{more}"))
        if phase.whole_after_s is None:
            lacking = self._lacking()
            say(f"           not whole: {lacking}")
            self._violations.append(
                Violation("not-whole", f"{at}, in {PATIENCE_S:.0f} s: {lacking}")
            )
        if writes is None or phase.whole_after_s is None:
            self._rescue()

    def _rescue(self) -> None:
        """It was told; all begin anew, so that the next phase is judged by itself."""
        say("           not whole: every broker is killed and started again")
        self._machines.kill(*self._machines.answering)
        self._machines.heal()
        if self._wait_whole() is None:
            raise RuntimeError(f"not whole after a new start either; logs in {self._folder}")

    def _wait_whole(self) -> float | None:
        """Since when every replica is in sync, told when that has lasted; None: not in time."""
        deadline = time.perf_counter() + PATIENCE_S
        since_s: float | None = None
        while time.perf_counter() < deadline:
            self._machines.notice_ended()
            if self._machines.missing:
                return None
            now_s = self._workload.now_s()
            if not self._looks_whole():
                since_s = None
            elif since_s is None:
                since_s = now_s
            elif now_s - since_s > LAG_S * 1.5:
                return since_s
            time.sleep(LOOK_EVERY_S)
        return None

    def _looks_whole(self) -> bool:
        """Every broker says that all is well, and everyone is in sync everywhere, moved or not."""
        machines = self._machines
        return all(map(machines.is_whole, machines.node_ids)) and (
            not self._workload.begun
            or all(
                machines.in_sync(TOPIC, partition) == list(machines.node_ids)
                for partition in range(PARTITIONS)
            )
        )

    def _lacking(self) -> str:
        """Who says what is not as it should be."""
        machines = self._machines
        told = [
            f"node {node_id}: {machines.complaint(node_id)}"
            for node_id in machines.node_ids
            if not machines.is_whole(node_id)
        ]
        for partition in range(PARTITIONS):
            in_sync = machines.in_sync(TOPIC, partition)
            if in_sync != list(machines.node_ids):
                leader = machines.leader(TOPIC, partition)
                told.append(f"partition {partition}: leader {leader}, in sync {in_sync}")
        return "; ".join(told) or "it is, by now"

    def _note_ended(self, kinds: Sequence[str]) -> None:
        """A broker that ends by itself is wrong, unless its disk failed; it is started again."""
        for node_id, code in self._machines.ended:
            sentence = f"node {node_id} ended with {code} at {self._workload.now_s():.1f} s"
            say(f"           {sentence}")
            if not DISK_FAILS.intersection(kinds):
                self._violations.append(Violation("ended", f"{sentence}, in {kinds}"))
        self._machines.ended.clear()

    def _read_by_each_leader(self) -> None:
        """Every replica has its turn to say what the partition holds."""
        for node_id in self._machines.node_ids:
            led = [self._lead(node_id, partition) for partition in range(PARTITIONS)]
            self._workload.read_everything(f"reader {node_id} (leads {sum(led)})")

    def _lead(self, node_id: int, partition: int) -> bool:
        """Whether this node leads the partition, after it was asked for."""
        path = f"/v1/partitions/kafka/{TOPIC}/{partition}/transfer_leadership?target={node_id}"
        deadline = time.perf_counter() + 10
        while time.perf_counter() < deadline:
            leader = self._machines.leader(TOPIC, partition)
            if leader == node_id:
                return True
            if leader is not None:
                self._machines.post(leader, path)
            time.sleep(LOOK_EVERY_S)
        return False


def _s(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
