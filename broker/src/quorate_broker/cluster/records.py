"""What the metadata log holds.

One record is one tagged msgpack map: self-describing, so that a newer broker may add fields
(older ones skip them) and an unknown kind of record is met by name. `FEATURE_LEVEL` names the set
of kinds below; a cluster that was formed at one level never meets records of a higher one before
every broker knows them: each says at registration what it knows, and when the last one does, the
leader writes `FeatureLevelRaised`, the first record of the new level; at once, or when it is asked
(`feature.level.raise`). A cluster is formed at `OLDEST`, since nobody has said anything by then.

    level 1   clusters, brokers, topics, producer ids
    level 2   brokers come, go and are replaced; partitions move; topics' configurations change
    level 3   the cluster's settings, and single brokers'

Read next: `image`.
"""

from __future__ import annotations

import msgspec

from quorate_broker.wire import batch

FEATURE_LEVEL = 3
OLDEST = 2
"""Brokers of this level may still take part in a cluster that has not gone on."""
MOVING = 2
"""The level from which on members and replicas may change."""
SETTINGS = 3
"""The level from which on the cluster's settings are in its metadata."""

FEATURES = {"membership_changes": MOVING, "cluster_settings": SETTINGS}
"""What the levels bring, by the names that the Admin API tells."""


def known(held_at: int) -> int:
    """What a broker knows that is to go no further than `held_at`; 0: no such limit."""
    return min(held_at or FEATURE_LEVEL, FEATURE_LEVEL)


class Member(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A member: a node id together with the incarnation of its disk."""

    node_id: int
    incarnation: str


class Endpoint(msgspec.Struct, frozen=True, array_like=True):
    """Where clients reach one listener of a broker."""

    name: str
    host: str
    port: int


class ClusterFormed(msgspec.Struct, frozen=True, tag="cluster-formed"):
    """The first record: the cluster's id and its first voters."""

    cluster_id: str
    voters: tuple[Member, ...]
    feature_level: int


class BrokerRegistered(msgspec.Struct, frozen=True, tag="broker-registered"):
    """A broker said who it is and where it listens; replaces what it said before."""

    node_id: int
    incarnation: str
    rpc_host: str
    rpc_port: int
    listeners: tuple[Endpoint, ...]
    rack: str | None
    version: str
    feature_level: int = 1
    """The highest that this broker understands."""


class TopicCreated(msgspec.Struct, frozen=True, tag="topic-created"):
    """A topic with all its partitions; the first replica of each is the preferred leader."""

    topic_id: str
    name: str
    partitions: tuple[tuple[Member, ...], ...]
    config: dict[str, str]
    internal: bool
    request: str = ""


class PartitionsAdded(msgspec.Struct, frozen=True, tag="partitions-added"):
    """More partitions behind those that the topic has."""

    topic_id: str
    partitions: tuple[tuple[Member, ...], ...]
    request: str = ""


class TopicDeleted(msgspec.Struct, frozen=True, tag="topic-deleted"):
    """The topic is gone; its id is never used again."""

    topic_id: str


class ProducerIdsAllocated(msgspec.Struct, frozen=True, tag="producer-ids-allocated"):
    """Every producer id below `next_id` has been handed out."""

    next_id: int


class FeatureLevelRaised(msgspec.Struct, frozen=True, tag="feature-level-raised"):
    """Every member understands this level: records of it may follow."""

    feature_level: int


class BrokerAdmitted(msgspec.Struct, frozen=True, tag="broker-admitted"):
    """A broker of a new id is a member from now on."""

    node_id: int
    incarnation: str
    rpc_host: str
    rpc_port: int


class BrokerReplaced(msgspec.Struct, frozen=True, tag="broker-replaced"):
    """A member lost its disk: incarnation `old` is void for ever, and `new` takes its places."""

    node_id: int
    old: str
    new: str
    rpc_host: str
    rpc_port: int


class BrokerRemoved(msgspec.Struct, frozen=True, tag="broker-removed"):
    """A drained broker is a member no longer; its incarnation is void for ever."""

    node_id: int
    incarnation: str


class BrokerDraining(msgspec.Struct, frozen=True, tag="broker-draining"):
    """Replicas are to leave this broker (decommission), or may come again (recommission)."""

    node_id: int
    draining: bool


class Move(msgspec.Struct, frozen=True, array_like=True):
    """A partition's replicas shall be `target`, the preferred leader first."""

    index: int
    target: tuple[Member, ...]


class PartitionsReassigned(msgspec.Struct, frozen=True, tag="partitions-reassigned"):
    """Where partitions of one topic are to live; replaces what was wanted before."""

    topic_id: str
    moves: tuple[Move, ...]


class PartitionSettled(msgspec.Struct, frozen=True, tag="partition-settled"):
    """The group of this partition consists of `voters` now, and of nobody else."""

    topic_id: str
    index: int
    voters: tuple[Member, ...]


class TopicConfigChanged(msgspec.Struct, frozen=True, tag="topic-config-changed"):
    """All that the topic sets for itself from now on."""

    topic_id: str
    config: dict[str, str]


class SettingsChanged(msgspec.Struct, frozen=True, tag="settings-changed"):
    """All that the cluster (0), or one broker, sets from now on, by Kafka's names, as texts.

    The first one is what the files said; it replaces them.
    """

    node_id: int
    settings: dict[str, str]


MetadataRecord = (
    ClusterFormed
    | BrokerRegistered
    | TopicCreated
    | PartitionsAdded
    | TopicDeleted
    | ProducerIdsAllocated
    | FeatureLevelRaised
    | BrokerAdmitted
    | BrokerReplaced
    | BrokerRemoved
    | BrokerDraining
    | PartitionsReassigned
    | PartitionSettled
    | TopicConfigChanged
    | SettingsChanged
)

TopicRecord = (
    TopicCreated
    | TopicDeleted
    | PartitionsAdded
    | PartitionsReassigned
    | PartitionSettled
    | TopicConfigChanged
)
MemberRecord = BrokerRegistered | BrokerAdmitted | BrokerReplaced | BrokerRemoved | BrokerDraining

_decoder = msgspec.msgpack.Decoder(MetadataRecord)
_encoder = msgspec.msgpack.Encoder()


def to_batch_record(record: MetadataRecord) -> batch.Record:
    """Wrap for the log."""
    return batch.Record(key=None, value=_encoder.encode(record))


def from_batch_record(record: batch.Record) -> MetadataRecord:
    """Read back. Raises msgspec.ValidationError on a kind that this broker does not know."""
    assert record.value is not None
    decoded: MetadataRecord = _decoder.decode(record.value)
    return decoded
