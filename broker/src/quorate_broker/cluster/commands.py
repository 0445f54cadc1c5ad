"""What may be asked of the metadata leader, and what it answers.

Commands travel between brokers (any broker takes an admin request, the leader decides), so they
are tagged msgpack structs like the records. A leader may be lost between writing and answering; the
broker that asked then asks the next one the same. By its `request` (any unique text) a command is
known again, so that what it did itself is not held against it. Read next: `machine`.
"""

from __future__ import annotations

import msgspec

from quorate_broker.cluster.records import Endpoint, Member


class FormCluster(msgspec.Struct, frozen=True, tag="form-cluster"):
    """Write the genesis as the first record; nothing happens where there is one."""

    cluster_id: str
    voters: tuple[Member, ...]


class RegisterBroker(msgspec.Struct, frozen=True, tag="register-broker"):
    """A broker says who it is. Repeating it writes nothing."""

    node_id: int
    incarnation: str
    rpc_host: str
    rpc_port: int
    listeners: tuple[Endpoint, ...]
    rack: str | None
    version: str


class NewTopic(msgspec.Struct, frozen=True):
    """`partitions` and `replication_factor` may be -1: the cluster's default.

    `assignments` (partition -> node ids) overrides both; then they must be -1.
    """

    name: str
    partitions: int = -1
    replication_factor: int = -1
    assignments: dict[int, tuple[int, ...]] | None = None
    config: dict[str, str] = {}
    internal: bool = False


class CreateTopics(msgspec.Struct, frozen=True, tag="create-topics"):
    topics: tuple[NewTopic, ...]
    validate_only: bool = False
    request: str = ""


class DeleteTopics(msgspec.Struct, frozen=True, tag="delete-topics"):
    """By name, and by id (UUID texts). The answers come in that order."""

    names: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()


class MorePartitions(msgspec.Struct, frozen=True):
    """Raise a topic to `count` partitions in all; `assignments`: one entry per added one."""

    name: str
    count: int
    assignments: tuple[tuple[int, ...], ...] | None = None


class CreatePartitions(msgspec.Struct, frozen=True, tag="create-partitions"):
    topics: tuple[MorePartitions, ...]
    validate_only: bool = False
    request: str = ""


class AllocateProducerIds(msgspec.Struct, frozen=True, tag="allocate-producer-ids"):
    """Hand out the next block of producer ids."""


Command = (
    FormCluster
    | RegisterBroker
    | CreateTopics
    | DeleteTopics
    | CreatePartitions
    | AllocateProducerIds
)


class TopicResult(msgspec.Struct, frozen=True):
    """The fate of one topic; `code` is a Kafka error code, 0 = done."""

    name: str | None
    code: int = 0
    message: str | None = None
    topic_id: str | None = None
    partitions: int = -1
    replication_factor: int = -1


class TopicResults(msgspec.Struct, frozen=True, tag="topic-results"):
    """One result per topic of the command, in its order."""

    results: tuple[TopicResult, ...]


class ProducerIds(msgspec.Struct, frozen=True, tag="producer-ids"):
    first: int
    count: int


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Nothing more to say."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The command as a whole failed, with a Kafka error code."""

    code: int
    message: str | None = None


Reply = TopicResults | ProducerIds | Done | Refused
