"""One seed from beginning to end: chaos with safety checked, then healing with liveness required.

`simulate(seed)` returns a `Report` or raises what went wrong: a `ViolationError`, or an assertion
of the product itself. The same seed gives the same trace, to the last message.
"""

from __future__ import annotations

import random
from collections import Counter

from quorate_broker.raft.core import Role
from quorate_broker.raft.messages import Append, Message, Peer, Snapshot
from quorate_broker.testing.simulation import options as drawing
from quorate_broker.testing.simulation.checkers import Checkers, must
from quorate_broker.testing.simulation.clients import Client
from quorate_broker.testing.simulation.clock import Scheduler
from quorate_broker.testing.simulation.controller import Controller
from quorate_broker.testing.simulation.faults import Faults
from quorate_broker.testing.simulation.host import Host
from quorate_broker.testing.simulation.network import Network
from quorate_broker.testing.simulation.process import Process
from quorate_broker.testing.simulation.report import Report, Teller, Trace
from quorate_broker.testing.simulation.world import World

HEAL_US = 10_000_000
"""Within this much healthy time every client writes and every replica is in sync again (G)."""
IDLE_US = 1_000_000
_LOOK_US = 50_000
_READ_US = 40_000
_LEAVING_US = 3_500_000
"""So long those who left the group are told so."""
_GOSSIP_US = 1_000_000
_MOST_EVENTS = 400_000


