"""One group as its coordinator sees it: members, votes, and who waits for what.

Only bookkeeping: every method keeps the sets consistent and decides nothing about answers or
time-outs, which is `rebalance`'s part. The state walks the edges of `states.TRANSITIONS`.

What outlives the coordinator is `value()` of a Stable or Empty group, as a record; tickets, pending
ids, and a generation that has begun but not been agreed are soft.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import records
from quorate_broker.groups.commands import JoinedMember, JoinGroup, Protocol
from quorate_broker.groups.states import TRANSITIONS, State


@dataclass(slots=True)
class Member:
    """A member of a group; its tickets are commands that wait for an answer."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: tuple[Protocol, ...]
    assignment: bytes = b""
    is_new: bool = False
    """Waits for its very first generation: it cannot heartbeat yet."""
    join_ticket: int | None = None
    sync_ticket: int | None = None

    @classmethod
    def of(cls, command: JoinGroup, member_id: str) -> Member:
        """A new member."""
        return cls(
            member_id=member_id,
            instance_id=command.instance_id,
            client_id=command.client_id,
            client_host=command.client_host,
            session_timeout_ms=command.session_timeout_ms,
            rebalance_timeout_ms=command.rebalance_timeout_ms,
            protocols=command.protocols,
            is_new=True,
        )

    def metadata(self, protocol: str | None) -> bytes:
        """Its subscription in the words of `protocol`."""
        return next((p.metadata for p in self.protocols if p.name == protocol), b"")

    @property
    def names(self) -> set[str]:
        """The protocols that it knows."""
        return {protocol.name for protocol in self.protocols}


