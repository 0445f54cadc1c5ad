"""Decisions about topics: created, deleted, grown, configured.

A command that names several topics answers each on its own, as Kafka does: one bad name fails
nothing else. Read next: `placement` for where replicas go.
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

MAX_PARTITIONS_PER_COMMAND = 10_000

Decision = tuple[list[records.MetadataRecord], commands.Reply]
"""The records to write, and the reply."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a topic gets when its creator does not say. -1: as many replicas as brokers allow."""

    partitions: int
    replication_factor: int


def everybody(node_id: int) -> bool:
    """Nobody is known to be down."""
    return True


def placeable(image: Image) -> tuple[Member, ...]:
    """Who may be given replicas."""
    return tuple(one for one in image.members if one.node_id not in image.draining)


def chosen(image: Image, node_ids: Iterable[int]) -> tuple[Member, ...]:
    """The members that somebody chose by hand; raises KafkaError."""
    by_id = {member.node_id: member for member in placeable(image)}
    ids = tuple(node_ids)
    if not ids or len(set(ids)) != len(ids) or not by_id.keys() >= set(ids):
        raise KafkaError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"Replicas {list(ids)} are not distinct brokers out of {sorted(by_id)}.",
        )
    return tuple(by_id[i] for i in ids)


class Topics:
    """Decides on an image; `new_topic_id` is the only randomness, `is_up` all it knows of the world
    outside: what it places is in the records."""

    def __init__(
        self,
        image: Image,
        defaults: Defaults,
        new_topic_id: Callable[[], uuid.UUID],
        is_up: Callable[[int], bool] = everybody,
    ) -> None:
        self._image = image
        self.defaults = defaults
        self._new_topic_id = new_topic_id
        self._is_up = is_up

    def create(self, command: commands.CreateTopics) -> Decision:
        written: list[records.MetadataRecord] = []
        results = []
        start = self._partition_count()
        names: set[str] = set()
        for new in command.topics:
            topic = self._image.topics.get(new.name)
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
        if new.name in self._image.topics or new.name in names:
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
        members = placeable(self._image)
        partitions = self.defaults.partitions if partitions == -1 else partitions
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
        up = tuple(one for one in members if self._is_up(one.node_id))
        if len(up) >= replication_factor:  # else who is down will have its replica when it comes
            members = up
        racks = placement.racks(self._image.brokers.values())
        return placement.place(members, partitions, replication_factor, start, racks)

    def default_replication_factor(self) -> int:
        """As configured, else 1, 2 or 3 by the number of brokers."""
        if self.defaults.replication_factor != -1:
            return self.defaults.replication_factor
        return min(3, len(placeable(self._image)))

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
        return tuple(chosen(self._image, new.assignments[i]) for i in indexes)

    def delete(self, command: commands.DeleteTopics) -> Decision:
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
            yield name, None, self._image.topics.get(name)
        for topic_id in command.ids:
            yield None, topic_id, self._image.topics_by_id.get(uuid.UUID(topic_id))

    def grow(self, command: commands.CreatePartitions) -> Decision:
        written: list[records.MetadataRecord] = []
        results = []
        start = self._partition_count()
        seen: set[str] = set()
        for more in command.topics:
            try:
                if more.name in seen:
                    raise KafkaError(ErrorCode.INVALID_REQUEST, "Duplicate topic in request.")
                topic = self._image.topics.get(more.name)
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
        topic = self._image.topics.get(more.name)
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
            rows = self._placed(added, len(topic.partitions[0].wanted), start)
        elif len(more.assignments) != added:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"{added} partitions are to be added, but {len(more.assignments)} are assigned.",
            )
        else:
            rows = tuple(chosen(self._image, ids) for ids in more.assignments)
        return records.PartitionsAdded(str(topic.id), rows, request)

    def configure(self, command: commands.ChangeTopicConfigs) -> Decision:
        written: list[records.MetadataRecord] = []
        results = []
        for change in command.changes:
            topic = self._image.topics.get(change.name)
            if topic is None:
                code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                results.append(TopicResult(change.name, code, f"No topic '{change.name}'."))
                continue
            own = {} if change.replace else dict(topic.config)
            for name in change.drop:
                own.pop(name, None)
            own |= change.put
            if own != topic.config:
                written.append(records.TopicConfigChanged(str(topic.id), own))
            results.append(TopicResult(change.name))
        return ([] if command.validate_only else written), commands.TopicResults(tuple(results))

    def _partition_count(self) -> int:
        return sum(len(topic.partitions) for topic in self._image.topics.values())


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
    replicas = len(partitions[0].wanted)
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
