"""How the members of a group come to agree: joins, syncs, heartbeats, leaves and time-outs.

A rebalance in one paragraph: somebody joins, leaves or goes silent, and the group prepares; members
hear of it by their heartbeats and join again, each parked until all are in or the longest of their
rebalance time-outs has passed; then a generation begins, everybody is answered, and the leader is
shown the members; everybody syncs, parked until the leader's sync brings the assignments. That sync
writes the one record of the rebalance, and nobody hears of an assignment before it is committed.

The rules are those of Kafka's coordinator (KIP-62 rebalance time-outs, KIP-134 initial delay,
KIP-345 static members, KIP-394 member ids first, KIP-559 protocol checks, KIP-814 skipped
assignments) with two differences: whoever asks again while his first question is parked has that
one answered too, and a member id that is given back unused costs a stable group no rebalance.

Every refusal is raised as `KafkaError` before anything has changed. Next: `coordinator`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import records
from quorate_broker.groups.commands import (
    Heartbeat,
    JoinGroup,
    JoinGroupReply,
    LeaveGroup,
    LeavingMember,
    SyncGroup,
    SyncGroupReply,
)
from quorate_broker.groups.group import Group, Member
from quorate_broker.groups.settings import GroupSettings
from quorate_broker.groups.states import State
from quorate_broker.groups.timers import Key, Kind, Timers
from quorate_broker.groups.turn import Turn

log = logging.getLogger(__name__)

_ID_PREFIX_LENGTH = 255
"""How much of a client's or instance's name goes into a member id: names may be 32 KB long."""


class Rebalancer:
    """Decides for all groups of one coordinator; keeps nothing of its own but their timers."""

    def __init__(
        self, settings: GroupSettings, timers: Timers, new_member_id: Callable[[str], str]
    ) -> None:
        self.settings = settings
        self._timers = timers
        self._new_member_id = new_member_id

    # --- joining

    def join(self, turn: Turn, group: Group, ticket: int, command: JoinGroup) -> None:
        """Take a member into the next generation."""
        if not self._has_room(group, command.member_id):
            self._turn_away(turn, group, command.member_id)
            turn.refuse(ticket, ErrorCode.GROUP_MAX_SIZE_REACHED)
        elif not group.supports(command.protocol_type, command.protocols):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        elif not command.member_id:
            self._join_unknown(turn, group, ticket, command)
        elif command.member_id in group.pending:
            if command.instance_id is not None:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)  # ids are given to dynamic members
            self._admit(turn, group, ticket, command, command.member_id)
        else:
            self._rejoin(turn, group, ticket, command)

    def _has_room(self, group: Group, member_id: str) -> bool:
        """Members that are in stay in; while joining, the first `max_size` to come are taken."""
        member = group.members.get(member_id)
        if group.state is State.EMPTY:
            return True
        if group.state is State.PREPARING_REBALANCE:
            taken = len(group.joining)
            return (member is not None and member.join_ticket is not None) or (
                taken < self.settings.max_size
            )
        return member is not None or len(group) < self.settings.max_size

    def _turn_away(self, turn: Turn, group: Group, member_id: str) -> None:
        member = group.members.get(member_id)
        if member is not None:
            self._evict(turn, group, member)
        else:
            self._forget_pending(group, member_id)
        self._complete_if_all_joined(turn, group)

    def _join_unknown(self, turn: Turn, group: Group, ticket: int, command: JoinGroup) -> None:
        """Somebody without a member id: new, or a static member that lost its memory."""
        name = command.client_id if command.instance_id is None else command.instance_id
        member_id = self._new_member_id(name[:_ID_PREFIX_LENGTH])
        assert member_id not in group.members, "member ids are unique"
        if command.instance_id is not None:
            old_id = group.static.get(command.instance_id)
            if old_id is None:
                self._admit(turn, group, ticket, command, member_id)
            else:
                old = group.members[old_id]
                self._replace_static(turn, group, ticket, (old, command, member_id))
        elif command.needs_member_id:
            if len(group.pending) >= self.settings.max_pending_members:
                raise KafkaError(ErrorCode.GROUP_MAX_SIZE_REACHED)
            group.pending.add(member_id)
            self._set(turn, Kind.SESSION, group, command.session_timeout_ms, member_id)
            turn.answer(ticket, JoinGroupReply(member_id, ErrorCode.MEMBER_ID_REQUIRED))
        else:
            self._admit(turn, group, ticket, command, member_id)

    def _admit(
        self, turn: Turn, group: Group, ticket: int, command: JoinGroup, member_id: str
    ) -> None:
        if group.state is State.PREPARING_REBALANCE and group.previous_state is State.EMPTY:
            group.newcomers = True
        member = Member.of(command, member_id)
        group.add(member, command.protocol_type)
        group.park_join(member, ticket)
        # It has no id before it is answered, so it cannot heartbeat; and if its connection breaks
        # it comes back as somebody else. This is when the one that went is given up.
        self._set(turn, Kind.SESSION, group, self.settings.new_member_join_timeout_ms, member_id)
        self._rebalance_or_complete(turn, group, f"member {member_id} joins")

    def _rejoin(self, turn: Turn, group: Group, ticket: int, command: JoinGroup) -> None:
        member = group.find(command.member_id, command.instance_id)
        changed = member.protocols != command.protocols
        if group.state is State.COMPLETING_REBALANCE and not changed:
            # the answer to its join was lost
            turn.answer(ticket, self._membership(group, member))
        elif group.state is State.STABLE and not changed and group.leader != member.member_id:
            turn.answer(ticket, self._membership(group, member))
        else:
            # A leader asks again when what it assigns has changed (more partitions, say).
            group.update(member, command)
            turn.refuse(group.park_join(member, ticket), ErrorCode.REBALANCE_IN_PROGRESS)
            self._rebalance_or_complete(turn, group, f"member {member.member_id} joins again")

    def _replace_static(
        self, turn: Turn, group: Group, ticket: int, who: tuple[Member, JoinGroup, str]
    ) -> None:
        """A static member restarted: same place in the group, new id (KIP-345)."""
        old, command, member_id = who
        leader_before = group.leader
        self._timers.cancel(Key(Kind.SESSION, group.group_id, old.member_id))
        turn.refuse(group.unpark_join(old), ErrorCode.FENCED_INSTANCE_ID)
        turn.refuse(self._unpark_sync(old), ErrorCode.FENCED_INSTANCE_ID)
        member = group.replace(old, command, member_id)
        self._restart_session(turn, group, member)
        if group.state is State.STABLE and group.select_protocol() == group.protocol:
            self._write(turn, group)
            turn.answer(ticket, self._static_membership(group, member, command, leader_before))
            return
        group.park_join(member, ticket)
        if group.state is State.PREPARING_REBALANCE:
            self._complete_if_all_joined(turn, group)
        else:
            # While completing, the leader may be assigning to the old id at this moment.
            self._prepare(turn, group, f"static member {command.instance_id} is back")

    def _static_membership(
        self, group: Group, member: Member, command: JoinGroup, leader_before: str | None
    ) -> JoinGroupReply:
        """No rebalance: a leader that is back must not assign anew.

        A client that knows the flag is told so (KIP-814); to others the leader goes by its old id,
        in which the member does not see itself.
        """
        if command.can_skip_assignment:
            leads = group.leader == member.member_id
            return self._membership(group, member, skip_assignment=leads)
        return JoinGroupReply(
            member_id=member.member_id,
            generation=group.generation,
            protocol_type=group.protocol_type,
            protocol=group.protocol,
            leader=leader_before or "",
        )

    def _membership(
        self, group: Group, member: Member, *, skip_assignment: bool = False
    ) -> JoinGroupReply:
        return JoinGroupReply(
            member_id=member.member_id,
            generation=group.generation,
            protocol_type=group.protocol_type,
            protocol=group.protocol,
            leader=group.leader or "",
            skip_assignment=skip_assignment,
            members=group.roster() if group.leader == member.member_id else (),
        )

    # --- preparing and completing

    def _rebalance_or_complete(self, turn: Turn, group: Group, reason: str) -> None:
        if group.can_rebalance:
            self._prepare(turn, group, reason)
        else:
            self._complete_if_all_joined(turn, group)

    def _prepare(self, turn: Turn, group: Group, reason: str) -> None:
        """Call everybody to join again."""
        log.info("group %s rebalances: %s", group.group_id, reason)
        self._drop_assignments(turn, group, ErrorCode.REBALANCE_IN_PROGRESS)
        group.unsynced.clear()
        self._timers.cancel(Key(Kind.SYNC, group.group_id))
        initial = group.state is State.EMPTY
        delay_ms = self.settings.initial_rebalance_delay_ms
        group.transition(State.PREPARING_REBALANCE, turn.wall_ms)
        if initial and delay_ms > 0:
            group.newcomers = False
            group.patience_ms = max(group.rebalance_timeout_ms - delay_ms, 0)
            self._set(turn, Kind.JOIN, group, delay_ms)
        elif initial or group.all_joined:
            self._complete(turn, group)
        else:
            self._set(turn, Kind.JOIN, group, group.rebalance_timeout_ms)

    def _complete_if_all_joined(self, turn: Turn, group: Group) -> None:
        preparing = group.state is State.PREPARING_REBALANCE
        if preparing and group.previous_state is not State.EMPTY and group.all_joined:
            self._complete(turn, group)

    def _complete(self, turn: Turn, group: Group) -> None:
        """Begin a generation of those who are here; static members may be away for a while."""
        self._timers.cancel(Key(Kind.JOIN, group.group_id))
        for member in list(group.members.values()):
            if member.join_ticket is None and member.instance_id is None:
                self._evict(turn, group, member)
        if group.members and not group.elect_joined_leader():
            # Only absent static members: nobody could lead. Their sessions will end, or one comes.
            self._set(turn, Kind.JOIN, group, group.rebalance_timeout_ms)
            return
        group.begin_generation(turn.wall_ms)
        log.info(
            "group %s: generation %d with %d members", group.group_id, group.generation, len(group)
        )
        if group.state is State.EMPTY:
            self._write(turn, group)
            return
        for member in group.members.values():
            ticket = group.unpark_join(member)
            turn.answer(ticket, self._membership(group, member))
            member.is_new = False
            self._restart_session(turn, group, member)
        self._set(turn, Kind.SYNC, group, group.rebalance_timeout_ms)

    def _drop_assignments(self, turn: Turn, group: Group, code: ErrorCode) -> None:
        """A generation ends before it had its assignments."""
        if group.state is not State.COMPLETING_REBALANCE:
            return
        for member in group.members.values():
            if turn.refuse(self._unpark_sync(member), code):
                self._restart_session(turn, group, member)

    # --- syncing

    def sync(self, turn: Turn, group: Group, ticket: int, command: SyncGroup) -> None:
        """Hand a member its assignment, or take all of them from the leader."""
        member = group.find(command.member_id, command.instance_id)
        if command.generation != group.generation:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        if command.protocol_type is not None and command.protocol_type != group.protocol_type:
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if command.protocol is not None and command.protocol != group.protocol:
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if group.state is State.PREPARING_REBALANCE:
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)
        group.unsynced.discard(member.member_id)
        if group.state is State.COMPLETING_REBALANCE:
            before, member.sync_ticket = member.sync_ticket, ticket
            turn.refuse(before, ErrorCode.REBALANCE_IN_PROGRESS)
            if group.leader == member.member_id:
                self._agree(turn, group, dict(command.assignments))
        else:
            assert group.state is State.STABLE, group.state
            turn.answer(ticket, self._assignment(group, member))
            self._restart_session(turn, group, member)
        if not group.unsynced:
            self._timers.cancel(Key(Kind.SYNC, group.group_id))

    def _agree(self, turn: Turn, group: Group, assignments: dict[str, bytes]) -> None:
        """The leader has spoken: the generation is complete, and becomes a record."""
        for member in group.members.values():
            member.assignment = assignments.get(member.member_id, b"")
        size = sum(
            len(m.assignment) + len(m.metadata(group.protocol)) for m in group.members.values()
        )
        if size > self.settings.max_group_bytes:
            self._drop_assignments(turn, group, ErrorCode.UNKNOWN_SERVER_ERROR)
            self._prepare(turn, group, f"{size} bytes are too much for one record")
            return
        group.transition(State.STABLE, turn.wall_ms)
        self._write(turn, group)
        for member in group.members.values():
            if turn.answer(self._unpark_sync(member), self._assignment(group, member)):
                self._restart_session(turn, group, member)

    def _assignment(self, group: Group, member: Member) -> SyncGroupReply:
        return SyncGroupReply(group.protocol_type, group.protocol, member.assignment)

    # --- staying and leaving

    def heartbeat(self, turn: Turn, group: Group, ticket: int, command: Heartbeat) -> None:
        """A sign of life; the answer is how members hear of a rebalance."""
        member = group.find(command.member_id, command.instance_id)
        if command.generation != group.generation:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        self.alive(turn, group, member)
        if group.state is State.PREPARING_REBALANCE:
            turn.refuse(ticket, ErrorCode.REBALANCE_IN_PROGRESS)
        else:
            turn.answer(ticket, None)

    def alive(self, turn: Turn, group: Group, member: Member) -> None:
        """What shows that a member lives prolongs its session; but not a newcomer's wait."""
        if not member.is_new:
            self._restart_session(turn, group, member)

    def leave(self, turn: Turn, group: Group, ticket: int, command: LeaveGroup) -> None:
        """Members go, one by one; the group rebalances once."""
        size = len(group)
        codes = tuple(self._leave_one(turn, group, leaving) for leaving in command.members)
        turn.answer(ticket, codes)
        if len(group) < size:
            self._rebalance_or_complete(turn, group, "members leave")
        else:
            self._complete_if_all_joined(turn, group)

    def _leave_one(self, turn: Turn, group: Group, leaving: LeavingMember) -> ErrorCode:
        member_id = leaving.member_id
        if member_id in group.pending:
            self._forget_pending(group, member_id)
            return ErrorCode.NONE
        if not member_id and leaving.instance_id is not None:
            # an administrator knows instances, not ids
            member_id = group.static.get(leaving.instance_id, "")
        try:
            member = group.find(member_id, leaving.instance_id)
        except KafkaError as error:
            return error.code
        self._evict(turn, group, member)
        return ErrorCode.NONE

    # --- time

    def expire_session(self, turn: Turn, group: Group, member_id: str) -> None:
        """A member was silent for too long, or never came back with the id it was given."""
        member = group.members.get(member_id)
        if member is None:
            self._forget_pending(group, member_id)
            self._complete_if_all_joined(turn, group)
        elif member.is_new or (member.join_ticket is None and member.sync_ticket is None):
            log.info("group %s: member %s is silent", group.group_id, member_id)
            self._evict(turn, group, member)
            self._rebalance_or_complete(turn, group, f"member {member_id} is silent")
        # else it waits for us: its session begins anew with the answer

    def expire_join(self, turn: Turn, group: Group) -> None:
        """The time for joining is over, unless it is the initial delay and others keep coming."""
        if group.state is not State.PREPARING_REBALANCE:
            return
        initial = group.previous_state is State.EMPTY
        if initial and group.newcomers and group.patience_ms > 0:
            group.newcomers = False
            delay_ms = min(self.settings.initial_rebalance_delay_ms, group.patience_ms)
            group.patience_ms -= delay_ms
            self._set(turn, Kind.JOIN, group, delay_ms)
        else:
            self._complete(turn, group)

    def expire_sync(self, turn: Turn, group: Group) -> None:
        """Members that never fetched their assignment hold partitions that nobody reads."""
        silent = [group.members[member_id] for member_id in sorted(group.unsynced)]
        for member in silent:
            self._evict(turn, group, member)
        if silent:
            self._prepare(turn, group, f"{len(silent)} members did not sync")

    def load(self, turn: Turn, group: Group) -> None:
        """A new coordinator took over: every member has a whole session to find it."""
        for member in group.members.values():
            self._restart_session(turn, group, member)
        if len(group) > self.settings.max_size:
            self._prepare(turn, group, "more members than allowed")

    # --- the small print

    def _write(self, turn: Turn, group: Group) -> None:
        turn.records.append(records.group_record(group.group_id, group.value()))

    def _evict(self, turn: Turn, group: Group, member: Member) -> None:
        turn.refuse(group.unpark_join(member), ErrorCode.UNKNOWN_MEMBER_ID)
        turn.refuse(self._unpark_sync(member), ErrorCode.UNKNOWN_MEMBER_ID)
        self._timers.cancel(Key(Kind.SESSION, group.group_id, member.member_id))
        group.remove(member)

    def _forget_pending(self, group: Group, member_id: str) -> None:
        group.pending.discard(member_id)
        self._timers.cancel(Key(Kind.SESSION, group.group_id, member_id))

    def _unpark_sync(self, member: Member) -> int | None:
        ticket, member.sync_ticket = member.sync_ticket, None
        return ticket

    def _restart_session(self, turn: Turn, group: Group, member: Member) -> None:
        self._set(turn, Kind.SESSION, group, member.session_timeout_ms, member.member_id)

    def _set(self, turn: Turn, kind: Kind, group: Group, in_ms: int, member_id: str = "") -> None:
        self._timers.set(Key(kind, group.group_id, member_id), turn.now_ms + in_ms)
