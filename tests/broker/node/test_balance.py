"""Leaders go back to the preferred replica: when it can take them, a few at a time."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any, cast

import pytest

from quorate_broker.cluster import records
from quorate_broker.cluster.image import Image
from quorate_broker.cluster.records import Member
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.node.balance import Balance
from quorate_broker.node.leaders import Leaders
from quorate_broker.raft.messages import Peer

ME, HOME = Member(1, "a"), Member(2, "b")
SECOND = 1_000


@dataclasses.dataclass
class Replica:
    in_sync: frozenset[int] = frozenset({1, 2})


class Partition:
    """Led here until it was asked to hand over."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.replica = Replica()
        self.is_leader = True
        self.leader_epoch = 1
        self.asked: list[int] = []
        self.refuses = False

    def transfer_leadership(self, target: int) -> None:
        self.asked.append(target)
        if self.refuses:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)


class Node:
    """Broker 1 leads everything; broker 2 is where it belongs."""

    def __init__(self, partitions: int = 1, home: Member = HOME) -> None:
        self.me = Peer(ME.node_id, ME.incarnation)
        self.up = {1, 2}
        self.leaders = Leaders()
        self.image = Image()
        topic_id = uuid.UUID(int=7)
        rows = ((home, ME) if home != ME else (ME, HOME),) * partitions
        for record in (
            records.ClusterFormed("c", (ME, HOME), records.FEATURE_LEVEL),
            *(
                records.BrokerRegistered(one.node_id, one.incarnation, "h", 1, (), None, "1")
                for one in (ME, HOME)
            ),
            records.TopicCreated(str(topic_id), "t", rows, {}, False),
        ):
            self.image.apply(record)
        self.partitions = {
            (topic_id, index): Partition(f"g-{index}") for index in range(partitions)
        }
        parts = dataclasses.make_dataclass("Parts", ("controller", "peers", "shelf", "leaders"))
        self.balance = Balance(cast(Any, parts(self, self, self, self.leaders)))

    def get(self, topic_id: uuid.UUID, index: int) -> Partition:
        return self.partitions[topic_id, index]

    def alive(self, node_id: int) -> bool:
        return node_id in self.up

    def look(self, *seconds: int) -> list[int]:
        return [self.balance.look(at * SECOND) for at in seconds]

    @property
    def only(self) -> Partition:
        return self.partitions[uuid.UUID(int=7), 0]


def test_the_preferred_replica_gets_it_when_it_has_been_there_for_a_while() -> None:
    node = Node()
    assert node.look(0, 1, 2, 3, 4) == [0] * 5
    assert node.look(5) == [1]
    assert node.only.asked == [HOME.node_id]


def test_a_broker_that_comes_and_goes_has_to_stay_first() -> None:
    node = Node()
    node.look(0, 3)
    node.up = {1}
    node.look(4)
    node.up = {1, 2}
    assert node.look(5, 6, 9) == [0, 0, 0]
    assert node.look(10) == [1]


def test_who_is_alone_looks_at_no_partition() -> None:
    node = Node(partitions=1_000)
    node.up = {1}
    node.partitions.clear()  # a look at one would raise
    assert node.look(0, 1) == [0, 0]


def test_a_leader_that_has_just_come_stays_a_while() -> None:
    node = Node()
    node.look(0, 4)
    node.only.leader_epoch = 2
    assert node.look(5, 9) == [0, 0]
    assert node.look(10) == [1]


def test_a_leader_that_was_moved_by_hand_is_left_alone_for_minutes() -> None:
    node = Node()
    node.look(0, 4)
    node.only.leader_epoch = 2
    node.leaders.by_hand["g-0"] = 2
    assert node.look(5, 10, 60, 304) == [0, 0, 0, 0]
    assert node.look(305) == [1]


def test_what_was_moved_by_hand_once_goes_back_when_it_moved_again_by_itself() -> None:
    node = Node()
    node.leaders.by_hand["g-0"] = 2
    node.only.leader_epoch = 3
    assert node.look(0, 4, 5) == [0, 0, 1]


def test_what_did_not_happen_is_tried_again_only_later() -> None:
    node = Node()
    node.only.refuses = True
    assert node.look(0, 5, 6, 19) == [0, 0, 0, 0]
    assert len(node.only.asked) == 1
    node.only.refuses = False
    assert node.look(20, 21) == [0, 1]


def test_only_a_few_at_a_time() -> None:
    node = Node(partitions=20)
    assert node.look(0, 5, 6, 7, 8) == [0, 8, 8, 4, 0]


def lags(node: Node) -> None:
    node.only.replica.in_sync = frozenset({1})


def is_short_of_room(node: Node) -> None:
    node.leaders.short.add(2)


def is_draining(node: Node) -> None:
    node.image.apply(records.BrokerDraining(2, True))


def was_replaced(node: Node) -> None:
    node.image.apply(records.BrokerReplaced(2, "b", "new", "h", 1))


def moves(node: Node) -> None:
    move = records.Move(0, (HOME, ME))
    node.image.apply(records.PartitionsReassigned(str(uuid.UUID(int=7)), (move,)))


def is_led_elsewhere(node: Node) -> None:
    node.only.is_leader = False


@pytest.mark.parametrize(
    "obstacle", [lags, is_short_of_room, is_draining, was_replaced, moves, is_led_elsewhere]
)
def test_nothing_is_handed_to_who_cannot_take_it(obstacle: Any) -> None:
    node = Node()
    obstacle(node)
    assert node.look(0, 5, 10, 20) == [0, 0, 0, 0]
    assert node.only.asked == []


def test_what_belongs_here_stays_here() -> None:
    node = Node(home=ME)
    assert node.look(0, 5, 10) == [0, 0, 0]
