"""The metadata that the records add up to.

Every broker holds one image of the committed log, and answers clients from it; the metadata
leader holds a second one inside its `machine`, which runs ahead by what is not committed yet.
`replay` is the only way to change an image. Read next: `machine`.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from quorate_broker.cluster import records
from quorate_broker.cluster.records import Endpoint, Member
from quorate_broker.wire import batch


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """Where one partition lives. The first replica is the preferred leader."""

    index: int
    voters: tuple[Member, ...]

    @property
    def replicas(self) -> tuple[int, ...]:
        """Node ids, preferred leader first."""
        return tuple(voter.node_id for voter in self.voters)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as clients see it."""

    name: str
    id: uuid.UUID
    partitions: tuple[PartitionInfo, ...]
    config: Mapping[str, str]
    internal: bool
    request: str = ""
    """Which made it, or raised its partitions last."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A registered broker node."""

    node_id: int
    incarnation: str
    rpc_host: str
    rpc_port: int
    listeners: tuple[Endpoint, ...]
    rack: str | None
    version: str

    def endpoint(self, listener: str) -> Endpoint | None:
        """Where this broker serves the listener of that name."""
        return next((e for e in self.listeners if e.name == listener), None)


class Image:
    """Topics, brokers, voters and counters. `version` moves with every record."""

    __slots__ = (
        "brokers",
        "cluster_id",
        "feature_level",
        "next_producer_id",
        "topics",
        "topics_by_id",
        "version",
        "voters",
    )

    def __init__(self) -> None:
        self.cluster_id = ""
        self.feature_level = 0
        self.voters: tuple[Member, ...] = ()
        self.brokers: dict[int, Broker] = {}
        self.topics: dict[str, Topic] = {}
        self.topics_by_id: dict[uuid.UUID, Topic] = {}
        self.next_producer_id = 0
        self.version = 0

    def replay(self, record: batch.Record, offset: int) -> None:
        """Apply one record of the metadata log."""
        self.apply(records.from_batch_record(record))

    def apply(self, record: records.MetadataRecord) -> None:
        """Apply one decoded record."""
        self.version += 1
        match record:
            case records.ClusterFormed():
                self.cluster_id = record.cluster_id
                self.voters = record.voters
                self.feature_level = record.feature_level
            case records.BrokerRegistered():
                self.brokers[record.node_id] = _broker(record)
            case records.TopicCreated():
                self._put(_topic(record))
            case records.PartitionsAdded():
                self._put(_grown(self.topics_by_id[uuid.UUID(record.topic_id)], record))
            case records.TopicDeleted():
                topic = self.topics_by_id.pop(uuid.UUID(record.topic_id))
                del self.topics[topic.name]
            case records.ProducerIdsAllocated():
                self.next_producer_id = record.next_id

    def _put(self, topic: Topic) -> None:
        self.topics[topic.name] = topic
        self.topics_by_id[topic.id] = topic


def _broker(record: records.BrokerRegistered) -> Broker:
    return Broker(
        record.node_id,
        record.incarnation,
        record.rpc_host,
        record.rpc_port,
        record.listeners,
        record.rack,
        record.version,
    )


def _topic(record: records.TopicCreated) -> Topic:
    partitions = tuple(PartitionInfo(i, voters) for i, voters in enumerate(record.partitions))
    topic_id = uuid.UUID(record.topic_id)
    return Topic(record.name, topic_id, partitions, record.config, record.internal, record.request)


def _grown(topic: Topic, record: records.PartitionsAdded) -> Topic:
    first = len(topic.partitions)
    added = tuple(PartitionInfo(first + i, voters) for i, voters in enumerate(record.partitions))
    partitions = topic.partitions + added
    return dataclasses.replace(topic, partitions=partitions, request=record.request)
