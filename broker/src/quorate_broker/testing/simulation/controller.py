"""Who decides where replicas are: metadata and its controller, as far as one group sees them.

It wants some set of members and says so, again and again, to whoever leads; it changes its mind
while the group is still on its way, adds, removes and replaces several at once, and has the folders
of those deleted whom the group has left behind. That it can be trusted itself is the business of
another Raft group.
"""

from __future__ import annotations

from quorate_broker.raft import quorum
from quorate_broker.raft.messages import Peer
from quorate_broker.testing.simulation.host import Host
from quorate_broker.testing.simulation.process import Process
from quorate_broker.testing.simulation.world import World

_TELL_US = 150_000
_MOST_VOTERS = 5


class Controller:
    """`target` is what it wants, `settled` what the group has last come to rest on."""

    def __init__(self, world: World) -> None:
        self.target = frozenset(world.founders)
        self.settled = self.target
        self._world = world
        self._aims = 0
        """How often it has changed its mind."""
        world.targets.append(self.target)

    def begin(self) -> None:
        self._tell()

    def _tell(self) -> None:
        for host in self._world.hosts:
            host.give(self._want)
        self._world.scheduler.after(_TELL_US, self._tell)

    def _want(self, process: Process) -> None:
        if process.want(self.target) and self.settled != self.target:
            self.settled = self.target
            self._world.seen["members settled"] += 1
            self._world.trace(f"settled on {_names(self.target)}")
            for host in self._world.hosts:
                if host.peer not in self.target and self._world.dice.random() < 0.7:
                    self._remove_later(host, self._aims)

    def _remove_later(self, host: Host, aims: int) -> None:
        """Unless another target is wanted by then, or was meanwhile: the group may have gone there,
        and a node asks its leader. It comes back empty."""

        def remove() -> None:
            if self._aims == aims:
                host.give(begin_anew)  # a paused process gets to it when it wakes

        def begin_anew(_: Process) -> None:
            host.remove()
            if not host.is_up:
                host.start()

        self._world.scheduler.after(self._world.dice.randint(10_000, 500_000), remove)

    # --------------------------------------------------------------------------- changes of mind

    def change(self) -> None:
        """To some other set, with something in common with the last one or not."""
        dice = self._world.dice
        everybody = [host.peer for host in self._world.hosts]
        size = dice.randint(1, min(_MOST_VOTERS, len(everybody)))
        self._aim(frozenset(dice.sample(everybody, size)))

    def cancel(self) -> None:
        """Back to where the group was."""
        present = {host.peer for host in self._world.hosts}
        if self.settled <= present:
            self._aim(self.settled)

    def replaced(self, before: Peer, after: Peer) -> None:
        """A node came back with an empty disk: it takes the place of the one it was."""
        if before in self.target:
            self._aim(self.target - {before} | {after})
        elif self.settled == self.target:
            self.settled = self.target

    def _aim(self, target: frozenset[Peer]) -> None:
        """A majority of it must be sound, as far as nobody can tell (fault atlas)."""
        sound = {host.peer for host in self._world.hosts if not host.may_lie}
        if target != self.target and len(sound & target) >= quorum.majority(len(target)):
            self.target = target
            self._aims += 1
            self._world.targets[:] = [self.target, self.settled]
            self._world.seen["members wanted"] += 1
            self._world.trace(f"wanted are {_names(target)}")


def _names(peers: frozenset[Peer]) -> str:
    return " ".join(f"{peer.node_id}/{peer.incarnation}" for peer in sorted(peers))