class Group:
    """The members of one group, and how far they are with agreeing."""

    __slots__ = (
        "_support",
        "changed_wall_ms",
        "generation",
        "group_id",
        "joining",
        "leader",
        "members",
        "newcomers",
        "patience_ms",
        "pending",
        "previous_state",
        "protocol",
        "protocol_type",
        "state",
        "static",
        "unsynced",
    )

    def __init__(self, group_id: str, wall_ms: int) -> None:
        self.group_id = group_id
        self.state = State.EMPTY
        self.previous_state = State.DEAD
        self.changed_wall_ms = wall_ms
        self.generation = 0
        self.protocol_type: str | None = None
        self.protocol: str | None = None
        self.leader: str | None = None
        self.members: dict[str, Member] = {}
        self.static: dict[str, str] = {}
        """Instance id -> member id."""
        self.pending: set[str] = set()
        """Member ids that were given out and have not joined yet."""
        self.joining: set[str] = set()
        """Members whose join waits for the next generation."""
        self.unsynced: set[str] = set()
        """Members of this generation that have not asked for their assignment yet."""
        self.newcomers = False
        """Somebody joined since the initial delay was last looked at."""
        self.patience_ms = 0
        """What is left of the time that the initial delay may be stretched to."""
        self._support: Counter[str] = Counter()
        """Protocol -> members that know it."""

    @classmethod
    def of(cls, group_id: str, value: records.GroupValue) -> Group:
        """The group as its record left it."""
        group = cls(group_id, value.changed_wall_ms)
        group.generation = value.generation
        group.protocol_type = value.protocol_type or None
        group.protocol = value.protocol
        for kept in value.members:
            member = Member(
                member_id=kept.member_id,
                instance_id=kept.instance_id,
                client_id=kept.client_id,
                client_host=kept.client_host,
                session_timeout_ms=kept.session_timeout_ms,
                rebalance_timeout_ms=kept.rebalance_timeout_ms,
                protocols=(Protocol(value.protocol or "", kept.subscription),),
                assignment=kept.assignment,
            )
            group._enter(member)
        if group.members:
            group.state = State.STABLE
            group.leader = value.leader if value.leader in group.members else None
        return group

    def value(self) -> records.GroupValue:
        """What is kept of it. Raises AssertionError while it agrees on something."""
        assert self.state in (State.STABLE, State.EMPTY), self.state
        assert bool(self.members) == (self.state is State.STABLE)
        return records.GroupValue(
            protocol_type=self.protocol_type or "",
            generation=self.generation,
            protocol=self.protocol,
            leader=self.leader,
            changed_wall_ms=self.changed_wall_ms,
            members=tuple(
                records.MemberValue(
                    member_id=member.member_id,
                    instance_id=member.instance_id,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    rebalance_timeout_ms=member.rebalance_timeout_ms,
                    session_timeout_ms=member.session_timeout_ms,
                    subscription=member.metadata(self.protocol),
                    assignment=member.assignment,
                )
                for member in self.members.values()
            ),
        )

    # --- who is in

    def add(self, member: Member, protocol_type: str) -> None:
        """A new member, also one that was pending. The first sets the type and becomes leader."""
        assert member.member_id not in self.members
        if not self.members:
            self.protocol_type = protocol_type
        self.pending.discard(member.member_id)
        self._enter(member)
        if self.leader is None:
            self.leader = member.member_id

    def remove(self, member: Member) -> None:
        """A member is gone; whoever it kept waiting is the caller's business."""
        assert member.join_ticket is None, "answer before you remove"
        assert member.sync_ticket is None, "answer before you remove"
        del self.members[member.member_id]
        self._support.subtract(member.names)
        self.joining.discard(member.member_id)
        self.unsynced.discard(member.member_id)
        if member.instance_id is not None:
            del self.static[member.instance_id]
        if self.leader == member.member_id:
            self.leader = next(iter(self.members), None)

    def replace(self, old: Member, command: JoinGroup, member_id: str) -> Member:
        """A static member came back without its id: same member, new id, leadership kept."""
        was_leader = self.leader == old.member_id
        assignment = old.assignment
        self.remove(old)
        member = Member.of(command, member_id)
        member.is_new = False
        member.assignment = assignment
        self._enter(member)
        if was_leader:
            self.leader = member_id
        return member

    def update(self, member: Member, command: JoinGroup) -> None:
        """What a member says of itself when it joins again."""
        self._support.subtract(member.names)
        member.protocols = command.protocols
        self._support.update(member.names)
        member.session_timeout_ms = command.session_timeout_ms
        member.rebalance_timeout_ms = command.rebalance_timeout_ms

    def find(self, member_id: str, instance_id: str | None) -> Member:
        """The member that calls itself so.

        Raises KafkaError UNKNOWN_MEMBER_ID; FENCED_INSTANCE_ID if its instance id has moved on to
        another process.
        """
        if instance_id is not None:
            current = self.static.get(instance_id)
            if current is None:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
            if current != member_id:
                raise KafkaError(ErrorCode.FENCED_INSTANCE_ID)
        member = self.members.get(member_id)
        if member is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        return member

    def park_join(self, member: Member, ticket: int) -> int | None:
        """The member waits for the next generation; returns the ticket that this one replaces."""
        before, member.join_ticket = member.join_ticket, ticket
        self.joining.add(member.member_id)
        return before

    def unpark_join(self, member: Member) -> int | None:
        """The ticket to answer, if the member waits for the next generation."""
        ticket, member.join_ticket = member.join_ticket, None
        self.joining.discard(member.member_id)
        return ticket

    def _enter(self, member: Member) -> None:
        self.members[member.member_id] = member
        self._support.update(member.names)
        if member.instance_id is not None:
            self.static[member.instance_id] = member.member_id

    # --- what they agree on

    def supports(self, protocol_type: str, protocols: Iterable[Protocol]) -> bool:
        """Whether a member that speaks these could take part."""
        names = {protocol.name for protocol in protocols}
        if self.state is State.EMPTY:
            return bool(protocol_type) and bool(names)
        return protocol_type == self.protocol_type and any(
            self._support[name] == len(self.members) for name in names
        )

    def select_protocol(self) -> str:
        """The protocol that all know and most prefer; the elder members' word breaks a tie."""
        assert self.members, "nobody votes in an empty group"
        votes: Counter[str] = Counter()
        for member in self.members.values():
            everybodys = (p.name for p in member.protocols if self._support[p.name] == len(self))
            votes[next(everybodys)] += 1
        return max(votes, key=lambda name: votes[name])

    def elect_joined_leader(self) -> bool:
        """Have a leader that takes part in the next generation; False if nobody does."""
        if self.leader not in self.joining:
            self.leader = next((m for m in self.members if m in self.joining), self.leader)
        return self.leader in self.joining

    def begin_generation(self, wall_ms: int) -> None:
        """The join phase is over: those who are in are the next generation."""
        self.generation += 1
        self.unsynced = set(self.members)
        if self.members:
            self.protocol = self.select_protocol()
            self.transition(State.COMPLETING_REBALANCE, wall_ms)
        else:
            self.protocol = None
            self.leader = None
            self.transition(State.EMPTY, wall_ms)

    def transition(self, to: State, wall_ms: int) -> None:
        """Walk one edge of the table."""
        assert to in TRANSITIONS[self.state], f"{self.group_id}: {self.state} -> {to}"
        self.previous_state = self.state
        self.state = to
        self.changed_wall_ms = wall_ms

    @property
    def can_rebalance(self) -> bool:
        """Whether a rebalance may begin (and has not begun yet)."""
        return State.PREPARING_REBALANCE in TRANSITIONS[self.state]

    @property
    def all_joined(self) -> bool:
        """Whether there is nobody left to wait for."""
        return len(self.joining) == len(self.members) and not self.pending

    @property
    def rebalance_timeout_ms(self) -> int:
        """As long as the most patient member allows."""
        return max((m.rebalance_timeout_ms for m in self.members.values()), default=0)

    def roster(self) -> tuple[JoinedMember, ...]:
        """The members for their leader's eyes."""
        return tuple(
            JoinedMember(m.member_id, m.instance_id, m.metadata(self.protocol))
            for m in self.members.values()
        )

    def __len__(self) -> int:
        return len(self.members)
