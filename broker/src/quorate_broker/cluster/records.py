"""What the metadata log holds.

One record is one tagged msgpack map: self-describing, so that a newer broker may add fields
(older ones skip them) and an unknown kind of record is met by name. `FEATURE_LEVEL` names the set
of kinds below; a cluster that was formed at one level never meets records of a higher one before
every broker knows them. Read next: `image`.
"""

from __future__ import annotations

import msgspec

from quorate_broker.wire import batch

FEATURE_LEVEL = 1


class Member(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A voter: a node id together with the incarnation of its disk."""

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


MetadataRecord = (
    ClusterFormed
    | BrokerRegistered
    | TopicCreated
    | PartitionsAdded
    | TopicDeleted
    | ProducerIdsAllocated
)

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
