"""A bench for `groups`: one coordinator, its log, and virtual time.

What must hold between any two steps is checked after each, so that every script is also a test of
the invariants. Next: `tests/broker/groups`, whose scripts these words are for.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any

from quorate_broker.errors import KafkaError
from quorate_broker.groups import commands
from quorate_broker.groups.coordinator import Coordinator
from quorate_broker.groups.group import Group, Member
from quorate_broker.groups.settings import GroupSettings
from quorate_broker.groups.states import State
from quorate_broker.groups.timers import Key, Kind
from quorate_broker.wire import batch
from quorate_broker.wire.outcome import Outcome

WALL_MS = 1_700_000_000_000
SESSION_MS = 10_000
REBALANCE_MS = 60_000
RANGE = (commands.Protocol("range", b"topics"),)


class Bench:
    """Plays the part of `partition.hosted`, with commits that take no time."""

    def __init__(self, **settings: int) -> None:
        self.settings = GroupSettings(**settings)
        self.now_ms = 0
        self.log: list[batch.Record] = []
        self.replies: dict[int, Any] = {}
        self._tickets = itertools.count(1)
        self._ids = itertools.count(1)
        self.fail_over()

    # --- the host

    def fail_over(self) -> None:
        """Another node takes over: from the log alone, with tickets and soft state lost."""
        self.coordinator = self.fresh()
        self._carry_out(self.coordinator.loaded(self.now_ms))

    def fresh(self) -> Coordinator:
        """A coordinator that has read the log."""
        coordinator = Coordinator(
            7, self.settings, self._new_member_id, lambda: WALL_MS + self.now_ms
        )
        for offset, record in enumerate(self.log):
            coordinator.replay(record, offset)
        return coordinator

    def ask(self, command: object) -> int:
        """Hand a command in; the ticket's reply, if there is one yet, is in `replies`."""
        ticket = next(self._tickets)
        self._carry_out(self.coordinator.handle(ticket, command, self.now_ms))
        return ticket

    def call(self, command: object) -> Any:
        """The reply of a command that is answered at once; raises it if it is an error."""
        return self.take(self.ask(command))

    def take(self, ticket: int) -> Any:
        """The reply that a ticket has got."""
        reply = self.replies.pop(ticket)
        if isinstance(reply, KafkaError):
            raise reply
        return reply

    def pass_time(self, ms: int) -> None:
        """Let time go by, stopping at each deadline."""
        end_ms = self.now_ms + ms
        while self._deadline_ms is not None and self._deadline_ms <= end_ms:
            self.now_ms = max(self.now_ms, self._deadline_ms)
            self._carry_out(self.coordinator.expire(self.now_ms))
            assert self._deadline_ms is None or self._deadline_ms > self.now_ms
        self.now_ms = end_ms

    def _carry_out(self, outcome: Outcome) -> None:
        for record in outcome.records:
            self.coordinator.replay(record, len(self.log))
            self.log.append(record)
        for ticket, reply in outcome.replies:
            assert ticket not in self.replies, "a ticket is answered once"
            self.replies[ticket] = reply
        self._deadline_ms = outcome.deadline_ms
        self.check()

    def _new_member_id(self, prefix: str) -> str:
        return f"{prefix}-{next(self._ids)}"

    # --- what must hold between any two steps

    def check(self) -> None:
        for group in self.coordinator._groups.values():
            _check_group(group)
            self._check_timers(group)
            kept = self.coordinator._kept.get(group.group_id)
            if group.state in (State.STABLE, State.EMPTY) and (kept or group.generation):
                assert group.value() == kept, "a group at rest is as its record says"

    def _check_timers(self, group: Group) -> None:
        timers = self.coordinator._timers
        waiting = {m for m, x in group.members.items() if _parked(x) and not x.is_new}
        for member_id in group.members.keys() - waiting | group.pending:
            assert Key(Kind.SESSION, group.group_id, member_id) in timers, member_id
        joins = Key(Kind.JOIN, group.group_id) in timers
        assert joins == (group.state is State.PREPARING_REBALANCE)
        syncs = Key(Kind.SYNC, group.group_id) in timers
        assert syncs == bool(group.unsynced)

    # --- words for scripts

    def group(self, group_id: str = "g") -> Group:
        return self.coordinator._groups[group_id]

    @property
    def state(self) -> State:
        return self.group().state

    def join_with_id(self, **more: Any) -> int:
        """Both steps of a new dynamic member; returns the ticket of the second."""
        given = self.call(join(**more))
        return self.ask(join(given.member_id, **more))

    def stable(self, count: int = 1, **more: Any) -> list[str]:
        """A group of `count` members that has agreed; the first one leads."""
        tickets = [self.join_with_id(**more) for _ in range(count)]
        if count > 1:  # the first was alone in a generation of its own
            tickets[0] = self.ask(join(self.take(tickets[0]).member_id, **more))
        joined = [self.take(ticket) for ticket in tickets]
        ids = [reply.member_id for reply in joined]
        generation = joined[0].generation
        assignments = tuple((member_id, f"to {member_id}".encode()) for member_id in ids)
        for member_id in ids:
            leads = member_id == joined[0].leader
            self.call(sync(member_id, generation, assignments if leads else ()))
        assert self.state is State.STABLE
        return ids


def _parked(member: Member) -> bool:
    return member.join_ticket is not None or member.sync_ticket is not None


def _check_group(group: Group) -> None:
    members = group.members
    assert group.joining == {m for m, x in members.items() if x.join_ticket is not None}
    assert not group.pending & members.keys()
    assert group.unsynced <= members.keys()
    assert group.static == {x.instance_id: m for m, x in members.items() if x.instance_id}
    assert group.leader is None or group.leader in members
    assert +group._support == _supported(members.values())
    if group.state is State.EMPTY:
        assert not members
        assert group.protocol is None
    else:
        assert members or group.pending or group.state is State.PREPARING_REBALANCE
    if group.state is State.STABLE:
        assert not group.joining
        assert members
    if group.state is not State.COMPLETING_REBALANCE:
        assert all(x.sync_ticket is None for x in members.values())
    if group.state is not State.PREPARING_REBALANCE:
        assert not group.joining


def _supported(members: Iterable[Member]) -> Counter[str]:
    return Counter(name for member in members for name in member.names)


def join(
    member_id: str = "",
    instance_id: str | None = None,
    protocols: tuple[commands.Protocol, ...] = RANGE,
    **more: Any,
) -> commands.JoinGroup:
    settled: dict[str, Any] = {
        "group_id": "g",
        "client_id": "client",
        "client_host": "/127.0.0.1",
        "protocol_type": "consumer",
        "session_timeout_ms": SESSION_MS,
        "rebalance_timeout_ms": REBALANCE_MS,
    }
    return commands.JoinGroup(
        member_id=member_id, instance_id=instance_id, protocols=protocols, **(settled | more)
    )


def sync(
    member_id: str, generation: int, assignments: tuple[tuple[str, bytes], ...] = (), **more: Any
) -> commands.SyncGroup:
    more = {"group_id": "g", "instance_id": None} | more
    return commands.SyncGroup(
        member_id=member_id, generation=generation, assignments=assignments, **more
    )


def beat(member_id: str, generation: int, instance_id: str | None = None) -> commands.Heartbeat:
    return commands.Heartbeat("g", member_id, instance_id, generation)


def leave(*members: str | tuple[str, str]) -> commands.LeaveGroup:
    return commands.LeaveGroup(
        "g",
        tuple(
            commands.LeavingMember(m) if isinstance(m, str) else commands.LeavingMember(*m)
            for m in members
        ),
    )
