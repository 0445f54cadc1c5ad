"""What goes wrong with machines and links, when; nothing of it outlasts `heal`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from quorate_broker.cluster.records import MOVING
from quorate_broker.testing.simulation.whole.cluster import Cluster
from quorate_broker.testing.simulation.whole.machine import CLIENTS, Machine
from quorate_broker.testing.simulation.whole.versions import NEWER, OLDER, Version

KINDS = (
    "crash",
    "kill",
    "stop",
    "pause",
    "crash_all",
    "partition",
    "one_way",
    "bridge",
    "cut_connections",
    "cut_clients",
    "slow_disk",
    "full_disk",
    "clock_jump",
    "admin",
    "trim",
    "wipe",
    "old_disk",
    "rot",
    "upgrade",
    "downgrade",
)


class Run(Protocol):
    """What it asks of the run."""

    @property
    def level(self) -> int:
        """The cluster's feature level."""
        ...

    def is_whole(self) -> bool: ...
    def meddle(self) -> None:
        """The admin does something."""

    def trim(self) -> None:
        """The admin has records deleted."""


class Faults:
    """The bad luck of a run."""

    def __init__(self, cluster: Cluster, machines: list[Machine], run: Run) -> None:
        self._cluster = cluster
        self._machines = machines
        self._run = run
        self._is_over = False
        self._bad: Machine | None = None
        """The one whose bytes may go bad: a majority has sound ones (fault atlas)."""
        self._weights = [getattr(cluster.options, kind) for kind in KINDS]

    def begin(self) -> None:
        options = self._cluster.options
        if (options.rot or options.misread) and len(self._machines) >= 3:
            self._bad = self._any()
            self._bad.lies = True
        self._next()
        self._keep_alive()

    def _next(self) -> None:
        mean_us = self._cluster.options.fault_every_us
        self._after(self._cluster.dice.randint(mean_us // 4, 2 * mean_us), self._act)

    def _after(self, delay_us: int, event: Callable[[], None]) -> None:
        self._cluster.scheduler.after(delay_us, event)

    def _act(self) -> None:
        if self._is_over:
            return
        if any(self._weights):
            kind = self._cluster.dice.choices(KINDS, self._weights)[0]
            self._cluster.seen[kind] += 1
            self._cluster.trace(kind)
            getattr(self, f"_{kind}")()
        self._next()

    def _keep_alive(self) -> None:
        """Whatever supervises processes: who ended is started again."""
        for machine in self._machines:
            if machine.has_fenced and (self._is_over or self._cluster.dice.random() < 0.2):
                machine.kill()  # as a person would who is told of it
            if not machine.is_up:
                machine.start()
        self._after(self._cluster.dice.randint(200_000, 2_000_000), self._keep_alive)

    def heal(self) -> None:
        self._is_over = True
        fabric = self._cluster.fabric
        fabric.is_faulty = False
        fabric.blocked.clear()
        for machine in self._machines:
            machine.has_faults = False
            machine.slow_until_us = 0
            machine.make_room()
            machine.doom = None
            if machine.is_older:
                self._restart_as(machine, NEWER)

    # -------------------------------------------------------------------------------- machines

    def _any(self) -> Machine:
        return self._cluster.dice.choice(self._machines)

    def _crash(self) -> None:
        self._end(self._any())

    def _crash_all(self) -> None:
        for machine in self._machines:
            self._end(machine)

    def _end(self, machine: Machine) -> None:
        """Now, or in the middle of what its disk does next."""
        if self._cluster.dice.random() < 0.7:
            machine.doom = machine.power_cut
        else:
            machine.power_cut()

    def _kill(self) -> None:
        self._any().kill()

    def _stop(self) -> None:
        self._any().stop()

    def _pause(self) -> None:
        machine = self._any()
        left_us = self._cluster.options.chaos_us - self._cluster.scheduler.now_us
        duration_us = min(left_us, self._cluster.dice.choice((300_000, 2_000_000, 5_000_000)))
        machine.paused_until_us = self._cluster.scheduler.now_us + max(0, duration_us)

    def _wipe(self) -> None:
        """A volume is lost, where every replica has a sound copy on a majority (fault atlas)."""
        machine = self._bad or self._any()
        if len(self._machines) < 3 or not self._run.is_whole() or self._run.level < MOVING:
            return
        machine.kill()
        machine.wipe()
        self._cluster.seen["wiped"] += 1

    def _old_disk(self) -> None:
        """Who was replaced comes back: nobody hears it, and it begins anew."""
        machine = next((machine for machine in self._machines if machine.old_disk), None)
        if machine is None or not self._run.is_whole():
            return
        machine.kill()
        machine.take_old_disk()
        self._cluster.seen["old disk"] += 1

    def _rot(self) -> None:
        if self._bad is None or self._bad.is_rotten or not self._run.is_whole():
            return
        self._bad.kill()
        self._cluster.seen["rotten segment"] += self._bad.rot()

    def _upgrade(self) -> None:
        older = [machine for machine in self._machines if machine.is_older]
        if older:
            self._restart_as(self._cluster.dice.choice(older), NEWER)

    def _downgrade(self) -> None:
        """Whether or not the cluster's level still allows it."""
        newer = [machine for machine in self._machines if not machine.is_older]
        if newer:
            self._restart_as(self._cluster.dice.choice(newer), OLDER)

    def _restart_as(self, machine: Machine, version: Version) -> None:
        machine.next_version = version
        is_late = version is OLDER and self._run.level > version.level
        what = (
            "upgraded" if version is NEWER else "downgraded too late" if is_late else "downgraded"
        )
        self._cluster.seen[what] += 1
        self._cluster.trace(f"{machine.node_id} is {what}")
        machine.stop()

    def _slow_disk(self) -> None:
        now_us = self._cluster.scheduler.now_us
        self._any().slow_until_us = now_us + self._cluster.dice.randint(500_000, 5_000_000)

    def _full_disk(self) -> None:
        """Somebody else filled it; later there is room again."""
        machine = self._any()
        machine.disk.capacity = 0
        delay_us = self._cluster.dice.choice((500_000, 3_000_000))
        self._after(delay_us, machine.make_room)

    def _clock_jump(self) -> None:
        dice = self._cluster.dice
        self._any().clock.wrong_ms = dice.choice((-1, 1)) * dice.choice((3_600_000, 1_000))

    def _admin(self) -> None:
        self._run.meddle()

    def _trim(self) -> None:
        self._run.trim()

    # ----------------------------------------------------------------------------------- links

    def _partition(self) -> None:
        addresses = self._shuffled()
        cut = self._cluster.dice.randint(1, max(1, len(addresses) - 1))
        self._block(addresses[:cut], addresses[cut:], both=True)

    def _one_way(self) -> None:
        addresses = self._shuffled()
        self._block(addresses[:1], addresses[1:], both=False)

    def _bridge(self) -> None:
        """A and B, B and C, but not A and C."""
        addresses = self._shuffled()
        middle = len(addresses) // 2
        self._block(addresses[:middle], addresses[middle + 1 :], both=True)

    def _cut_clients(self) -> None:
        """A broker that others reach, and clients do not."""
        self._block([CLIENTS], [self._any().address], both=True)

    def _cut_connections(self) -> None:
        one = self._any().address
        for other in self._machines:
            self._cluster.fabric.reset_some(one, other.address)

    def _shuffled(self) -> list[str]:
        addresses = [machine.address for machine in self._machines]
        self._cluster.dice.shuffle(addresses)
        return addresses

    def _block(self, some: list[str], others: list[str], both: bool) -> None:
        links = {(a, b) for a in some for b in others}
        if both:
            links |= {(b, a) for a, b in links}
        blocked = self._cluster.fabric.blocked
        blocked.update(links)
        delay_us = self._cluster.dice.choice((500_000, 2_000_000, 5_000_000))
        self._after(delay_us, lambda: blocked.difference_update(links))
