"""The metadata machine: commands in, records and replies out.

It runs on the metadata leader only, on an image that includes what is appended but not committed,
so that the next command decides on current state; replies wait for the commit
(`partition.hosted`). A command that names several topics answers each on its own, as Kafka does:
one bad name fails nothing else.

    command -> handle -> Outcome(records, reply) -> append -> replay(records) ... commit -> reply

Read next: `placement` for where replicas go, `image` for what a record does.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from quorate_broker.cluster import commands, placement, records
from quorate_broker.cluster.commands import NewTopic, TopicResult
from quorate_broker.cluster.image import Image, Topic
from quorate_broker.cluster.records import Member
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire import batch
from quorate_broker.wire.outcome import Outcome

PRODUCER_ID_BLOCK = 1000
MAX_PARTITIONS_PER_COMMAND = 10_000


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a topic gets when its creator does not say. -1: as many replicas as the seeds allow."""

    partitions: int
    replication_factor: int


class ClusterMachine:
    """Implements `wire.outcome.Machine`. `new_topic_id` is the only randomness."""

    def __init__(self, defaults: Defaults, new_topic_id: Callable[[], uuid.UUID]) -> None:
        self.image = Image()
        self._defaults = defaults
        self._new_topic_id = new_topic_id

    def replay(self, record: batch.Record, offset: int) -> None:
        self.image.replay(record, offset)

    def loaded(self, now_ms: int) -> Outcome:
        return Outcome()

    def expire(self, now_ms: int) -> Outcome:
        return Outcome()

    def handle(self, ticket: int, command: object, now_ms: int) -> Outcome:
        match command:
            case commands.FormCluster():
                written, reply = self._form(command)
            case commands.RegisterBroker():
                written, reply = self._register(command)
            case commands.CreateTopics():
                written, reply = self._create(command)
            case commands.DeleteTopics():
                written, reply = self._delete(command)
            case commands.CreatePartitions():
                written, reply = self._grow(command)
            case commands.AllocateProducerIds():
                written, reply = self._allocate()
            case _:
                raise AssertionError(f"not a metadata command: {command!r}")
        return Outcome(
            records=tuple(records.to_batch_record(record) for record in written),
            replies=((ticket, reply),),
        )

    # Each of these returns the records to write and the reply.

    def _form(self, command: commands.FormCluster) -> _Decision:
        if self.image.cluster_id:
            return [], commands.Done()
        formed = records.ClusterFormed(command.cluster_id, command.voters, records.FEATURE_LEVEL)
        return [formed], commands.Done()

    def _register(self, command: commands.RegisterBroker) -> _Decision:
        member = Member(command.node_id, command.incarnation)
        if member not in self.image.voters:
            message = (
                f"broker {command.node_id} with incarnation {command.incarnation} is not a member "
                f"of cluster {self.image.cluster_id}"
            )
            return [], commands.Refused(ErrorCode.BROKER_ID_NOT_REGISTERED, message)
        record = records.BrokerRegistered(
            command.node_id,
            command.incarnation,
            command.rpc_host,
            command.rpc_port,
            command.listeners,
            command.rack,
            command.version,
        )
        probe = Image()
        probe.apply(record)
        if self.image.brokers.get(command.node_id) == probe.brokers[command.node_id]:
            return [], commands.Done()
        return [record], commands.Done()

    def _create(self, command: commands.CreateTopics) -> _Decision:
        written: list[records.MetadataRecord] = []
        results = []
        start = self._partition_count()
        names: set[str] = set()
        for new in command.topics:
            topic = self.image.topics.get(new.name)
            if topic is not None and _did(command, topic):
                results.append(_topic_result(topic))
                continue
            try:
                record = self._created(new, command.request, start, names)
                _check_total(start + len(record.partitions) - self._partition_count())
            except KafkaError as error:
                results.append(TopicResult(new.name, error.code, error.message))
                continue
            names.add(new.name)
            start += len(record.partitions)
            written.append(record)
            results.append(_created_result(record))
        return ([] if command.validate_only else written), commands.TopicResults(tuple(results))

    def _created(
        self, new: NewTopic, request: str, start: int, names: set[str]
    ) -> records.TopicCreated:
        if new.name in self.image.topics or new.name in names:
            raise KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{new.name}' already exists.")
        if new.assignments is not None:
            rows = self._assigned(new)
        else:
            rows = self._placed(new.partitions, new.replication_factor, start)
        topic_id = str(self._new_topic_id())
        return records.TopicCreated(
            topic_id, new.name, rows, dict(new.config), new.internal, request
        )

    def _placed(
        self, partitions: int, replication_factor: int, start: int
    ) -> tuple[tuple[Member, ...], ...]:
        members = self.image.voters
        partitions = self._defaults.partitions if partitions == -1 else partitions
        if not 1 <= partitions <= MAX_PARTITIONS_PER_COMMAND:
            raise KafkaError(
                ErrorCode.INVALID_PARTITIONS,
                f"Number of partitions must be between 1 and {MAX_PARTITIONS_PER_COMMAND}, "
                f"not {partitions}.",
            )
        if replication_factor == -1:
            replication_factor = self.default_replication_factor()
        if not 1 <= replication_factor <= len(members):
            raise KafkaError(
                ErrorCode.INVALID_REPLICATION_FACTOR,
                f"Replication factor {replication_factor} is not between 1 and the number of "
                f"brokers, {len(members)}.",
            )
        return placement.place(members, partitions, replication_factor, start)

    def default_replication_factor(self) -> int:
        """As configured, else 1, 2 or 3 by the number of voters that formed the cluster."""
        if self._defaults.replication_factor != -1:
            return self._defaults.replication_factor
        return min(3, len(self.image.voters))

    def _assigned(self, new: NewTopic) -> tuple[tuple[Member, ...], ...]:
        assert new.assignments is not None
        if new.partitions != -1 or new.replication_factor != -1:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                "Both an assignment and a number of partitions or replicas were given.",
            )
        indexes = sorted(new.assignments)
        if not indexes or indexes != list(range(len(indexes))):
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                "Partitions of an assignment must be numbered 0, 1, 2 and so on.",
            )
        return tuple(self._members(new.assignments[i]) for i in indexes)

    def _members(self, node_ids: Iterable[int]) -> tuple[Member, ...]:
        by_id = {member.node_id: member for member in self.image.voters}
        ids = tuple(node_ids)
        if not ids or len(set(ids)) != len(ids) or not by_id.keys() >= set(ids):
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"Replicas {list(ids)} are not distinct brokers out of {sorted(by_id)}.",
            )
        return tuple(by_id[i] for i in ids)

    def _delete(self, command: commands.DeleteTopics) -> _Decision:
        written: list[records.MetadataRecord] = []
        results = []
        gone: set[uuid.UUID] = set()
        for name, topic_id, topic in self._named(command):
            if topic is None or topic.id in gone:
                code = (
                    ErrorCode.UNKNOWN_TOPIC_ID
                    if name is None
                    else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                )
                results.append(TopicResult(name, code, None, topic_id))
                continue
            gone.add(topic.id)
            written.append(records.TopicDeleted(str(topic.id)))
            results.append(TopicResult(topic.name, 0, None, str(topic.id)))
        return written, commands.TopicResults(tuple(results))

    def _named(
        self, command: commands.DeleteTopics
    ) -> Iterable[tuple[str | None, str | None, Topic | None]]:
        for name in command.names:
            yield name, None, self.image.topics.get(name)
        for topic_id in command.ids:
            yield None, topic_id, self.image.topics_by_id.get(uuid.UUID(topic_id))

    def _grow(self, command: commands.CreatePartitions) -> _Decision:
        written: list[records.MetadataRecord] = []
        results = []
        start = self._partition_count()
        seen: set[str] = set()
        for more in command.topics:
            try:
                if more.name in seen:
                    raise KafkaError(ErrorCode.INVALID_REQUEST, "Duplicate topic in request.")
                topic = self.image.topics.get(more.name)
                if topic is not None and _did(command, topic):
                    results.append(TopicResult(more.name))
                    continue
                record = self._added(more, command.request, start)
                _check_total(start + len(record.partitions) - self._partition_count())
            except KafkaError as error:
                results.append(TopicResult(more.name, error.code, error.message))
                continue
            seen.add(more.name)
            start += len(record.partitions)
            written.append(record)
            results.append(TopicResult(more.name))
        return ([] if command.validate_only else written), commands.TopicResults(tuple(results))

    def _added(
        self, more: commands.MorePartitions, request: str, start: int
    ) -> records.PartitionsAdded:
        topic = self.image.topics.get(more.name)
        if topic is None:
            raise KafkaError(
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"Topic '{more.name}' does not exist."
            )
        current = len(topic.partitions)
        added = more.count - current
        if added <= 0:
            raise KafkaError(
                ErrorCode.INVALID_PARTITIONS,
                f"The topic has {current} partitions already; {more.count} is not more.",
            )
        if more.assignments is None:
            rows = self._placed(added, len(topic.partitions[0].voters), start)
        elif len(more.assignments) != added:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"{added} partitions are to be added, but {len(more.assignments)} are assigned.",
            )
        else:
            rows = tuple(self._members(ids) for ids in more.assignments)
        return records.PartitionsAdded(str(topic.id), rows, request)

    def _allocate(self) -> _Decision:
        first = self.image.next_producer_id
        record = records.ProducerIdsAllocated(first + PRODUCER_ID_BLOCK)
        return [record], commands.ProducerIds(first, PRODUCER_ID_BLOCK)

    def _partition_count(self) -> int:
        return sum(len(topic.partitions) for topic in self.image.topics.values())


_Decision = tuple[list[records.MetadataRecord], commands.Reply]


def _did(command: commands.CreateTopics | commands.CreatePartitions, topic: Topic) -> bool:
    """This very command did it, and the answer was lost with the leader of that time."""
    return command.request != "" and topic.request == command.request


def _check_total(partitions: int) -> None:
    if partitions > MAX_PARTITIONS_PER_COMMAND:
        raise KafkaError(
            ErrorCode.INVALID_PARTITIONS,
            f"One request may make {MAX_PARTITIONS_PER_COMMAND} partitions, not {partitions}.",
        )


def _topic_result(topic: Topic) -> TopicResult:
    partitions = topic.partitions
    replicas = len(partitions[0].voters)
    return TopicResult(topic.name, 0, None, str(topic.id), len(partitions), replicas)


def _created_result(record: records.TopicCreated) -> TopicResult:
    return TopicResult(
        record.name,
        0,
        None,
        record.topic_id,
        len(record.partitions),
        len(record.partitions[0]),
    )
