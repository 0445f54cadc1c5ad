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
    feature_level: int = 1
    raises: bool = True
    """The cluster may go on to a level that every broker knows by now."""


class AdmitBroker(msgspec.Struct, frozen=True, tag="admit-broker"):
    """A broker with an empty disk wants to be a member; answered with `Admitted`.

    `replace`: whoever asks has seen that no other disk of this id is connected.
    """

    node_id: int
    incarnation: str
    rpc_host: str
    rpc_port: int
    feature_level: int
    replace: bool = False


class DrainBroker(msgspec.Struct, frozen=True, tag="drain-broker"):
    """Decommission a broker, or take that back."""

    node_id: int
    draining: bool


class RemoveBroker(msgspec.Struct, frozen=True, tag="remove-broker"):
    """End the membership of a broker that is drained; nothing happens where it has ended."""

    node_id: int
    incarnation: str


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


class Reassignment(msgspec.Struct, frozen=True):
    """Node ids, the preferred leader first; None: back to where the partition lives."""

    topic: str
    index: int
    replicas: tuple[int, ...] | None
    keep_factor: bool = False
    """Refuse another number of replicas than there are."""


class ReassignPartitions(msgspec.Struct, frozen=True, tag="reassign-partitions"):
    """Answered with one `TopicResult` for each, in that order."""

    partitions: tuple[Reassignment, ...]


class Settled(msgspec.Struct, frozen=True):
    """A leader saw its group consist of `voters` while metadata stood at `moves`."""

    topic_id: str
    index: int
    moves: int
    voters: tuple[Member, ...]


class SettlePartitions(msgspec.Struct, frozen=True, tag="settle-partitions"):
    """Settles those of which that is still the last word."""

    partitions: tuple[Settled, ...]


class ConfigChange(msgspec.Struct, frozen=True):
    """What a topic shall set for itself, and what it shall leave to the default again."""

    name: str
    put: dict[str, str] = {}
    drop: tuple[str, ...] = ()
    replace: bool = False
    """Everything that is not in `put` goes back to its default."""


class ChangeTopicConfigs(msgspec.Struct, frozen=True, tag="change-topic-configs"):
    """Answered with one `TopicResult` for each, in that order."""

    changes: tuple[ConfigChange, ...]
    validate_only: bool = False


class ChangeSettings(msgspec.Struct, frozen=True, tag="change-settings"):
    """What the cluster (0), or one broker, shall set, and what it shall leave alone again.

    Answered with `SettingsResult`; one bad setting, and nothing is changed.
    """

    node_id: int = 0
    put: dict[str, str] = {}
    drop: tuple[str, ...] = ()
    replace: bool = False
    """Everything that is not in `put` is left alone again."""
    validate_only: bool = False
    seed: bool = False
    """The first settings, out of a file: nothing happens where there are some."""


class RaiseFeatureLevel(msgspec.Struct, frozen=True, tag="raise-feature-level"):
    """Go on to this level, if every member knows it. Nothing happens where it is reached."""

    level: int


class AllocateProducerIds(msgspec.Struct, frozen=True, tag="allocate-producer-ids"):
    """Hand out the next block of producer ids."""


Command = (
    FormCluster
    | RegisterBroker
    | CreateTopics
    | DeleteTopics
    | CreatePartitions
    | AllocateProducerIds
    | AdmitBroker
    | DrainBroker
    | RemoveBroker
    | ReassignPartitions
    | SettlePartitions
    | ChangeTopicConfigs
    | ChangeSettings
    | RaiseFeatureLevel
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


class SettingsResult(msgspec.Struct, frozen=True, tag="settings-result"):
    """The version of the settings now; and by name what is wrong with those that were asked for."""

    version: int
    problems: dict[str, str] = {}


class ProducerIds(msgspec.Struct, frozen=True, tag="producer-ids"):
    first: int
    count: int


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Nothing more to say."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The command as a whole failed, with a Kafka error code."""

    code: int
    message: str | None = None


class Admitted(msgspec.Struct, frozen=True, tag="admitted"):
    """Welcome to this cluster."""

    cluster_id: str


Reply = TopicResults | SettingsResult | ProducerIds | Admitted | Done | Refused
