"""What stands in `__consumer_offsets`: Kafka's own keys and values, which Kafka's tools can read.

A key is a 16-bit kind with that kind's fields, a value a 16-bit version with that version's; None
as value forgets the key. We write what Kafka writes (offsets as version 3, or 1 with an own time to
live; groups as version 3) and read all that Kafka ever wrote up to that. Keys of other kinds (the
newer group protocols) are left alone. Source: `OffsetCommitKey`, `OffsetCommitValue`,
`GroupMetadataKey` and `GroupMetadataValue` among Kafka's message definitions.
Next: `coordinator.Coordinator.replay`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from quorate_broker.wire import batch

MAX_STRING_BYTES = 0x7FFF
"""Longest string of these schemas, in UTF-8; `api` refuses longer ids before they get here."""

_OFFSET_KINDS = (0, 1)
_OFFSET_KIND = 1
_GROUP_KIND = 2


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
    out = _Writer()
    out.pack(">h", _OFFSET_KIND)
    out.string(key.group_id)
    out.string(key.topic)
    out.pack(">i", key.partition)
    return batch.Record(key=out.taken(), value=None if value is None else _offset_value(value))


def group_record(group_id: str, value: GroupValue | None) -> batch.Record:
    """The record that says what a group agreed on, or that there is no such group."""
    out = _Writer()
    out.pack(">h", _GROUP_KIND)
    out.string(group_id)
    return batch.Record(key=out.taken(), value=None if value is None else _group_value(value))


def parse(record: batch.Record) -> Entry | None:
    """What a record says; None for a kind that is not ours. Raises RecordError."""
    if record.key is None:
        raise RecordError("a record without a key")
    key = _Reader(record.key)
    kind = key.i16()
    value = None if record.value is None else _Reader(record.value)
    if kind in _OFFSET_KINDS:
        where = OffsetKey(key.string(), key.string(), key.i32())
        return where, None if value is None else _parse_offset(value)
    if kind == _GROUP_KIND:
        return GroupKey(key.string()), None if value is None else _parse_group(value)
    return None


def _offset_value(value: OffsetValue) -> bytes:
    own_retention = value.expire_wall_ms >= 0
    out = _Writer()
    out.pack(">hq", 1 if own_retention else 3, value.offset)
    if not own_retention:
        out.pack(">i", value.leader_epoch)
    out.string(value.metadata)
    out.pack(">q", value.commit_wall_ms)
    if own_retention:
        out.pack(">q", value.expire_wall_ms)
    return out.taken()


def _parse_offset(value: _Reader) -> OffsetValue:
    version = value.i16()
    if not 0 <= version <= 3:
        raise RecordError(f"offset of version {version}")
    offset = value.i64()
    leader_epoch = value.i32() if version >= 3 else -1
    metadata = value.string()
    commit_wall_ms = value.i64()
    expire_wall_ms = value.i64() if version == 1 else -1
    return OffsetValue(offset, leader_epoch, metadata, commit_wall_ms, expire_wall_ms)


def _group_value(value: GroupValue) -> bytes:
    out = _Writer()
    out.pack(">h", 3)
    out.string(value.protocol_type)
    out.pack(">i", value.generation)
    out.nullable_string(value.protocol)
    out.nullable_string(value.leader)
    out.pack(">qi", value.changed_wall_ms, len(value.members))
    for member in value.members:
        out.string(member.member_id)
        out.nullable_string(member.instance_id)
        out.string(member.client_id)
        out.string(member.client_host)
        out.pack(">ii", member.rebalance_timeout_ms, member.session_timeout_ms)
        out.blob(member.subscription)
        out.blob(member.assignment)
    return out.taken()


def _parse_group(value: _Reader) -> GroupValue:
    version = value.i16()
    if not 0 <= version <= 3:
        raise RecordError(f"group of version {version}")
    return GroupValue(
        protocol_type=value.string(),
        generation=value.i32(),
        protocol=value.nullable_string(),
        leader=value.nullable_string(),
        changed_wall_ms=value.i64() if version >= 2 else -1,
        members=tuple(_parse_member(value, version) for _ in range(value.count())),
    )


def _parse_member(value: _Reader, version: int) -> MemberValue:
    member_id = value.string()
    instance_id = value.nullable_string() if version >= 3 else None
    client_id = value.string()
    client_host = value.string()
    rebalance_timeout_ms = value.i32() if version >= 1 else -1
    session_timeout_ms = value.i32()
    return MemberValue(
        member_id=member_id,
        instance_id=instance_id,
        client_id=client_id,
        client_host=client_host,
        # version 0 knew one time-out for both
        rebalance_timeout_ms=rebalance_timeout_ms if version >= 1 else session_timeout_ms,
        session_timeout_ms=session_timeout_ms,
        subscription=value.blob(),
        assignment=value.blob(),
    )


class _Writer:
    """Kafka's primitives before the compact ones; lengths are ours, so a bad one is our bug."""

    def __init__(self) -> None:
        self._out = bytearray()

    def pack(self, form: str, *values: int) -> None:
        self._out += struct.pack(form, *values)

    def string(self, text: str) -> None:
        raw = text.encode()
        assert len(raw) <= MAX_STRING_BYTES, "strings are checked before they become records"
        self.pack(">h", len(raw))
        self._out += raw

    def nullable_string(self, text: str | None) -> None:
        if text is None:
            self.pack(">h", -1)
        else:
            self.string(text)

    def blob(self, raw: bytes) -> None:
        self.pack(">i", len(raw))
        self._out += raw

    def taken(self) -> bytes:
        return bytes(self._out)


class _Reader:
    """The same primitives, from bytes that may be anything."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def i16(self) -> int:
        return self._integer(2)

    def i32(self) -> int:
        return self._integer(4)

    def i64(self) -> int:
        return self._integer(8)

    def count(self) -> int:
        count = self.i32()
        if not 0 <= count <= len(self._raw) - self._at:
            raise RecordError(f"{count} elements in {len(self._raw) - self._at} bytes")
        return count

    def string(self) -> str:
        return self._text(self.i16())

    def nullable_string(self) -> str | None:
        size = self.i16()
        return None if size == -1 else self._text(size)

    def blob(self) -> bytes:
        return self._take(self.i32())

    def _integer(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big", signed=True)

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode()
        except UnicodeDecodeError as error:
            raise RecordError("text that is not UTF-8") from error

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if size < 0 or end > len(self._raw):
            raise RecordError(f"{size} bytes wanted where {len(self._raw) - self._at} are left")
        taken = self._raw[self._at : end]
        self._at = end
        return taken
