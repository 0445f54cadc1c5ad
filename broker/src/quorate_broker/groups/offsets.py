"""Committed offsets: who may commit, what is kept, and when it is forgotten.

The store changes by replayed records alone; `commit` and `outlived` only write them. Offsets live
apart from membership: a consumer that assigns its own partitions has a group without ever joining.
Next: `coordinator`.
"""

from __future__ import annotations

from collections.abc import Iterator

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import records
from quorate_broker.groups.commands import CommittedOffset, OffsetCommit
from quorate_broker.groups.group import Group, Member
from quorate_broker.groups.records import OffsetKey, OffsetValue
from quorate_broker.groups.settings import GroupSettings
from quorate_broker.groups.states import State
from quorate_broker.groups.turn import Turn

Partition = tuple[str, int]
"""(topic, partition)"""


class Offsets:
    """What the log says was committed, by group."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[Partition, OffsetValue]] = {}

    def __contains__(self, group_id: str) -> bool:
        return group_id in self._groups

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def of(self, group_id: str) -> dict[Partition, OffsetValue]:
        """All that a group committed; not to be changed."""
        return self._groups.get(group_id, {})

    def replay(self, key: OffsetKey, value: OffsetValue | None) -> None:
        """Apply one record."""
        where = (key.topic, key.partition)
        if value is not None:
            self._groups.setdefault(key.group_id, {})[where] = value
            return
        kept = self._groups.get(key.group_id, {})
        kept.pop(where, None)
        if not kept:
            self._groups.pop(key.group_id, None)


def committer(group: Group, command: OffsetCommit) -> Member | None:
    """The member that commits; None for a consumer that assigns its own partitions.

    Raises KafkaError. A commit is taken while the group prepares a rebalance: members hear of that
    by their heartbeats, and commit before they give partitions up.
    """
    member = None
    by_member = command.generation >= 0 or command.member_id or command.instance_id is not None
    if command.generation < 0 and group.state is State.EMPTY:
        return None
    if not by_member:
        raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
    member = group.find(command.member_id, command.instance_id)
    if command.generation != group.generation:
        raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
    if group.state is State.COMPLETING_REBALANCE:
        raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)
    return member


def commit(turn: Turn, ticket: int, command: OffsetCommit, settings: GroupSettings) -> None:
    """Write the offsets of a commit that is allowed, and answer partition by partition."""
    expire_wall_ms = turn.wall_ms + command.retention_ms if command.retention_ms >= 0 else -1
    most = min(settings.offset_metadata_max_bytes, records.MAX_STRING_BYTES)
    codes = []
    for wanted in command.offsets:
        if len(wanted.metadata.encode()) > most:
            codes.append(ErrorCode.OFFSET_METADATA_TOO_LARGE)
            continue
        codes.append(ErrorCode.NONE)
        key = OffsetKey(command.group_id, wanted.topic, wanted.partition)
        value = OffsetValue(
            wanted.offset, wanted.leader_epoch, wanted.metadata, turn.wall_ms, expire_wall_ms
        )
        turn.records.append(records.offset_record(key, value))
    turn.answer(ticket, tuple(codes))


def fetched(
    kept: dict[Partition, OffsetValue], wanted: tuple[Partition, ...] | None
) -> tuple[CommittedOffset, ...]:
    """What a fetch is answered: -1 where nothing was committed, which is no error."""
    return tuple(
        CommittedOffset(topic, partition, value.offset, value.leader_epoch, value.metadata)
        if (value := kept.get((topic, partition))) is not None
        else CommittedOffset(topic, partition, -1)
        for topic, partition in (kept if wanted is None else wanted)
    )


def outlived(
    group: Group, kept: dict[Partition, OffsetValue], wall_ms: int, retention_ms: int
) -> list[Partition]:
    """The offsets of a group without members whose time is over.

    It counts from when the last member left; for a group that never had any, from each commit; and
    where a commit brought its own time to live, that alone counts.
    """
    if group.state is not State.EMPTY:
        return []
    had_members = group.protocol_type is not None and group.changed_wall_ms >= 0
    return [
        partition
        for partition, value in kept.items()
        if wall_ms
        >= (
            value.expire_wall_ms
            if value.expire_wall_ms >= 0
            else retention_ms + (group.changed_wall_ms if had_members else value.commit_wall_ms)
        )
    ]
