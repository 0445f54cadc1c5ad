"""CreateTopics (key 19). From v4 -1 asks for the default number of partitions or replicas, v5 tells
the configuration, v7 the topic id.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from quorate_broker.wire.schema import array, field, message, struct


@struct
class CreatableReplicaAssignment:
    partition_index: int = field("int32")
    broker_ids: Sequence[int] = array("int32")


@struct
class CreatableTopicConfig:
    name: str = field("string")
    value: str | None = field("string", nullable="0+", default=None)


@struct
class CreatableTopic:
    name: str = field("string")
    num_partitions: int = field("int32")
    replication_factor: int = field("int16")
    assignments: Sequence[CreatableReplicaAssignment] = array(CreatableReplicaAssignment)
    configs: Sequence[CreatableTopicConfig] = array(CreatableTopicConfig)


@message(versions=(2, 7), flexible=5)
class CreateTopicsRequest:
    topics: Sequence[CreatableTopic] = array(CreatableTopic)
    timeout_ms: int = field("int32", default=60000)
    validate_only: bool = field("bool", "1+")


@struct
class CreatableTopicConfigs:
    name: str = field("string", "5+")
    value: str | None = field("string", "5+", nullable="5+", default=None)
    read_only: bool = field("bool", "5+")
    config_source: int = field("int8", "5+", default=-1)
    is_sensitive: bool = field("bool", "5+")


@struct
class CreatableTopicResult:
    name: str = field("string")
    topic_id: uuid.UUID = field("uuid", "7+")
    error_code: int = field("int16")
    error_message: str | None = field("string", "1+", nullable="0+", default=None)
    topic_config_error_code: int = field("int16", "5+", tag=0)
    num_partitions: int = field("int32", "5+", default=-1)
    replication_factor: int = field("int16", "5+", default=-1)
    configs: Sequence[CreatableTopicConfigs] | None = array(
        CreatableTopicConfigs, "5+", nullable="5+"
    )


@message(versions=(2, 7), flexible=5)
class CreateTopicsResponse:
    throttle_time_ms: int = field("int32", "2+")
    topics: Sequence[CreatableTopicResult] = array(CreatableTopicResult)
