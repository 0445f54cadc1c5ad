"""Telling the other brokers what this one leads, and hearing it from them.

On every change at once, everything every few seconds and on a new connection, and an empty word
twice a second, from which the others know that this broker lives. Read next: `leaders`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from quorate_broker.net.peers import Peers
from quorate_broker.node.flank import Flank
from quorate_broker.node.leaders import Gossip, Lead, Leaders
from quorate_broker.node.shelf import Shelf
from quorate_broker.partition.shell import NO_LEADER, Partition

EVERY_MS = 500
ALL_EVERY = 6


class Gossiping:
    """One per broker."""

    def __init__(self, shelf: Shelf, peers: Peers, leaders: Leaders, flank: Flank) -> None:
        self._shelf = shelf
        self._peers = peers
        self._leaders = leaders
        self._flank = flank
        self._turn = 0
        self._due_ms = 0

    def tick(self, now_ms: int) -> bool:
        """Speak when it is time; True when an in-sync set of ours has changed."""
        if now_ms < self._due_ms:
            return False
        self._due_ms = now_ms + EVERY_MS
        self._turn += 1
        changed = [lead for lead in self._own_leads() if self._leaders.learn(lead)]
        if self._turn % ALL_EVERY == 0:
            self.tell_all()
        else:
            self._tell(changed)
        return bool(changed)

    def leadership_changed(self, partition: Partition) -> None:
        """A replica here has another leader, or leads and serves now."""
        replica = partition.replica
        if replica.serving:
            lead = self._lead(partition)
            if self._leaders.learn(lead):
                self._tell([lead])
        elif partition.leader_id == self._peers.me.node_id:
            self._leaders.observe(partition.group, replica.term, NO_LEADER)  # not serving yet
        else:
            self._leaders.observe(partition.group, replica.term, partition.leader_id)

    def tell_all(self) -> None:
        self._tell(self._own_leads())

    def tell_flanking(self) -> None:
        self._tell(())

    def hear(self, body: memoryview) -> None:
        """What another broker told. Raises msgspec.MsgspecError."""
        gossip = msgspec.msgpack.decode(body, type=Gossip)
        for lead in gossip.leads:
            self._leaders.learn(lead)
        self._flank.hear(gossip.flanking, gossip.term)

    def _own_leads(self) -> list[Lead]:
        return [self._lead(partition) for partition in self._shelf if partition.is_leader]

    def _lead(self, partition: Partition) -> Lead:
        replica = partition.replica
        return Lead(
            partition.group, replica.term, self._peers.me.node_id, tuple(sorted(replica.in_sync))
        )

    def _tell(self, leads: Iterable[Lead]) -> None:
        gossip = Gossip(tuple(leads), self._flank.gossip(), self._flank.term)
        self._peers.broadcast(msgspec.msgpack.encode(gossip))
