"""What goes wrong, when: one fault after the other, drawn by the weights of the options."""

from __future__ import annotations

from collections.abc import Callable

from quorate_broker.raft.core import Role
from quorate_broker.testing.simulation.controller import Controller
from quorate_broker.testing.simulation.host import Host
from quorate_broker.testing.simulation.process import Process
from quorate_broker.testing.simulation.world import World

KINDS = (
    "crash",
    "kill",
    "stop",
    "pause",
    "crash_all",
    "partition",
    "one_way",
    "bridge",
    "clog",
    "transfer",
    "rot",
    "slow_disk",
    "full_disk",
    "clock_jump",
    "change",
    "cancel",
    "wipe",
    "trim",
    "no_room",
    "scrub",
)
_HOUR_MS = 3_600_000


class Faults:
    """The bad luck of a run. Nothing of it outlasts `heal`."""

    def __init__(self, world: World, controller: Controller) -> None:
        self._world = world
        self._controller = controller
        self._is_over = False
        self._weights = [getattr(world.options, kind) for kind in KINDS]

    def begin(self) -> None:
        self._next()

    def _next(self) -> None:
        mean_us = self._world.options.fault_every_us
        self._world.scheduler.after(self._world.dice.randint(mean_us // 4, 2 * mean_us), self._act)

    def _act(self) -> None:
        if self._is_over:
            return
        for host in self._world.hosts:
            if host.is_failed:
                self._restart_later(host, host.kill)
        if any(self._weights):
            kind = self._world.dice.choices(KINDS, self._weights)[0]
            self._world.seen[kind] += 1
            self._world.trace(kind)
            getattr(self, f"_{kind}")()
        self._next()

    def heal(self) -> None:
        """From here on everything works, and everybody is there."""
        world = self._world
        self._is_over = True
        world.network.is_faulty = False
        world.network.blocked.clear()
        world.network.clogged.clear()
        for host in world.hosts:
            host.heal()
            while host.is_failed or not host.is_up:
                host.kill()
                host.start()
            host.scrub()

    # -------------------------------------------------------------------------------------- nodes

    def _crash(self) -> None:
        host = self._any_host()
        self._end(host, host.power_cut)

    def _kill(self) -> None:
        host = self._any_host()
        self._end(host, host.kill)

    def _crash_all(self) -> None:
        for host in self._world.hosts:
            self._end(host, host.power_cut)

    def _end(self, host: Host, end: Callable[[], None]) -> None:
        """Now, or (more interesting) in the middle of what its disk does next."""
        if self._world.dice.random() < 0.7:
            host.doom(lambda: self._restart_later(host, end))
        else:
            self._restart_later(host, end)

    def _stop(self) -> None:
        host = self._any_host()
        host.give(lambda _: host.stop())
        self._start_later(host)

    def _restart_later(self, host: Host, end: Callable[[], None]) -> None:
        if host.is_up:
            end()
            self._tell_peers(host)
        self._start_later(host)

    def _start_later(self, host: Host) -> None:
        def start() -> None:
            if self._is_over:
                return
            if not host.is_up:
                host.start()
            if not host.is_up:
                self._start_later(host)

        self._world.scheduler.after(self._world.dice.randint(10_000, 1_500_000), start)

    def _tell_peers(self, host: Host) -> None:
        """Mostly a dead process's connections break; a dead machine's do not."""
        if self._world.dice.random() < 0.7:
            for other in self._world.hosts:
                if other is not host:
                    delay_us = self._world.dice.randint(100, 20_000)
                    self._world.scheduler.after(delay_us, _lost(other, host))

    def _pause(self) -> None:
        host, world = self._any_host(), self._world
        left_us = world.options.chaos_us - world.scheduler.now_us
        duration_us = min(world.dice.choice((100_000, 1_000_000, 3_000_000)), left_us)
        host.paused_until_us = world.scheduler.now_us + max(0, duration_us)

    def _transfer(self) -> None:
        for host in self._world.hosts:
            host.give(Process.transfer)

    def _rot(self) -> None:
        """Never the last good copy: a majority stays sound. While it runs, or is down."""
        world = self._world
        host = world.dice.choice([host for host in world.hosts if not host.is_spoiled])
        if not world.may_spoil(host):
            return
        is_live = host.is_up and world.dice.random() < 0.5
        if host.is_up and not is_live:
            host.kill()
            self._tell_peers(host)
        what = host.rot()
        if what is not None:
            world.seen[f"rotten {what}"] += 1
            world.trace(f"{host.node}'s {what} rots")
        if not is_live:
            self._start_later(host)

    def _scrub(self) -> None:
        for host in self._world.hosts:
            host.give(Process.scrub)

    # ---------------------------------------------------------------------------------- members

    def _change(self) -> None:
        self._controller.change()

    def _cancel(self) -> None:
        self._controller.cancel()

    def _wipe(self) -> None:
        """The volume is lost; the node comes back as another member in its place."""
        host = self._any_host()
        if not self._world.may_spoil(host):
            return
        if host.is_up:
            host.kill()
            self._tell_peers(host)
        before = host.peer
        host.wipe()
        self._world.seen["wiped"] += 1
        self._controller.replaced(before, host.peer)
        self._start_later(host)

    # -------------------------------------------------------------------------- disks and clocks

    def _trim(self) -> None:
        dice = self._world.dice
        for host in self._world.hosts:
            host.give(lambda process: process.trim(dice))

    def _no_room(self) -> None:
        """Less room than the reserve: the node pauses its replicas, until there is more."""
        host, scheduler = self._any_host(), self._world.scheduler
        delay_us = self._world.dice.choice((300_000, 1_500_000))
        host.short_until_us = scheduler.now_us + delay_us

        def look() -> None:
            host.give(lambda process: process.pause_writes(host.is_short))

        look()
        scheduler.after(delay_us, look)

    def _slow_disk(self) -> None:
        host, world = self._any_host(), self._world
        host.slow_until_us = world.scheduler.now_us + world.dice.randint(200_000, 3_000_000)

    def _full_disk(self) -> None:
        """Somebody else filled it; later there is room again."""
        host = self._any_host()
        host.disk.capacity = 0

        def empty() -> None:
            host.disk.capacity = 1 << 40

        self._world.scheduler.after(self._world.dice.choice((200_000, 1_000_000)), empty)

    def _clock_jump(self) -> None:
        """Wall clocks only: the others do not jump (`CLOCK_MONOTONIC`)."""
        host, dice = self._any_host(), self._world.dice
        host.clock.wrong_ms = dice.choice((-1, 1)) * dice.choice((_HOUR_MS, 1_000))

    def _any_host(self) -> Host:
        """Half of the time it meets a leader."""
        leader = self._leader()
        if leader is not None and self._world.dice.random() < 0.5:
            return leader
        return self._world.dice.choice(self._world.hosts)

    def _leader(self) -> Host | None:
        for host in self._world.hosts:
            if host.process is not None and host.process.replica.role is Role.LEADER:
                return host
        return None

    # ------------------------------------------------------------------------------------ network

    def _partition(self) -> None:
        nodes = self._nodes()
        cut = self._world.dice.randint(1, max(1, len(nodes) - 1))
        left, right = nodes[:cut], nodes[cut:]
        self._block([(a, b) for a in left for b in right] + [(b, a) for a in left for b in right])

    def _one_way(self) -> None:
        nodes = self._nodes()
        self._block([(nodes[0], other) for other in nodes[1:]][:: self._world.dice.choice((1, 2))])

    def _bridge(self) -> None:
        """A and B, B and C, but not A and C."""
        nodes = self._nodes()
        middle = len(nodes) // 2
        left, right = nodes[:middle], nodes[middle + 1 :]
        self._block([(a, b) for a in left for b in right] + [(b, a) for a in left for b in right])

    def _clog(self) -> None:
        """Some links hold everything up for a while; what waited comes at once."""
        world, nodes = self._world, self._nodes()
        until_us = world.scheduler.now_us + world.dice.choice((100_000, 500_000, 2_000_000))
        for a in nodes:
            for b in nodes:
                if a != b and world.dice.random() < 0.4:
                    world.network.clogged[a, b] = until_us

    def _nodes(self) -> list[int]:
        nodes = [host.node for host in self._world.hosts]
        self._world.dice.shuffle(nodes)
        first = self._any_host().node
        nodes.remove(first)
        return [first, *nodes]

    def _block(self, links: list[tuple[int, int]]) -> None:
        world = self._world
        world.network.blocked.update(links)
        if world.dice.random() < 0.5:
            for link in links:
                world.network.reset(*link)

        def unblock() -> None:
            world.network.blocked.difference_update(links)

        world.scheduler.after(world.dice.choice((200_000, 1_000_000, 3_000_000)), unblock)


def _lost(host: Host, other: Host) -> Callable[[], None]:
    return lambda: host.give(lambda process: process.peer_lost(other.node))
