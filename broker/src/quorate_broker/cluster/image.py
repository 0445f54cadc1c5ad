"""The metadata that the records add up to.

Every broker holds one image of the committed log, and answers clients from it; the metadata
leader holds a second one inside its `machine`, which runs ahead by what is not committed yet.
`replay` is the only way to change an image, besides `restore` from a snapshot of another one.
Where partitions live and move is in `places`; read next: that, then `machine`.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from quorate_broker.cluster import places, records, snapshot
from quorate_broker.cluster.places import PartitionInfo as PartitionInfo
from quorate_broker.cluster.records import Endpoint, Member
from quorate_broker.wire import batch

MAX_METADATA_VOTERS = 9


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
    feature_level: int = 1

    def endpoint(self, listener: str) -> Endpoint | None:
        """Where this broker serves the listener of that name."""
        return next((e for e in self.listeners if e.name == listener), None)


class Image:
    """Topics, brokers, members and counters. `version` moves with every record."""

    __slots__ = (
        "addresses",
        "brokers",
        "cluster_id",
        "departed",
        "draining",
        "feature_level",
        "knows",
        "members",
        "next_producer_id",
        "retired",
        "settings",
        "settings_version",
        "topics",
        "topics_by_id",
        "version",
    )

    def __init__(self, knows: int = records.FEATURE_LEVEL) -> None:
        self.knows = knows
        """The highest feature level of which this broker understands the records."""
        self.cluster_id = ""
        self.feature_level = 0
        self.members: tuple[Member, ...] = ()
        """Everyone who was admitted, in order of id, registered or not."""
        self.retired: dict[str, int] = {}
        """Incarnations that are void for ever, with the node id they had."""
        self.draining: frozenset[int] = frozenset()
        self.departed: frozenset[int] = frozenset()
        """Node ids of decommissioned brokers: nobody joins under them until they are taken back."""
        self.addresses: dict[int, tuple[str, int]] = {}
        """Of traffic between brokers, as far as they are known."""
        self.brokers: dict[int, Broker] = {}
        self.topics: dict[str, Topic] = {}
        self.topics_by_id: dict[uuid.UUID, Topic] = {}
        self.next_producer_id = 0
        self.settings: dict[int, Mapping[str, str]] = {}
        """Of the whole cluster (0) and of single brokers, by Kafka's names."""
        self.settings_version = 0
        """Moves with `settings`; 0: the cluster has none yet, and each file counts."""
        self.version = 0

    @property
    def is_beyond(self) -> bool:
        """The cluster went on without this broker: nothing is applied any more."""
        return self.feature_level > self.knows

    @property
    def partition_count(self) -> int:
        """Of all topics."""
        return sum(len(topic.partitions) for topic in self.topics.values())

    @property
    def metadata_voters(self) -> tuple[Member, ...]:
        """Who votes in the metadata group; every other member follows it as a learner."""
        return self.members[:MAX_METADATA_VOTERS]

    def member(self, node_id: int) -> Member | None:
        """The present incarnation of a node id."""
        return next((one for one in self.members if one.node_id == node_id), None)

    def replay(self, record: batch.Record, offset: int) -> None:
        """Apply one record of the metadata log; one that may be of an unknown kind is not read."""
        if not self.is_beyond:
            self.apply(records.from_batch_record(record))

    def apply(self, record: records.MetadataRecord) -> None:
        """Apply one decoded record."""
        self.version += 1
        match record:
            case records.ClusterFormed():
                self.cluster_id = record.cluster_id
                self.members = tuple(sorted(record.voters))
                self.feature_level = record.feature_level
            case records.FeatureLevelRaised():
                self.feature_level = record.feature_level
            case records.ProducerIdsAllocated():
                self.next_producer_id = record.next_id
            case records.SettingsChanged():
                self._set(record.node_id, record.settings)
            case (
                records.TopicCreated()
                | records.TopicDeleted()
                | records.PartitionsAdded()
                | records.PartitionsReassigned()
                | records.PartitionSettled()
                | records.TopicConfigChanged()
            ):
                self._apply_to_topic(record)
            case _:
                self._apply_to_member(record)

    def _set(self, node_id: int, settings: Mapping[str, str]) -> None:
        self.settings_version += 1
        self.settings.pop(node_id, None)
        if settings:
            self.settings[node_id] = settings

    def _apply_to_topic(self, record: records.TopicRecord) -> None:
        if isinstance(record, records.TopicCreated):
            self._put(_topic(record))
            return
        topic = self.topics_by_id[uuid.UUID(record.topic_id)]
        match record:
            case records.TopicDeleted():
                del self.topics[topic.name], self.topics_by_id[topic.id]
            case records.PartitionsAdded():
                added = places.new(record.partitions, len(topic.partitions))
                grown = topic.partitions + added
                self._put(dataclasses.replace(topic, partitions=grown, request=record.request))
            case records.PartitionsReassigned():
                self._place(topic, {m.index: places.Moved(m.target) for m in record.moves})
            case records.PartitionSettled():
                self._place(topic, {record.index: places.Settled(record.voters)})
            case records.TopicConfigChanged():
                self._put(dataclasses.replace(topic, config=record.config))

    def _apply_to_member(self, record: records.MemberRecord) -> None:
        node_id = record.node_id
        match record:
            case records.BrokerRegistered():
                self.brokers[node_id] = broker_of(record)
                self.addresses[node_id] = (record.rpc_host, record.rpc_port)
            case records.BrokerAdmitted():
                self._admit(Member(node_id, record.incarnation))
                self.addresses[node_id] = (record.rpc_host, record.rpc_port)
            case records.BrokerReplaced():
                self._retire(Member(node_id, record.old))
                self._admit(Member(node_id, record.new))
                self.addresses[node_id] = (record.rpc_host, record.rpc_port)
                self._replace(Member(node_id, record.old), Member(node_id, record.new))
            case records.BrokerRemoved():
                self._retire(Member(node_id, record.incarnation))
                self.settings.pop(node_id, None)
                self.draining -= {node_id}
                self.departed |= {node_id}
                self.addresses.pop(node_id, None)
            case records.BrokerDraining(draining=True):
                self.draining |= {node_id}
            case records.BrokerDraining():
                self.draining -= {node_id}
                self.departed -= {node_id}

    def _admit(self, member: Member) -> None:
        self.members = tuple(sorted((*self.members, member)))
        self.departed -= {member.node_id}

    def _retire(self, member: Member) -> None:
        self.members = tuple(one for one in self.members if one != member)
        self.retired[member.incarnation] = member.node_id
        self.brokers.pop(member.node_id, None)

    def _replace(self, old: Member, new: Member) -> None:
        for topic in tuple(self.topics.values()):
            changes = {
                one.index: places.Moved(target)
                for one in topic.partitions
                if (target := one.replaced(old, new)) is not None
            }
            if changes:
                self._place(topic, changes)

    def _place(self, topic: Topic, changes: Mapping[int, places.Change]) -> None:
        partitions = list(topic.partitions)
        for index, change in changes.items():
            partitions[index] = partitions[index].changed(change)
        self._put(dataclasses.replace(topic, partitions=tuple(partitions)))

    def _put(self, topic: Topic) -> None:
        self.topics[topic.name] = topic
        self.topics_by_id[topic.id] = topic

    # -- snapshots

    def encode(self) -> bytes:
        """Everything, for `restore`; the same image gives the same bytes."""
        return snapshot.encode(
            snapshot.State(
                cluster_id=self.cluster_id,
                feature_level=self.feature_level,
                members=self.members,
                retired=dict(sorted(self.retired.items())),
                draining=tuple(sorted(self.draining)),
                departed=tuple(sorted(self.departed)),
                addresses=dict(sorted(self.addresses.items())),
                brokers=tuple(_registered(self.brokers[i]) for i in sorted(self.brokers)),
                topics=tuple(_stored(self.topics[name]) for name in sorted(self.topics)),
                next_producer_id=self.next_producer_id,
                version=self.version,
                settings={i: dict(sorted(self.settings[i].items())) for i in sorted(self.settings)},
                settings_version=self.settings_version,
            )
        )

    @staticmethod
    def decode(content: bytes) -> Image:
        """A new image; raises ValueError on what `encode` did not write."""
        image = Image()
        image.restore(content)
        return image

    def restore(self, content: bytes) -> None:
        """Become the image that was encoded; ValueError leaves this one as it is."""
        state = snapshot.decode(content)
        topics = [_loaded(stored) for stored in state.topics]
        self.cluster_id = state.cluster_id
        self.feature_level = state.feature_level
        self.members = state.members
        self.retired = dict(state.retired)
        self.draining = frozenset(state.draining)
        self.departed = frozenset(state.departed)
        self.addresses = dict(state.addresses)
        self.brokers = {one.node_id: broker_of(one) for one in state.brokers}
        self.topics = {topic.name: topic for topic in topics}
        self.topics_by_id = {topic.id: topic for topic in topics}
        self.next_producer_id = state.next_producer_id
        self.settings = dict(state.settings)
        self.settings_version = state.settings_version
        self.version = state.version


