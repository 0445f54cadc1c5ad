"""Telling the other brokers what this one leads, and hearing it from them.

What changes is told at the end of the loop's turn, everything every few seconds and on a new
connection, and an empty word twice a second, from which the others know that this broker lives.
A turn in which nothing changed costs the same with one group as with a thousand.

The full word is also what watches over groups that rest: their leaders send no heartbeats, so a
follower whose leader's broker no longer claims the group is woken here. Read next: `leaders`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from quorate_broker.net.peers import Peers
from quorate_broker.node.flank import Flank
from quorate_broker.node.leaders import Gossip, Lead, Leaders
from quorate_broker.node.shelf import Shelf
from quorate_broker.partition.shell import NO_LEADER, Partition

EVERY_MS = 500
ALL_EVERY = 10


class Gossiping:
    """One per broker; `changed` is called when the table of leaders is another one by our word."""

    def __init__(
        self,
        shelf: Shelf,
        peers: Peers,
        leaders: Leaders,
        flank: Flank,
        changed: Callable[[], None],
    ) -> None:
        self._shelf = shelf
        self._peers = peers
        self._leaders = leaders
        self._flank = flank
        self._changed = changed
        self.address: tuple[str, int] | None = None
        """Where other brokers reach this one."""
        self._loop = asyncio.get_running_loop()
        self._news: dict[str, Lead] = {}
        self._turn = 0
        self._due_ms = 0

    def tick(self, now_ms: int) -> None:
        """Speak when it is time."""
        if now_ms < self._due_ms:
            return
        self._due_ms = now_ms + EVERY_MS
        self._turn += 1
        if self._turn % ALL_EVERY == 0:
            self.tell_all()
        else:
            self._tell(())

    def leadership_changed(self, partition: Partition) -> None:
        """A replica here has another leader, or leads and serves now."""
        replica = partition.replica
        if replica.serving:
            self.in_sync_changed(partition)
        elif partition.leader_id == self._peers.me.node_id:
            self._leaders.observe(partition.group, replica.term, NO_LEADER)  # not serving yet
        else:
            self._leaders.observe(partition.group, replica.term, partition.leader_id)

    def in_sync_changed(self, partition: Partition) -> None:
        """A replica that leads here has something to tell."""
        lead = self._lead(partition)
        if not self._leaders.learn(lead):
            return
        if not self._news:
            self._loop.call_soon(self._tell_news)
        self._news[lead.group] = lead
        self._changed()

    def tell_all(self) -> None:
        self._tell([self._lead(each) for each in self._shelf if each.is_leader], full=True)

    def tell_flanking(self) -> None:
        self._tell(())

    def tell_standing(self) -> None:
        """This broker is elsewhere with the cluster's settings."""
        self._tell(())
        self._changed()

    def hear(self, teller: int, body: memoryview) -> tuple[str, int] | None:
        """What another broker told; where it says it is reached. Raises msgspec.MsgspecError."""
        gossip = msgspec.msgpack.decode(body, type=Gossip)
        for lead in gossip.leads:
            self._leaders.learn(lead)
        self._leaders.short.discard(teller)
        if gossip.short:
            self._leaders.short.add(teller)
        if gossip.standing is not None and gossip.standing != self._leaders.standings.get(teller):
            self._leaders.standings[teller] = gossip.standing
            self._changed()
        if gossip.full:
            self._wake_unclaimed(teller, gossip.leads)
        self._flank.hear(gossip.flanking, gossip.term)
        return gossip.address

    def _wake_unclaimed(self, teller: int, leads: Iterable[Lead]) -> None:
        claimed = {lead.group: lead.term for lead in leads}
        for partition in self._shelf.resting():
            replica = partition.replica
            if partition.leader_id == teller and claimed.get(partition.group, -1) < replica.term:
                partition.wake()

    def _tell_news(self) -> None:
        news, self._news = self._news, {}
        self._tell(news.values())

    def _lead(self, partition: Partition) -> Lead:
        replica = partition.replica
        in_sync = tuple(sorted(replica.in_sync))
        me = self._peers.me.node_id
        return Lead(partition.group, replica.term, me, in_sync, replica.held_by_all)

    def _tell(self, leads: Iterable[Lead], full: bool = False) -> None:
        me = self._peers.me.node_id
        gossip = Gossip(
            tuple(leads),
            self._flank.gossip(),
            self._flank.term,
            full,
            me in self._leaders.short,
            self.address,
            self._leaders.standings.get(me),
        )
        self._peers.broadcast(msgspec.msgpack.encode(gossip))
