"""One seed of whole brokers: they form a cluster, serve clients under faults, and heal.

Checked on the way: what clients are told and read (`history`), replicas after every turn of their
process (`watch`), two versions in one cluster (`versions`), that no process dies of a bug and no
exception goes unhandled. At the end: every producer is answered again, every replica has what its
leader has, all that was acknowledged is read.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from quorate_broker.log.log import Log
from quorate_broker.partition.shell import Partition
from quorate_broker.testing.simulation.checkers import must
from quorate_broker.testing.simulation.clock import HostClock, Scheduler
from quorate_broker.testing.simulation.report import Report, Teller, Trace
from quorate_broker.testing.simulation.whole import options as drawing
from quorate_broker.testing.simulation.whole.admin import Admin
from quorate_broker.testing.simulation.whole.clients import (
    COMPACTED,
    TOPIC,
    KeyedProducer,
    Producer,
    Reader,
)
from quorate_broker.testing.simulation.whole.cluster import Cluster
from quorate_broker.testing.simulation.whole.faults import Faults
from quorate_broker.testing.simulation.whole.history import History
from quorate_broker.testing.simulation.whole.loop import VirtualLoop
from quorate_broker.testing.simulation.whole.machine import CLIENTS, Machine
from quorate_broker.testing.simulation.whole.members import Member
from quorate_broker.testing.simulation.whole.tcp import Fabric
from quorate_broker.testing.simulation.whole.versions import NEWER, Versions
from quorate_broker.testing.simulation.whole.watch import Watch
from quorate_broker.wire import batch

FORM_US = 15_000_000
FOREVER = 1 << 60
STEP = 1 << 20
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
        self.cluster = Cluster(
            self.scheduler, dice, self.options, fabric, self.seen, self.trace, Watch(self.seen)
        )
        self.versions = Versions(self.seen)
        nodes = self.options.nodes
        self.machines = [Machine(self.cluster, i, nodes) for i in range(1, nodes + 1)]
        self.history = History()
        self._loop = VirtualLoop(
            fabric, CLIENTS, HostClock(self.scheduler, 0, 1_000_000, 0), lambda: 0
        )
        self._admin = Admin(self.cluster, self.history, nodes, "admin")
        self._reader = Reader(self.cluster, self.history, nodes, "reader")
        kinds = ("idem", "plain")
        self.producers = [
            Producer(self.cluster, self.history, nodes, f"{kinds[i % 2]}{i}")
            for i in range(self.options.producers)
        ]
        if self.options.compacted:
            self.producers.append(KeyedProducer(self.cluster, self.history, nodes, "idemk"))
        self.members = [
            Member(self.cluster, self.history, nodes, f"member{i}")
            for i in range(self.options.consumers)
        ]
        self._meddled = 0
        self._failure: BaseException | None = None
        self.faults = Faults(self.cluster, self.machines, self)

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
        self._look()
        made = self._client(self._make_topics())
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

    async def _make_topics(self) -> None:
        replicas = min(3, self.options.nodes)
        retention = {"retention.bytes": self.options.retention_bytes}
        await self._admin.make(TOPIC, self._partitions, replicas, retention)
        if self.options.retention_bytes >= 0:
            for index in range(self._partitions):
                self.history.may_begin_at(index, FOREVER)
        if self.options.compacted:
            config = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": 0.01}
            await self._admin.make(COMPACTED, 1, replicas, config)

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
        if self.level < NEWER.level or any(machine.is_rotten for machine in self.machines):
            self.where = f"the cluster is at level {self.level}, or has rotten bytes"
            return False
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

    @property
    def level(self) -> int:
        return self.versions.level

    def is_whole(self) -> bool:
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
            for partition in machine.parts.shelf if machine.parts is not None else ():
                found.setdefault(partition.group, []).append(partition)
        return found

    def _read_all(self) -> None:
        """What is there is what was acknowledged, in order."""
        done = self._client(self._read_partitions())
        self._until(done.done, HEAL_US, "G: cannot read everything")

    async def _read_partitions(self) -> None:
        starts: dict[int, int] = {}
        found: dict[int, dict[int, bytes]] = {}
        for partition in range(self._partitions):
            start = None
            while start is None:
                start = await self._reader.earliest(partition)
                await asyncio.sleep(0.1)
            starts[partition] = start
            found[partition] = await self._read(TOPIC, partition, start)
            self.seen["begins later"] += start > 0
        self.history.judge(TOPIC, found, starts)
        if self.options.compacted:
            self.history.judge_latest(COMPACTED, await self._read(COMPACTED, 0, 0))

    async def _read(self, topic: str, partition: int, offset: int) -> dict[int, bytes]:
        values: dict[int, bytes] = {}
        idle = 0
        while idle < 3:
            some = await self._reader.fetch(partition, offset, topic)
            if some is None:
                await asyncio.sleep(0.1)
                continue
            idle += some.next_offset == offset
            values.update(some.records)
            offset = some.next_offset
        return values

    def _compare(self) -> None:
        """Replicas are byte by byte the same; where they compacted, the latest of each key is."""
        for group, partitions in self._groups().items():
            logs = [each.replica.log for each in partitions]
            is_compacted = any(log.clean_to for log in logs)
            self.seen["compacted"] += is_compacted
            first = max(log.first_index for log in logs)
            told = [
                _latest(log)
                if is_compacted
                else [bytes(data) for *_, data in log.walk(first, STEP)]
                for log in logs
            ]
            must(all(each == told[0] for each in told), f"B: the replicas of {group} differ")

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
            if self._failure is not None:
                raise self._failure

    def _look(self) -> None:
        """What is too much for every event."""
        self._check()
        self.versions.look(self.machines)
        self.scheduler.after(_LOOK_US, self._look)

    def _check(self) -> None:
        for machine in self.machines:
            if machine.loop is not None and machine.loop.troubles:
                must(False, f"node {machine.node_id}: {machine.loop.troubles[0]}")
        must(not self.cluster.troubles, f"a dead node: {self.cluster.troubles[:1]}")
        must(not self._loop.troubles, f"a client: {self._loop.troubles[:1]}")

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

    def trim(self) -> None:
        self._client(self._admin.trim())

    def meddle(self) -> None:
        self._client(self._admin.meddle(self._meddled))
        self._meddled += 1
        self._admin.nodes = sum(machine.is_serving for machine in self.machines) or 1


def _latest(log: Log) -> dict[bytes, tuple[int, bytes]]:
    """(offset, value) of every key that has one."""
    found: dict[bytes, tuple[int, bytes]] = {}
    for _, header, data in log.walk(log.first_index, STEP):
        for record in () if header.is_internal else batch.records(data):
            key = bytes(record.key or b"")
            found.pop(key, None)
            if record.value is not None:
                found[key] = (header.base_offset + record.offset_delta, bytes(record.value))
    return found


def _nothing() -> None:
    pass
