"""Metadata (key 3): brokers, topics, leaders.

`topics`: None asks for all, from v1; in v0 it is the empty list that asks for all. v4 may create
topics, v7 leader epochs, v10 topic ids, v12 topics by id with a name of None.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class MetadataRequestTopic:
    topic_id: uuid.UUID = field("uuid", "10+")
    name: str | None = field("string", nullable="10+")


@message(versions=(0, 12), flexible=9)
class MetadataRequest:
    topics: Sequence[MetadataRequestTopic] | None = array(
        MetadataRequestTopic, nullable="1+", default=None
    )
    allow_auto_topic_creation: bool = field("bool", "4+", default=True)
    include_cluster_authorized_operations: bool = field("bool", "8-10")
    include_topic_authorized_operations: bool = field("bool", "8+")


@struct
class MetadataResponseBroker:
    node_id: int = field("int32")
    host: str = field("string")
    port: int = field("int32")
    rack: str | None = field("string", "1+", nullable="1+", default=None)


@struct
class MetadataResponsePartition:
    error_code: int = field("int16")
    partition_index: int = field("int32")
    leader_id: int = field("int32")
    leader_epoch: int = field("int32", "7+", default=-1)
    replica_nodes: Sequence[int] = array("int32")
    isr_nodes: Sequence[int] = array("int32")
    offline_replicas: Sequence[int] = array("int32", "5+")


@struct
class MetadataResponseTopic:
    error_code: int = field("int16")
    name: str | None = field("string", nullable="12+")
    topic_id: uuid.UUID = field("uuid", "10+")
    is_internal: bool = field("bool", "1+")
    partitions: Sequence[MetadataResponsePartition] = array(MetadataResponsePartition)
    topic_authorized_operations: int = field("int32", "8+", default=-2147483648)


@message(versions=(0, 12), flexible=9)
class MetadataResponse:
    throttle_time_ms: int = field("int32", "3+")
    brokers: Sequence[MetadataResponseBroker] = array(MetadataResponseBroker)
    cluster_id: str | None = field("string", "2+", nullable="2+", default=None)
    controller_id: int = field("int32", "1+", default=-1)
    topics: Sequence[MetadataResponseTopic] = array(MetadataResponseTopic)
    cluster_authorized_operations: int = field("int32", "8-10", default=-2147483648)
