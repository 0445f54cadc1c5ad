"""The coordinator of the groups of one `__consumer_offsets` partition: a `wire.outcome.Machine`.

What is kept (`_kept` and `_offsets`) changes in `replay` alone. Beside it stand the live groups,
which run ahead of their last record while they agree on the next generation, as in Kafka; a
coordinator that lost its leadership takes them along into oblivion. Whenever a live group is Stable
or Empty, it says the same as its record.

Reading order: `handle` for what may be asked, `replay` for what is kept, `expire` for the passing
of time; the rules of a rebalance are in `rebalance`, those of offsets in `offsets`.
"""

from __future__ import annotations

from collections.abc import Callable

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import commands, offsets, records
from quorate_broker.groups.group import Group
from quorate_broker.groups.rebalance import Rebalancer
from quorate_broker.groups.settings import GroupSettings
from quorate_broker.groups.states import State
from quorate_broker.groups.timers import Key, Kind, Timers
from quorate_broker.groups.turn import Turn
from quorate_broker.wire import batch
from quorate_broker.wire.outcome import Outcome

_RETENTION = Key(Kind.RETENTION)
_MAX_FORGOTTEN_PER_TURN = 10_000
"""Offsets that one look at the clock forgets; the rest is for the next."""


class Coordinator:
    """Many groups, one log. `wall_ms` reads the wall clock; `new_member_id` makes a unique id."""

    def __init__(
        self,
        partition_index: int,
        settings: GroupSettings,
        new_member_id: Callable[[str], str],
        wall_ms: Callable[[], int],
    ) -> None:
        self.partition_index = partition_index
        self._settings = settings
        self._wall_ms = wall_ms
        self._kept: dict[str, records.GroupValue] = {}
        self._offsets = offsets.Offsets()
        self._groups: dict[str, Group] = {}
        self._timers = Timers()
        self._rebalancer = Rebalancer(settings, self._timers, new_member_id)

    def configure(self, settings: GroupSettings, now_ms: int) -> None:
        """From now on; whoever waits already goes on waiting as it was told."""
        if settings.offsets_retention_check_ms != self._settings.offsets_retention_check_ms:
            self._timers.set(_RETENTION, now_ms + settings.offsets_retention_check_ms)
        self._settings = settings
        self._rebalancer.settings = settings

    # --- the machine

    def replay(self, record: batch.Record, offset: int) -> None:
        """Apply one record of the log."""
        match records.parse(record):
            case (records.OffsetKey() as key, value):
                assert value is None or isinstance(value, records.OffsetValue)
                self._offsets.replay(key, value)
            case (records.GroupKey() as key, value):
                if value is None:
                    self._kept.pop(key.group_id, None)
                else:
                    assert isinstance(value, records.GroupValue)
                    self._kept[key.group_id] = value

    def loaded(self, now_ms: int) -> Outcome:
        """This node leads now: bring the groups to life, each member with a whole session."""
        turn = Turn(now_ms, self._wall_ms())
        self._groups = {group_id: Group.of(group_id, kept) for group_id, kept in self._kept.items()}
        for group in self._groups.values():
            self._rebalancer.load(turn, group)
        self._timers.set(_RETENTION, now_ms + self._settings.offsets_retention_check_ms)
        return turn.outcome(self._timers.next_ms())

    def handle(self, ticket: int, command: object, now_ms: int) -> Outcome:
        """Decide on one command; a refusal changes nothing."""
        turn = Turn(now_ms, self._wall_ms())
        try:
            self._carry_out(turn, ticket, command)
        except KafkaError as error:
            assert not turn.records, "refusals come first"
            turn.answer(ticket, error)
        group_id = getattr(command, "group_id", None)
        if group_id is not None and not turn.records:
            self._drop_if_nothing(group_id)
        return turn.outcome(self._timers.next_ms())

    def expire(self, now_ms: int) -> Outcome:
        """Decide on all that is due."""
        turn = Turn(now_ms, self._wall_ms())
        seen = []
        while (key := self._timers.due(now_ms)) is not None:
            seen.append(key.group_id)
            group = self._groups.get(key.group_id)
            if key.kind is Kind.RETENTION:
                self._forget_outlived(turn)
            elif group is None:
                continue
            elif key.kind is Kind.SESSION:
                self._rebalancer.expire_session(turn, group, key.member_id)
            elif key.kind is Kind.JOIN:
                self._rebalancer.expire_join(turn, group)
            else:
                self._rebalancer.expire_sync(turn, group)
        if not turn.records:
            for group_id in seen:
                self._drop_if_nothing(group_id)
        return turn.outcome(self._timers.next_ms())

    # --- commands

    def _carry_out(self, turn: Turn, ticket: int, command: object) -> None:
        match command:
            case commands.JoinGroup():
                self._join(turn, ticket, command)
            case commands.SyncGroup():
                self._rebalancer.sync(turn, self._member_group(command.group_id), ticket, command)
            case commands.Heartbeat():
                group = self._member_group(command.group_id)
                self._rebalancer.heartbeat(turn, group, ticket, command)
            case commands.LeaveGroup():
                self._rebalancer.leave(turn, self._member_group(command.group_id), ticket, command)
            case commands.OffsetCommit():
                self._commit(turn, ticket, command)
            case commands.OffsetFetch():
                kept = self._offsets.of(command.group_id)
                turn.answer(ticket, offsets.fetched(kept, command.partitions))
            case _:
                self._administer(turn, ticket, command)

    def _administer(self, turn: Turn, ticket: int, command: object) -> None:
        match command:
            case commands.DescribeGroup():
                turn.answer(ticket, _described(self._existing(command.group_id)))
            case commands.ListGroups():
                turn.answer(ticket, self._listed())
            case commands.DeleteGroup():
                self._delete(turn, ticket, command.group_id)
            case _:
                raise AssertionError(f"not a command of groups: {command!r}")

    def _join(self, turn: Turn, ticket: int, command: commands.JoinGroup) -> None:
        _check_name(command.group_id, ErrorCode.INVALID_GROUP_ID)
        if not command.group_id:
            raise KafkaError(ErrorCode.INVALID_GROUP_ID)
        shortest, longest = (
            self._settings.min_session_timeout_ms,
            self._settings.max_session_timeout_ms,
        )
        if not shortest <= command.session_timeout_ms <= longest:
            raise KafkaError(ErrorCode.INVALID_SESSION_TIMEOUT)
        if command.rebalance_timeout_ms < 0:
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        _check_name(command.instance_id or "", ErrorCode.INVALID_REQUEST)
        for name in (command.protocol_type, *(p.name for p in command.protocols)):
            _check_name(name, ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if command.member_id:
            group = self._member_group(command.group_id)
        else:
            group = self._group_or_new(turn, command.group_id)
        self._rebalancer.join(turn, group, ticket, command)

    def _commit(self, turn: Turn, ticket: int, command: commands.OffsetCommit) -> None:
        _check_name(command.group_id, ErrorCode.INVALID_GROUP_ID)
        if command.generation < 0:
            group = self._group_or_new(turn, command.group_id)
        else:
            try:
                group = self._existing(command.group_id)
            except KafkaError:
                if command.knows_unknown_group:
                    raise
                raise KafkaError(ErrorCode.ILLEGAL_GENERATION) from None
        member = offsets.committer(group, command)
        if member is not None:
            self._rebalancer.alive(turn, group, member)
        offsets.commit(turn, ticket, command, self._settings)

    def _listed(self) -> tuple[commands.ListedGroup, ...]:
        for group_id in self._offsets:
            self._find(group_id)
        return tuple(
            commands.ListedGroup(group.group_id, group.protocol_type or "", group.state)
            for group in self._groups.values()
        )

    def _delete(self, turn: Turn, ticket: int, group_id: str) -> None:
        group = self._existing(group_id)
        if group.state is not State.EMPTY:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP)
        for topic, partition in self._offsets.of(group_id):
            key = records.OffsetKey(group_id, topic, partition)
            turn.records.append(records.offset_record(key, None))
        self._bury(turn, group)
        turn.answer(ticket, None)

    # --- groups

    def _find(self, group_id: str) -> Group | None:
        """The group of that id; one that only has offsets comes to life here."""
        group = self._groups.get(group_id)
        if group is None and group_id in self._offsets:
            group = self._groups[group_id] = Group(group_id, self._wall_ms())
        return group

    def _existing(self, group_id: str) -> Group:
        group = self._find(group_id)
        if group is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"there is no group {group_id!r}")
        return group

    def _member_group(self, group_id: str) -> Group:
        """The group of somebody who says that he is in it."""
        if not group_id:
            raise KafkaError(ErrorCode.INVALID_GROUP_ID)
        group = self._find(group_id)
        if group is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        return group

    def _group_or_new(self, turn: Turn, group_id: str) -> Group:
        group = self._find(group_id)
        if group is None:
            if len(self._groups) >= self._settings.max_groups:
                raise KafkaError(ErrorCode.GROUP_MAX_SIZE_REACHED, "too many groups")
            group = self._groups[group_id] = Group(group_id, turn.wall_ms)
        return group

    def _drop_if_nothing(self, group_id: str) -> None:
        """A group that nothing is kept of, and nobody is on the way to, was never there."""
        group = self._groups.get(group_id)
        if (
            group is not None
            and group.state is State.EMPTY
            and not group.pending
            and group_id not in self._kept
            and group_id not in self._offsets
        ):
            del self._groups[group_id]

    def _bury(self, turn: Turn, group: Group) -> None:
        for member_id in group.pending:
            self._timers.cancel(Key(Kind.SESSION, group.group_id, member_id))
        group.transition(State.DEAD, turn.wall_ms)
        del self._groups[group.group_id]
        if group.group_id in self._kept:
            turn.records.append(records.group_record(group.group_id, None))

    # --- time

    def _forget_outlived(self, turn: Turn) -> None:
        """Look through all groups without members, and come back later."""
        self._timers.set(_RETENTION, turn.now_ms + self._settings.offsets_retention_check_ms)
        for group_id in {**dict.fromkeys(self._offsets), **self._groups}:
            group = self._existing(group_id)
            kept = self._offsets.of(group_id)
            old = offsets.outlived(group, kept, turn.wall_ms, self._settings.offsets_retention_ms)
            for topic, partition in old:
                key = records.OffsetKey(group_id, topic, partition)
                turn.records.append(records.offset_record(key, None))
            if group.state is State.EMPTY and len(old) == len(kept) and not group.pending:
                self._bury(turn, group)
            if len(turn.records) >= _MAX_FORGOTTEN_PER_TURN:
                return


def _check_name(name: str, code: ErrorCode) -> None:
    """Ids of newer requests may be longer than any record of ours can hold."""
    if len(name) * 4 > records.MAX_STRING_BYTES and len(name.encode()) > records.MAX_STRING_BYTES:
        raise KafkaError(code, "too long")


def _described(group: Group) -> commands.GroupDescription:
    """Kafka shows what members said and got only while it is true: in a Stable group."""
    stable = group.state is State.STABLE
    return commands.GroupDescription(
        state=group.state,
        protocol_type=group.protocol_type or "",
        protocol=(group.protocol or "") if stable else "",
        members=tuple(
            commands.MemberDescription(
                member_id=member.member_id,
                instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                metadata=member.metadata(group.protocol) if stable else b"",
                assignment=member.assignment if stable else b"",
            )
            for member in group.members.values()
        ),
    )
