"""What all hosts of a run share. Next: `host`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quorate_broker.errors import KafkaError
from quorate_broker.partition.replica import Appended
from quorate_broker.raft import quorum
from quorate_broker.raft.messages import Peer
from quorate_broker.testing.simulation.checkers import Checkers
from quorate_broker.testing.simulation.clock import Scheduler
from quorate_broker.testing.simulation.network import Network
from quorate_broker.testing.simulation.options import Options

if TYPE_CHECKING:
    from quorate_broker.testing.simulation.host import Host

Answer = Callable[[Appended | KafkaError | None], None]
"""Called with what became of a produce; None: it may or may not have been appended."""


@dataclass(frozen=True, slots=True)
class World:
    """Made by `run.Simulation`."""

    scheduler: Scheduler
    dice: random.Random
    options: Options
    network: Network
    checkers: Checkers
    seen: Counter[str]
    founders: tuple[Peer, ...]
    trace: Callable[[str], None]
    hosts: list[Host]
    targets: list[frozenset[Peer]]
    """What the controller wants, and wanted."""

    def host_of(self, peer: Peer) -> Host:
        return self.hosts[peer.node_id - 1]

    def may_spoil(self, host: Host) -> bool:
        """Whether bytes of this host may go bad: never the last good copy (fault atlas).

        In every membership that any log knows a majority has none that are bad, so that whatever
        was committed is sound somewhere, and somebody is left who can be elected and has it.
        """
        sound = {each.peer for each in self.hosts if each is not host and not each.is_spoiled}
        return all(
            len(sound & half) >= quorum.majority(len(half))
            for half in self.halves()
            if host.peer in half
        )

    def halves(self) -> set[frozenset[Peer]]:
        """Of all memberships that may be in effect."""
        found = {half for host in self.hosts for half in host.halves()}
        return found.union(self.targets)