class Simulation:
    """One run."""

    def __init__(self, seed: int, tell: Teller | None = None) -> None:
        dice = random.Random(seed)
        self.options = drawing.draw(dice, random.Random(~seed))
        self.scheduler = Scheduler()
        self.seen: Counter[str] = Counter()
        self.checkers = Checkers()
        self.trace = Trace(self.scheduler, tell)
        self.network = Network(self.scheduler, dice, self.options, self.seen)
        founders = range(1, self.options.nodes + 1)
        spares = range(self.options.nodes + 1, self.options.nodes + self.options.spares + 1)
        self.hosts: list[Host] = []
        self.world = World(
            scheduler=self.scheduler,
            dice=dice,
            options=self.options,
            network=self.network,
            checkers=self.checkers,
            seen=self.seen,
            founders=tuple(Peer(node, f"disk-{node}") for node in founders),
            trace=self.trace,
            hosts=self.hosts,
            targets=[],
        )
        self.hosts.extend(
            Host(self.world, Peer(node, f"disk-{node}")) for node in (*founders, *spares)
        )
        self.network.deliver = self._deliver
        self.network.lost = self._lost
        self.clients = [
            Client(self.world, number, dice.random() < self.options.idempotent)
            for number in range(self.options.clients)
        ]
        self.controller = Controller(self.world)
        self.faults = Faults(self.world, self.controller)

    def run(self) -> Report:
        for host in self.hosts:
            host.has_faults = False
            host.start()
            host.has_faults = True
        for client in self.clients:
            client.think()
        self._read()
        self._gossip()
        self.controller.begin()
        self.faults.begin()
        self._until(self.options.chaos_us)
        self.faults.heal()
        healed_us = self._become_healthy()
        self._be_idle()
        for host in self.hosts:
            self.seen.update(f"disk: {what}" for what in host.disk.seen)
            if host.peer in self.controller.target:
                host.must_agree()
                assert host.process is not None
                self.seen["log start moved everywhere"] += host.process.log.start_offset > 0
        if self.options.dies_at_rest:
            self._lose_who_rests()
        self.trace(f"{len(self.checkers.canon)}:{self.checkers.acked} {self.world.dice.random()}")
        return Report(
            self.trace.checksum,
            self.scheduler.events,
            self.checkers.acked,
            healed_us,
            self.seen,
        )

    # -------------------------------------------------------------------------------------- phases

    def _until(self, time_us: int) -> None:
        self.scheduler.at(time_us, _nothing)
        while self.scheduler.now_us < time_us:
            self.scheduler.step()
            must(self.scheduler.events < _MOST_EVENTS, "G: events without end")

    def _become_healthy(self) -> int:
        """First every client writes again, then all come to rest with the same log."""
        began_us = self.scheduler.now_us
        end_us = began_us + HEAL_US
        while not all(client.last_acked_us >= began_us for client in self.clients):
            must(self.scheduler.now_us < end_us, f"G: a client cannot write: {self.where()}")
            self._until(self.scheduler.now_us + _LOOK_US)
        for client in self.clients:
            client.is_stopped = True
        lacking = self._lacking()
        while not self._is_at_rest():
            must(self.scheduler.now_us < end_us, f"G: not all in sync: {self.where()}")
            self._until(self.scheduler.now_us + _LOOK_US)
            if self._lacking() < lacking:  # one by one, perhaps: some leaders send no more at once
                lacking, end_us = self._lacking(), self.scheduler.now_us + HEAL_US
        return self.scheduler.now_us - began_us

    def _lacking(self) -> int:
        """Entries that members still have to get, all together."""
        logs = {host.peer: host.process.log for host in self.hosts if host.process is not None}
        end = max((log.synced_index for log in logs.values()), default=0)
        members = logs.keys() & self.controller.target
        return sum(end - logs[peer].synced_index for peer in members)

    def _is_at_rest(self) -> bool:
        target = self.controller.target
        members = [host for host in self.hosts if host.peer in target]
        replicas = [host.process.replica for host in members if host.process is not None]
        if len(replicas) < len(target) or any(client.outstanding for client in self.clients):
            return False
        leaders = [replica for replica in replicas if replica.serving]
        if self.controller.settled != target or any(host.is_spoiled for host in members):
            return False
        if len(leaders) != 1 or not leaders[0].in_sync >= {host.node for host in members}:
            return False
        last = leaders[0].log.last_index
        if any(replica.log.start_offset != leaders[0].log.start_offset for replica in replicas):
            return False
        return all(
            replica.commit_index == replica.log.synced_index == replica.log.last_index == last
            for replica in replicas
        )

    def where(self) -> str:
        return "; ".join(f"{host.node}: {_where(host.process)}" for host in self.hosts)

    def _be_idle(self) -> None:
        """A cluster that has nothing to do says no more than its heartbeats."""
        followers = len(self.controller.target) - 1
        self._until(self.scheduler.now_us + _LEAVING_US)
        beats = IDLE_US // 150_000 + 1
        lately = 4 * followers  # the last commit, and answers to what was said before
        before, others = self._sent_by_members(), self._sent_by_others()
        self._until(self.scheduler.now_us + IDLE_US)
        sent = self._sent_by_members() - before
        lately += self._sent_by_others() - others  # who left may ask, and is answered
        must(sent <= 2 * followers * beats + lately, f"G: {sent} messages in an idle cluster")

    def _lose_who_rests(self) -> None:
        """A leader that dies while its group rests: whoever watches over the nodes wakes it."""
        leader = next((host for host in self.hosts if _leads_at_rest(host)), None)
        if leader is None or len(self.controller.target) < 3:
            return
        self.seen["died at rest"] += 1
        leader.power_cut()
        end_us = self.scheduler.now_us + HEAL_US
        while not any(host.process and host.process.replica.serving for host in self.hosts):
            must(self.scheduler.now_us < end_us, f"G: nobody misses {leader.node}: {self.where()}")
            self._until(self.scheduler.now_us + _LOOK_US)

    def _sent_by_members(self) -> int:
        return sum(self.network.sent[peer] for peer in self.controller.target)

    def _sent_by_others(self) -> int:
        return self.network.sent.total() - self._sent_by_members()

    # -------------------------------------------------------------------------------------- wiring

    def _read(self) -> None:
        """A reader asks somebody for something, and comes again."""
        host = self.world.dice.choice(self.hosts)
        host.give(lambda process: process.read(self.world.dice))
        if not self.clients[0].is_stopped:
            self.scheduler.after(_READ_US, self._read)

    def _gossip(self) -> None:
        """What wakes a resting follower whose leader's node does not claim to lead."""
        for host in self.hosts:
            process = host.process
            if process is not None and process.replica.resting and not self._is_led(process):
                host.give(Process.wake)
        self.scheduler.after(_GOSSIP_US, self._gossip)

    def _is_led(self, process: Process) -> bool:
        replica = process.replica
        if replica.leader is None:
            return False
        leading = self.world.host_of(replica.leader).process
        return (
            leading is not None
            and not leading.is_failed
            and leading.replica.role is Role.LEADER
            and leading.replica.term == replica.term
        )

    def _deliver(self, sender: Peer, to: Peer, message: Message) -> None:
        self.trace(f"{sender.node_id} > {to.node_id} {_summary(message)}")
        self.world.host_of(to).receive(sender, to, message)

    def _lost(self, node: int, other: int) -> None:
        self.hosts[node - 1].give(lambda process: process.peer_lost(other))


def simulate(seed: int) -> Report:
    """Run one seed; raises when anything does not hold."""
    return Simulation(seed).run()


def _leads_at_rest(host: Host) -> bool:
    replica = host.process.replica if host.process is not None else None
    return replica is not None and replica.role is Role.LEADER and replica.resting


def _nothing() -> None:
    pass


def _summary(message: Message) -> str:
    """One line, without the bytes of entries."""
    if isinstance(message, Append):
        sizes = sum(map(len, message.entries))
        return (
            f"Append term={message.term} prev={message.prev_index}/{message.prev_term} "
            f"commit={message.commit} {sizes} bytes"
        )
    if isinstance(message, Snapshot):
        return (
            f"Snapshot term={message.term} index={message.index} "
            f"{message.position}+{len(message.chunk)} of {message.total} bytes"
        )
    return repr(message)


def _where(process: Process | None) -> str:
    if process is None:
        return "down"
    replica = process.replica
    return (
        f"{'failed ' * process.is_failed}{replica.role.value} term {replica.term} "
        f"commit {replica.commit_index} synced {replica.log.synced_index} "
        f"last {replica.log.last_index} start {replica.log.start_offset} "
        f"in sync {sorted(replica.in_sync)} "
        f"{'hollow ' * replica.log.hollow}{replica.members}"
    )
