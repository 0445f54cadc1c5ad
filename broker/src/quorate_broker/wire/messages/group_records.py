"""The records of `__consumer_offsets`, byte for byte Kafka's own.

A key opens with two bytes that say what it is (0 and 1 an offset, 2 a group), a value with two
bytes of its version. Kafka itself writes offset values as v3 and group values as v3.
"""

from __future__ import annotations

import struct as struct_format
import uuid
from collections.abc import Sequence

from quorate_broker.wire import codec
from quorate_broker.wire.schema import Buffer, array, field, message, struct


@message(versions=(0, 0))
class OffsetCommitKey:
    group: str = field("string")
    topic: str = field("string")
    partition: int = field("int32")


@message(versions=(0, 4), flexible=4)
class OffsetCommitValue:
    offset: int = field("int64")
    leader_epoch: int = field("int32", "3+", default=-1)
    metadata: str = field("string")
    commit_timestamp: int = field("int64")
    expire_timestamp: int = field("int64", "1", default=-1)
    topic_id: uuid.UUID = field("uuid", "4+", tag=0)


@message(versions=(0, 0))
class GroupMetadataKey:
    group: str = field("string")


@struct
class MemberMetadata:
    member_id: str = field("string")
    group_instance_id: str | None = field("string", "3+", nullable="3+", default=None)
    client_id: str = field("string")
    client_host: str = field("string")
    rebalance_timeout: int = field("int32", "1+", default=-1)
    session_timeout: int = field("int32")
    subscription: bytes = field("bytes")
    assignment: bytes = field("bytes")


@message(versions=(0, 4), flexible=4)
class GroupMetadataValue:
    protocol_type: str = field("string")
    generation: int = field("int32")
    protocol: str | None = field("string", nullable="0+", default=None)
    leader: str | None = field("string", nullable="0+", default=None)
    current_state_timestamp: int = field("int64", "2+", default=-1)
    members: Sequence[MemberMetadata] = array(MemberMetadata)


_KIND = struct_format.Struct(">h")
_OFFSET, _GROUP = 1, 2

Key = OffsetCommitKey | GroupMetadataKey


def encode_key(key: Key) -> bytes:
    """The key of a record."""
    kind = _OFFSET if isinstance(key, OffsetCommitKey) else _GROUP
    return _KIND.pack(kind) + b"".join(codec.encode(key, 0))


def decode_key(data: Buffer) -> Key | None:
    """What a record is about; None for kinds of the newer group protocols. Raises WireError."""
    view = memoryview(data)
    if len(view) < _KIND.size:
        raise codec.WireError("a key without a kind")
    kind: int = _KIND.unpack_from(view)[0]
    if kind in (0, _OFFSET):
        return codec.decode(OffsetCommitKey, 0, view, _KIND.size)[0]
    if kind == _GROUP:
        return codec.decode(GroupMetadataKey, 0, view, _KIND.size)[0]
    return None
