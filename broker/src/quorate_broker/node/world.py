"""The world of one node, by argument: time, chance, disk, threads, other brokers.

`of_this_machine` is the real one. A simulator brings its own, and runs whole nodes in one thread
on an event loop of its own; nothing else of a node reaches outside, but for the sockets of clients
and of the Admin API, which are opened only where `listens`. Read next: `main`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from quorate_broker import config, seams
from quorate_broker.log.disk import Disk
from quorate_broker.net.mesh import Mesh
from quorate_broker.net.peers import Handler, Peers
from quorate_broker.node.workers import ThreadWorkers, Workers
from quorate_broker.raft.messages import Peer


@dataclass(frozen=True, slots=True)
class World:
    """`workers` is asked once per start of a node, and `peers` when it knows who it is."""

    clock: seams.Clock
    random: random.Random
    disk: Disk
    workers: Callable[[], Workers]
    peers: Callable[[Peer, Handler], Peers]
    listens: bool = True


def of_this_machine(
    settings: config.Settings, clock: seams.Clock, source: random.Random, disk: Disk
) -> World:
    """Real threads and sockets."""
    bind = (settings.rpc_host, settings.rpc_port)
    return World(
        clock=clock,
        random=source,
        disk=disk,
        workers=lambda: ThreadWorkers(settings.disk_threads),
        peers=lambda me, handler: Mesh(me, handler, clock, source, bind),
    )
