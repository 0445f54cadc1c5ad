"""What stands in `__consumer_offsets`: Kafka's own keys and values, which Kafka's tools can read.

None as value forgets the key. We write what Kafka writes (offsets as version 3, or 1 with an own
time to live; groups as version 3) and read all versions that the schemas have. Keys of other kinds
(the newer group protocols) are left alone. The bytes are `wire.messages.group_records`; here they
become values that compare, hash and cannot be changed. Next: `coordinator.Coordinator.replay`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from quorate_broker.wire import batch, codec
from quorate_broker.wire.messages import group_records

MAX_STRING_BYTES = 0x7FFF
"""Longest string of these schemas, in UTF-8; longer ids are refused before they get here."""

_OFFSET_VERSION = 3
_OFFSET_VERSION_WITH_EXPIRY = 1
_GROUP_VERSION = 3


class RecordError(Exception):
    """Bytes that are no record of ours: the log is damaged, or newer than we are."""


class OffsetKey(NamedTuple):
    """One partition's offset in one group."""

    group_id: str
    topic: str
    partition: int


class GroupKey(NamedTuple):
    """One group's membership."""

    group_id: str


@dataclass(frozen=True, slots=True)
class OffsetValue:
    """A committed offset; times are milliseconds of the wall clock."""

    offset: int
    leader_epoch: int
    metadata: str
    commit_wall_ms: int
    expire_wall_ms: int = -1
    """Own time to live, -1: the broker's retention."""


@dataclass(frozen=True, slots=True)
class MemberValue:
    """A member of a generation that was agreed."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    subscription: bytes
    assignment: bytes


@dataclass(frozen=True, slots=True)
class GroupValue:
    """A generation that was agreed: Stable with members, Empty without."""

    protocol_type: str
    generation: int
    protocol: str | None
    leader: str | None
    changed_wall_ms: int
    members: tuple[MemberValue, ...]


Entry = tuple[OffsetKey, OffsetValue | None] | tuple[GroupKey, GroupValue | None]


def offset_record(key: OffsetKey, value: OffsetValue | None) -> batch.Record:
    """The record that commits an offset, or forgets it."""
    name = group_records.OffsetCommitKey(
        group=key.group_id, topic=key.topic, partition=key.partition
    )
    return batch.Record(
        key=group_records.encode_key(name),
        value=None if value is None else _offset_bytes(value),
    )


def group_record(group_id: str, value: GroupValue | None) -> batch.Record:
    """The record that says what a group agreed on, or that there is no such group."""
    return batch.Record(
        key=group_records.encode_key(group_records.GroupMetadataKey(group=group_id)),
        value=None if value is None else _group_bytes(value),
    )


def parse(record: batch.Record) -> Entry | None:
    """What a record says; None for a kind that is not ours. Raises RecordError."""
    if record.key is None:
        raise RecordError("a record without a key")
    try:
        key = group_records.decode_key(record.key)
        if isinstance(key, group_records.OffsetCommitKey):
            where = OffsetKey(key.group, key.topic, key.partition)
            return where, None if record.value is None else _offset(record.value)
        if isinstance(key, group_records.GroupMetadataKey):
            return GroupKey(key.group), None if record.value is None else _group(record.value)
    except codec.WireError as error:
        raise RecordError(str(error)) from error
    return None


def _offset_bytes(value: OffsetValue) -> bytes:
    message = group_records.OffsetCommitValue(
        offset=value.offset,
        leader_epoch=value.leader_epoch,
        metadata=value.metadata,
        commit_timestamp=value.commit_wall_ms,
        expire_timestamp=value.expire_wall_ms,
    )
    own = value.expire_wall_ms >= 0
    return codec.encode_versioned(message, _OFFSET_VERSION_WITH_EXPIRY if own else _OFFSET_VERSION)


def _offset(raw: bytes) -> OffsetValue:
    message, _ = codec.decode_versioned(group_records.OffsetCommitValue, raw)
    return OffsetValue(
        offset=message.offset,
        leader_epoch=message.leader_epoch,
        metadata=message.metadata,
        commit_wall_ms=message.commit_timestamp,
        expire_wall_ms=message.expire_timestamp,
    )


def _group_bytes(value: GroupValue) -> bytes:
    message = group_records.GroupMetadataValue(
        protocol_type=value.protocol_type,
        generation=value.generation,
        protocol=value.protocol,
        leader=value.leader,
        current_state_timestamp=value.changed_wall_ms,
        members=[
            group_records.MemberMetadata(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                rebalance_timeout=member.rebalance_timeout_ms,
                session_timeout=member.session_timeout_ms,
                subscription=member.subscription,
                assignment=member.assignment,
            )
            for member in value.members
        ],
    )
    return codec.encode_versioned(message, _GROUP_VERSION)


def _group(raw: bytes) -> GroupValue:
    message, version = codec.decode_versioned(group_records.GroupMetadataValue, raw)
    return GroupValue(
        protocol_type=message.protocol_type,
        generation=message.generation,
        protocol=message.protocol,
        leader=message.leader,
        changed_wall_ms=message.current_state_timestamp,
        members=tuple(
            MemberValue(
                member_id=member.member_id,
                instance_id=member.group_instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                # version 0 knew one time-out for both
                rebalance_timeout_ms=member.rebalance_timeout
                if version
                else member.session_timeout,
                session_timeout_ms=member.session_timeout,
                subscription=member.subscription,
                assignment=member.assignment,
            )
            for member in message.members
        ),
    )
