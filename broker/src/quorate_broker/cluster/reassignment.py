"""Decisions about where partitions move, and what a drain moves next.

A reassignment is a wish in metadata (`places`); a newer one replaces it at any time, and giving it
up is the wish to be where the partition was. Read next: `placement`.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from quorate_broker.cluster import commands, placement, records
from quorate_broker.cluster.commands import Reassignment, TopicResult
from quorate_broker.cluster.image import Image, Topic
from quorate_broker.cluster.places import PartitionInfo
from quorate_broker.cluster.records import Member
from quorate_broker.cluster.topics import Decision, chosen, placeable
from quorate_broker.errors import ErrorCode, KafkaError


def reassign(image: Image, command: commands.ReassignPartitions) -> Decision:
    """Each partition on its own; the last word about one wins."""
    moves: dict[uuid.UUID, dict[int, records.Move]] = {}
    results = []
    for wish in command.partitions:
        try:
            topic, info = _found(image, wish)
            target = _target(image, info, wish)
        except KafkaError as error:
            results.append(TopicResult(wish.topic, error.code, error.message))
            continue
        results.append(TopicResult(wish.topic))
        if target != info.wanted:
            moves.setdefault(topic.id, {})[info.index] = records.Move(info.index, target)
    written: list[records.MetadataRecord] = [
        records.PartitionsReassigned(str(topic_id), tuple(each.values()))
        for topic_id, each in moves.items()
    ]
    return written, commands.TopicResults(tuple(results))


def _found(image: Image, wish: Reassignment) -> tuple[Topic, PartitionInfo]:
    topic = image.topics.get(wish.topic)
    if topic is None or not 0 <= wish.index < len(topic.partitions):
        raise KafkaError(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "The topic or partition does not exist."
        )
    return topic, topic.partitions[wish.index]


def _target(image: Image, info: PartitionInfo, wish: Reassignment) -> tuple[Member, ...]:
    if wish.replicas is None:
        if info.target is None:
            raise KafkaError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
        return info.voters
    if wish.keep_factor and len(wish.replicas) != len(info.wanted):
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"The replication factor is changed from {len(info.wanted)} to {len(wish.replicas)}.",
        )
    return chosen(image, wish.replicas)


def settle(image: Image, command: commands.SettlePartitions) -> Decision:
    """Take leaders' words, where nothing newer was wanted since."""
    written: list[records.MetadataRecord] = []
    for done in command.partitions:
        topic = image.topics_by_id.get(uuid.UUID(done.topic_id))
        if topic is None or not 0 <= done.index < len(topic.partitions):
            continue
        info = topic.partitions[done.index]
        if info.target is not None and info.moves == done.moves and info.target == done.voters:
            written.append(records.PartitionSettled(done.topic_id, done.index, done.voters))
    return written, commands.Done()


@dataclass(frozen=True, slots=True)
class Stuck:
    """A partition that no other broker can take."""

    topic: str
    index: int


def moving(image: Image) -> Iterator[tuple[Topic, PartitionInfo]]:
    """Every partition that is on its way."""
    for topic in image.topics.values():
        for info in topic.partitions:
            if info.target is not None:
                yield topic, info


def to_drain(image: Image) -> Iterator[tuple[Topic, PartitionInfo]]:
    """Every partition that shall leave a draining broker, and is not told so yet."""
    for topic in image.topics.values():
        for info in topic.partitions:
            if any(one.node_id in image.draining for one in info.wanted):
                yield topic, info


def drain_step(image: Image, limit: int) -> tuple[list[Reassignment], list[Stuck]]:
    """What to move next, so that at most `limit` partitions move at once; and what cannot."""
    room = limit - sum(1 for _ in moving(image))
    load = Counter(
        one.node_id
        for topic in image.topics.values()
        for info in topic.partitions
        for one in info.wanted
    )
    wishes: list[Reassignment] = []
    stuck: list[Stuck] = []
    racks = placement.racks(image.brokers.values())
    for topic, info in to_drain(image):
        target = _elsewhere(image, info, load, racks)
        if target is None:
            stuck.append(Stuck(topic.name, info.index))
        elif len(wishes) < room:
            load.update(set(target) - {one.node_id for one in info.wanted})
            wishes.append(Reassignment(topic.name, info.index, target))
    return wishes, stuck


def _elsewhere(
    image: Image, info: PartitionInfo, load: Counter[int], racks: placement.Racks
) -> tuple[int, ...] | None:
    """The same replicas, with another broker in the place of each that drains."""
    target = [one.node_id for one in info.wanted]
    for at, node_id in enumerate(target):
        if node_id not in image.draining:
            continue
        others = [one for one in target if one != node_id]
        able = [one.node_id for one in placeable(image) if one.node_id not in others]
        if not able:
            return None
        target[at] = placement.best(able, others, load, racks)
    return tuple(target)