def broker_of(record: records.BrokerRegistered) -> Broker:
    """What an image keeps of a registration."""
    return Broker(
        record.node_id,
        record.incarnation,
        record.rpc_host,
        record.rpc_port,
        record.listeners,
        record.rack,
        record.version,
        record.feature_level,
    )


def _registered(broker: Broker) -> records.BrokerRegistered:
    return records.BrokerRegistered(
        broker.node_id,
        broker.incarnation,
        broker.rpc_host,
        broker.rpc_port,
        broker.listeners,
        broker.rack,
        broker.version,
        broker.feature_level,
    )


def _topic(record: records.TopicCreated) -> Topic:
    partitions = places.new(record.partitions, 0)
    topic_id = uuid.UUID(record.topic_id)
    return Topic(record.name, topic_id, partitions, record.config, record.internal, record.request)


def _stored(topic: Topic) -> snapshot.StoredTopic:
    return snapshot.StoredTopic(
        topic.name,
        str(topic.id),
        tuple(
            snapshot.StoredPartition(one.voters, one.target, one.former, one.moves)
            for one in topic.partitions
        ),
        dict(topic.config),
        topic.internal,
        topic.request,
    )


def _loaded(stored: snapshot.StoredTopic) -> Topic:
    partitions = tuple(
        PartitionInfo(index, one.voters, one.target, one.moves, one.former)
        for index, one in enumerate(stored.partitions)
    )
    return Topic(
        stored.name,
        uuid.UUID(stored.topic_id),
        partitions,
        stored.config,
        stored.internal,
        stored.request,
    )
