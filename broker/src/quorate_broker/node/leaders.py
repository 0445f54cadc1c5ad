"""Who leads what: soft state that every broker keeps and none of it in any log.

A broker that leads and serves tells the others (group, term, leader, in-sync set); the highest
term wins, and within a term the leader's own word. A group with a replica here is known
first-hand as well. Answers to clients are built from this table, so they never show a lower epoch
than before. Read next: `controller`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from quorate_broker.admin.flanking_registry import FlankingNode
from quorate_broker.admin.view import Standing
from quorate_broker.api.context import Leadership

MAX_DELETED = 20_000


class Lead(msgspec.Struct, frozen=True, array_like=True):
    """One broker's word that it leads a group."""

    group: str
    term: int
    leader: int
    isr: tuple[int, ...]
    held: int = 0
    """Offset below which every member has the log; told with everything else, now and then."""


class Gossip(msgspec.Struct, frozen=True):
    """What one broker tells all others: on change, every few seconds, and on a new connection.

    `flanking` is None from everyone but the metadata leader; `term` is the term of its leadership.
    `full`: `leads` is everything that the broker leads. `short`: its disk is about to be full.
    `address`: where it is reached by other brokers. `standing`: None from an older version.
    """

    leads: tuple[Lead, ...] = ()
    flanking: tuple[FlankingNode, ...] | None = None
    term: int = -1
    full: bool = False
    short: bool = False
    address: tuple[str, int] | None = None
    standing: Standing | None = None


_NOBODY = Leadership()


class Leaders:
    """The table. `version` moves with every change.

    Groups of deleted topics are remembered for a while: gossip that was under way would bring
    them back, and nobody would ever take them out again.
    """

    def __init__(self) -> None:
        self._table: dict[str, Leadership] = {}
        self._deleted: dict[str, None] = {}
        self.version = 0
        self.short: set[int] = set()
        """Brokers without room on their disks: nothing is to be handed to them."""
        self.held: dict[str, int] = {}
        """`Lead.held` of each group, as its leader told last."""
        self.by_hand: dict[str, int] = {}
        """Groups that somebody moved to this broker, and the term of that."""
        self.standings: dict[int, Standing] = {}
        """Of each broker, as it told last."""

    def __len__(self) -> int:
        return len(self._table)

    def get(self, group: str) -> Leadership:
        return self._table.get(group, _NOBODY)

    def learn(self, lead: Lead) -> bool:
        """Take a leader's own word. True when it changed the table."""
        known = self._table.get(lead.group, _NOBODY)
        told = Leadership(lead.leader, lead.term, lead.isr)
        if lead.term >= known.epoch and lead.held and lead.group not in self._deleted:
            self.held[lead.group] = lead.held
        if lead.term < known.epoch or told == known or lead.group in self._deleted:
            return False
        self._table[lead.group] = told
        self.version += 1
        return True

    def observe(self, group: str, term: int, leader: int) -> bool:
        """What a replica here believes; -1 when it knows of no leader in its term."""
        known = self._table.get(group, _NOBODY)
        if term < known.epoch or (term == known.epoch and leader == known.leader_id):
            return False
        if group in self._deleted:
            return False
        # Until the leader says who is in sync: it is itself, and for the rest nothing has changed.
        isr = tuple(sorted({*known.isr, leader})) if leader != -1 else ()
        self._table[group] = Leadership(leader, term, isr)
        self.version += 1
        return True

    def forget(self, groups: Iterable[str]) -> None:
        """Groups of topics that were deleted: an id of a topic never comes again."""
        for group in groups:
            self._table.pop(group, None)
            self.held.pop(group, None)
            self.by_hand.pop(group, None)
            self._deleted[group] = None
        while len(self._deleted) > MAX_DELETED:
            del self._deleted[next(iter(self._deleted))]
        self.version += 1
