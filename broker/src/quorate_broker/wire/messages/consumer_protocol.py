"""What consumers put into JoinGroup's and SyncGroup's opaque bytes, behind two bytes of version.

The broker only reads it where it shows people what a member subscribes to.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class TopicPartition:
    topic: str = field("string")
    partitions: Sequence[int] = array("int32")


@message(versions=(0, 3))
class ConsumerProtocolSubscription:
    topics: Sequence[str] = array("string")
    user_data: bytes | None = field("bytes", nullable="0+", default=None)
    owned_partitions: Sequence[TopicPartition] = array(TopicPartition, "1+")
    generation_id: int = field("int32", "2+", default=-1)
    rack_id: str | None = field("string", "3+", nullable="3+", default=None)


@message(versions=(0, 3))
class ConsumerProtocolAssignment:
    assigned_partitions: Sequence[TopicPartition] = array(TopicPartition)
    user_data: bytes | None = field("bytes", nullable="0+", default=None)
