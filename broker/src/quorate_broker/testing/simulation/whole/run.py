"""One seed of whole brokers: they form a cluster, serve clients under faults, and heal.

Checked on the way: what clients are told and read (`history`), one leader per group and term, that
no process dies of a bug and no exception goes unhandled. At the end: every producer is answered
again, every replica has what its leader has, all that was acknowledged is read.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from quorate_broker.partition.shell import Partition
from quorate_broker.raft.core import Role
from quorate_broker.testing.simulation.checkers import must
from quorate_broker.testing.simulation.clock import HostClock, Scheduler
from quorate_broker.testing.simulation.report import Report, Teller, Trace
from quorate_broker.testing.simulation.whole import options as drawing
from quorate_broker.testing.simulation.whole.clients import TOPIC, Admin, Member, Producer, Reader
from quorate_broker.testing.simulation.whole.cluster import Cluster
from quorate_broker.testing.simulation.whole.faults import Faults
from quorate_broker.testing.simulation.whole.history import History
from quorate_broker.testing.simulation.whole.loop import VirtualLoop
from quorate_broker.testing.simulation.whole.machine import Machine
from quorate_broker.testing.simulation.whole.tcp import Fabric

FORM_US = 15_000_000
HEAL_US = 30_000_000
_LOOK_US = 100_000
_MOST_EVENTS = 3_000_000


class WholeSimulation:
    """One run."""

    def __init__(self, seed: int, tell: Teller | None = None) -> None:
        dice = random.Random(seed)
        self.options = drawing.draw(dice)
        self.scheduler = Scheduler()
        self.seen: Counter[str] = Counter()
        self.trace = Trace(self.scheduler, tell)
        fabric = Fabric(self.scheduler, dice, self.options, self.seen)
        self.cluster = Cluster(self.scheduler, dice, self.options, fabric, self.seen, self.trace)
        nodes = self.options.nodes
        self.machines = [Machine(self.cluster, i, nodes) for i in range(1, nodes + 1)]
        self.history = History()
        self._loop = VirtualLoop(
            fabric, "10.0.1.1", HostClock(self.scheduler, 0, 1_000_000, 0), lambda: 0
        )
        self._admin = Admin(self.cluster, self.history, nodes, "admin")
        self._reader = Reader(self.cluster, self.history, nodes, "reader")
        kinds = ("idem", "plain")
        self.producers = [
            Producer(self.cluster, self.history, nodes, f"{kinds[i % 2]}{i}", self._partitions)
            for i in range(self.options.producers)
        ]
        self.members = [
            Member(self.cluster, self.history, nodes, f"member{i}")
            for i in range(self.options.consumers)
        ]
        self._meddled = 0
        self._leaders: dict[tuple[str, int], int] = {}
        self._failure: BaseException | None = None
        self.faults = Faults(self.cluster, self.machines, self._meddle, self._is_whole)

    @property
    def _partitions(self) -> int:
        return self.options.partitions

    def run(self) -> Report:
        """Raises what does not hold."""
        gc.disable()  # nothing ends at a moment that depends on what ran before
        try:
            healed_us = self._run()
        finally:
            for machine in self.machines:
                machine.kill()
            self.cluster.fabric.process_died(self._loop, is_silent=True)
            self._loop.abandon()
            gc.enable()
            gc.collect()
        return Report(
            self.trace.checksum,
            self.scheduler.events,
            len(self.history.acked),
            healed_us,
            self.seen,
        )

    def _run(self) -> int:
        for machine in self.machines:
            machine.has_faults = False
            machine.start()
        replicas = min(3, self.options.nodes)
        made = self._client(self._admin.make(TOPIC, self._partitions, replicas))
        self._until(made.done, FORM_US, "G: no cluster is formed, or no topic made")
        began_us = self.scheduler.now_us
        for producer in self.producers:
            self._client(producer.run())
        for member in self.members:
            self._client(member.run())
        self.cluster.fabric.is_faulty = True
        for machine in self.machines:
            machine.has_faults = True
        self.faults.begin()
        if self.options.joins:
            self.scheduler.after(self.options.chaos_us // 3, self._join)
        self._pass(began_us + self.options.chaos_us - self.scheduler.now_us)
        self.trace("heal")
        self.faults.heal()
        healed_us = self._become_healthy()
        self._read_all()
        self._compare()
        for machine in self.machines:
            self.seen.update(f"disk: {what}" for what in machine.disk.seen)
        acked, reads = len(self.history.acked), self.history.reads
        self.trace(f"{acked} acknowledged, {reads} read, {self.cluster.dice.random()}")
        return healed_us

    # ---------------------------------------------------------------------------------- phases

    def _become_healthy(self) -> int:
        began_us = self.scheduler.now_us
        self._until(
            lambda: all(producer.acked_us >= began_us for producer in self.producers),
            HEAL_US,
            "G: a client cannot write in a healthy cluster",
        )
        for client in (*self.producers, *self.members):
            client.is_stopped = True
        self._pass(4_000_000)
        self._until(self._is_at_rest, HEAL_US, "G: not all in sync")
        return self.scheduler.now_us - began_us

    def _is_at_rest(self) -> bool:
        for group, partitions in self._groups().items():
            leaders = [each for each in partitions if each.replica.serving]
            if len(leaders) != 1:
                self.where = f"{group}: {len(leaders)} leaders"
                return False
            last = leaders[0].replica.log.last_index
            members = leaders[0].replica.members
            if members.joint or members.learners or len(partitions) != len(members.voters):
                self.where = f"{group}: {members}, {len(partitions)} replicas"
                return False
            for each in partitions:
                log = each.replica.log
                if not each.replica.commit_index == log.synced_index == log.last_index == last:
                    self.where = f"{group}: {each.replica.commit_index} {log.last_index} of {last}"
                    return False
        self.where = "machines are not up"
        return all(machine.is_serving for machine in self.machines)

    where = ""

    def _is_whole(self) -> bool:
        """Every replica is there, in sync with its leader, and one of three."""
        if not all(machine.is_serving for machine in self.machines):
            return False
        for partitions in self._groups().values():
            leaders = [each.replica for each in partitions if each.replica.serving]
            if len(leaders) != 1:
                return False
            members = leaders[0].members
            if members.joint or members.learners or len(partitions) != len(members.voters):
                return False
            if len(leaders[0].in_sync) < len(members.voters) or len(members.voters) < 3:
                return False
            if any(each.replica.log.hollow for each in partitions):
                return False
        return True

    def _groups(self) -> dict[str, list[Partition]]:
        found: dict[str, list[Partition]] = {}
        for machine in self.machines:
            parts = machine.node.parts if machine.node is not None else None
            for partition in parts.shelf if parts is not None else ():
                found.setdefault(partition.group, []).append(partition)
        return found

    def _read_all(self) -> None:
        """What is there is what was acknowledged, in order."""
        done = self._client(self._read_partitions())
        self._until(done.done, HEAL_US, "G: cannot read everything")
        self.history.judge(TOPIC, done.result())

    async def _read_partitions(self) -> dict[int, dict[int, bytes]]:
        found: dict[int, dict[int, bytes]] = {}
        for partition in range(self._partitions):
            values = found[partition] = {}
            offset, idle = 0, 0
            while idle < 3:
                some = await self._reader.fetch(partition, offset)
                if some:
                    values.update(some)
                    offset = some[-1][0] + 1
                elif some is not None:
                    idle += 1
                else:
                    await asyncio.sleep(0.1)
        return found

    def _compare(self) -> None:
        """Replicas are byte by byte the same."""
        for group, partitions in self._groups().items():
            first = max(each.replica.log.first_index for each in partitions)
            told = {
                tuple(bytes(data) for _, _, data in each.replica.log.walk(first, 1 << 20))
                for each in partitions
            }
            must(len(told) == 1, f"B: the replicas of {group} differ")

    # ------------------------------------------------------------------------------ the clock

    def _until(self, holds: Callable[[], bool], within_us: int, sentence: str) -> None:
        end_us = self.scheduler.now_us + within_us
        while not holds():
            must(self.scheduler.now_us < end_us, f"{sentence} {self.where}")
            self._pass(_LOOK_US)

    def _pass(self, time_us: int) -> None:
        end_us = self.scheduler.now_us + time_us
        self.scheduler.at(end_us, _nothing)
        while self.scheduler.now_us < end_us:
            self.scheduler.step()
            must(self.scheduler.events < _MOST_EVENTS, "G: events without end")
            if self.scheduler.events % 16 == 0:
                self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        for machine in self.machines:
            if machine.loop is not None and machine.loop.troubles:
                must(False, f"node {machine.node_id}: {machine.loop.troubles[0]}")
        must(not self.cluster.troubles, f"a dead node: {self.cluster.troubles[:1]}")
        must(not self._loop.troubles, f"a client: {self._loop.troubles[:1]}")
        for machine in self.machines:
            parts = machine.node.parts if machine.node is not None else None
            for partition in parts.shelf if parts is not None else ():
                replica = partition.replica
                if replica.role is Role.LEADER:
                    key = (partition.group, replica.term)
                    first = self._leaders.setdefault(key, machine.node_id)
                    must(first == machine.node_id, f"E: {first} and {machine.node_id} lead {key}")

    # --------------------------------------------------------------------------------- wiring

    def _client(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self._loop.start(coroutine)
        task.add_done_callback(self._client_ended)
        return task

    def _client_ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None and self._failure is None:
            self._failure = task.exception()

    def _join(self) -> None:
        """One more broker, with an empty disk: its seeds have formed a cluster."""
        newcomer = Machine(self.cluster, len(self.machines) + 1, self.options.nodes)
        self.machines.append(newcomer)
        self.seen["join"] += 1
        newcomer.start()

    def _meddle(self) -> None:
        self._client(self._admin.meddle(self._meddled))
        self._meddled += 1
        self._admin.nodes = sum(machine.is_serving for machine in self.machines) or 1


def _nothing() -> None:
    pass
