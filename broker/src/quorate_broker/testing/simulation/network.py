"""Connections between nodes, as TCP makes them and as it does not.

Each ordered pair of nodes has two streams, control and bulk. Within a stream order is kept;
between the two it is not. A connection is one to an incarnation: who has come back with another
disk gets nothing that was meant for the one before. A reset loses what is under way in a direction
and tells both ends; a duplicate arrives by a way of its own (the old connection and the new one
both delivered it). Loss inside a stream is harsher than TCP, and Raft must bear it. A blocked
direction swallows silently.
Messages travel encoded: nobody shares memory.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from quorate_broker.raft import encoding
from quorate_broker.raft.messages import Append, Message, Peer, Snapshot
from quorate_broker.testing.simulation.clock import Scheduler
from quorate_broker.testing.simulation.options import Options

Deliver = Callable[[Peer, Peer, Message], None]
Lost = Callable[[int, int], None]


class Network:
    """Who can talk to whom, and how badly. Nodes are numbers."""

    def __init__(
        self, scheduler: Scheduler, dice: random.Random, options: Options, seen: Counter[str]
    ) -> None:
        self.is_faulty = True
        self.blocked: set[tuple[int, int]] = set()
        self.clogged: dict[tuple[int, int], int] = {}
        """What arrives by these links arrives not before that time."""
        self.deliver: Deliver = _nobody
        self.lost: Lost = _nobody
        self.sent: Counter[Peer] = Counter()
        self._scheduler = scheduler
        self._dice = dice
        self._options = options
        self._seen = seen
        self._arrival_us: dict[tuple[int, int, bool], int] = {}
        self._connection: dict[tuple[int, int], int] = {}

    def send(self, sender: Peer, to: Peer, message: Message) -> None:
        self.sent[sender] += 1
        options, dice, link = self._options, self._dice, (sender.node_id, to.node_id)
        if self.is_faulty and link in self.blocked:
            self._seen["message swallowed"] += 1
            return
        if self.is_faulty and dice.random() < options.reset:
            self.reset(*link)
        if self.is_faulty and dice.random() < options.loss:
            self._seen["message lost"] += 1
            return
        head, entries = encoding.encode(message)
        bulk = b"".join(entries)
        stream = (*link, isinstance(message, Append | Snapshot))
        arrival_us = max(self._delay_us(), self._arrival_us.get(stream, 0))
        if self.is_faulty and arrival_us < self.clogged.get(link, 0):
            self._seen["message held up"] += 1
            arrival_us = self.clogged[link]
        self._arrival_us[stream] = arrival_us
        self._carry((sender, to), arrival_us, head, bulk)
        if self.is_faulty and dice.random() < options.duplicate:
            self._seen["message duplicated"] += 1
            self._carry((sender, to), self._delay_us() + dice.randint(0, 50_000), head, bulk)

    def reset(self, sender: int, to: int) -> None:
        """The connection broke: what is under way is gone, and sooner or later both ends know."""
        self._seen["connection reset"] += 1
        link = (sender, to)
        self._connection[link] = self._connection.get(link, 0) + 1
        self._scheduler.at(self._delay_us(), lambda: self.lost(sender, to))
        self._scheduler.at(self._delay_us(), lambda: self.lost(to, sender))

    def _carry(self, ends: tuple[Peer, Peer], arrival_us: int, head: bytes, bulk: bytes) -> None:
        link = ends[0].node_id, ends[1].node_id
        connection = self._connection.get(link, 0)

        def arrive() -> None:
            cut = connection != self._connection.get(link, 0)
            if cut or (self.is_faulty and link in self.blocked):
                self._seen["message swallowed"] += 1
                return
            self.deliver(*ends, encoding.decode(head, memoryview(bulk)))

        self._scheduler.at(arrival_us, arrive)

    def _delay_us(self) -> int:
        options = self._options
        delay_us = self._dice.randint(options.delay_low_us, options.delay_high_us)
        return self._scheduler.now_us + delay_us


def _nobody(*_: object) -> None:
    raise AssertionError("the network is not connected")
