"""Topics as requests name them: legal names, lookups, and a topic's own settings.

Every error that a client meets when it asks for a partition is raised here, in the order in which
Kafka checks: is there such a partition, is a replica here, is the epoch right, does it lead.
Next: `api.produce` and `api.fetch`, which use it per partition.
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from quorate_broker.api.principal import Operation, ResourceType
from quorate_broker.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from quorate_broker import config
    from quorate_broker.api.context import Call, Context, PartitionView
    from quorate_broker.cluster.image import Image, Topic

MAX_NAME = 249
_LEGAL = re.compile(r"[a-zA-Z0-9._-]+", re.ASCII)

NO_ID = uuid.UUID(int=0)
"""Kafka's "no topic id"."""

INTERNAL_TOPICS = frozenset({"__consumer_offsets"})


def name_problem(name: str) -> str | None:
    """Kafka's sentence about a topic name that is not legal, None for a legal one."""
    if not name:
        return "Topic name is invalid: the empty string is not allowed"
    if name in (".", ".."):
        return f"Topic name is invalid: '{name}' is not allowed"
    if len(name) > MAX_NAME:
        return (
            f"Topic name is invalid: the length of '{name}' is longer than the max allowed "
            f"length {MAX_NAME}"
        )
    if _LEGAL.fullmatch(name) is None:
        return (
            f"Topic name is invalid: '{name}' contains one or more characters other than "
            "ASCII alphanumerics, '.', '_' and '-'"
        )
    return None


def collisions(image: Image, name: str) -> list[str]:
    """Other topics whose names differ from `name` by '.' against '_' only: metrics mix them up."""
    if "." not in name and "_" not in name:
        return []
    folded = name.replace(".", "_")
    return [other for other in image.topics if other != name and _folds(other, folded)]


def _folds(other: str, folded: str) -> bool:
    return len(other) == len(folded) and other.replace(".", "_") == folded


def leading(
    context: Context, topic: Topic | None, index: int, client_epoch: int = -1
) -> PartitionView:
    """The partition's replica here, which leads; raises KafkaError.

    `client_epoch` is the leader epoch that the client knows, -1 when it says none.
    """
    if topic is None or not 0 <= index < len(topic.partitions):
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    view = context.partition(topic.id, index)
    if view is None:
        raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    if client_epoch >= 0 and client_epoch != view.leader_epoch:
        older = client_epoch < view.leader_epoch
        raise KafkaError(ErrorCode.FENCED_LEADER_EPOCH if older else ErrorCode.UNKNOWN_LEADER_EPOCH)
    if not view.is_leader:
        raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    return view


def max_message_bytes(settings: config.Settings, topic: Topic) -> int:
    """The longest batch that may be produced to `topic`."""
    own = topic.config.get("max.message.bytes")
    return settings.message_max_bytes if own is None else int(own)


def _policies(settings: config.Settings, topic: Topic) -> list[str]:
    return topic.config.get("cleanup.policy", settings.log_cleanup_policy).split(",")


def may_delete(settings: config.Settings, topic: Topic) -> bool:
    """Whether old records of `topic` are deleted, and not only compacted."""
    return "delete" in _policies(settings, topic)


def is_compacted(settings: config.Settings, topic: Topic) -> bool:
    """Whether of each key only the latest record is kept for good."""
    return "compact" in _policies(settings, topic)


def allowed(context: Context, call: Call, operation: Operation, topic: str) -> bool:
    """Whether the caller may do that to the topic."""
    return context.authorizer.allows(call.principal, operation, ResourceType.TOPIC, topic)
