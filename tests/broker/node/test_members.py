"""Who may join, who may delete a replica, who is dialled, and what leaders are told to want."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from typing import Any, cast

import msgspec
import pytest

from quorate_broker.cluster import commands, records
from quorate_broker.cluster.image import Image
from quorate_broker.cluster.machine import ClusterMachine, Defaults
from quorate_broker.cluster.records import Member
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.net.peers import PeerLost
from quorate_broker.node import joining, leaving
from quorate_broker.node.leaders import Lead, Leaders
from quorate_broker.node.neighbours import Neighbours
from quorate_broker.node.steering import Steering, peers_of
from quorate_broker.raft import membership
from quorate_broker.raft.messages import Peer

THREE = tuple(Member(i, f"disk-{i}") for i in (1, 2, 3))
TOPIC = uuid.UUID(int=7)


@dataclasses.dataclass
class Log:
    membership: tuple[int, bytes] = (5, b"")


class Replica:
    """Gets at once to what is wanted, unless it is slow."""

    def __init__(self) -> None:
        self.term = 3
        self.log = Log()
        self.members = membership.of(peers_of(THREE))
        self.wanted: list[tuple[frozenset[Peer], frozenset[Peer]]] = []
        self.slow = False

    def want_members(
        self, target: frozenset[Peer], now_ms: int, learners: frozenset[Peer] = frozenset()
    ) -> None:
        self.wanted.append((target, learners))
        if not self.slow:
            self.members = membership.of(target, (), learners)

    @property
    def membership_settled(self) -> bool:
        target, learners = self.wanted[-1]
        return self.members == membership.of(target, (), learners)


class Partition:
    def __init__(self, group: str = "g") -> None:
        self.group = group
        self.is_leader = True
        self.leader_id = 1
        self.leader_epoch = 3
        self.replica = Replica()

    def kick(self) -> None:
        pass


class Node:
    """Broker 1 of three, which leads the metadata unless told otherwise."""

    def __init__(self) -> None:
        self.machine = ClusterMachine(Defaults(1, 3), lambda: TOPIC)
        self.leads, self.leader_id, self.caught_up = True, 1, True
        self.partition = Partition("metadata")
        self.partitions: dict[tuple[uuid.UUID, int], Partition] = {}
        self.connected = {one.node_id: one.incarnation for one in THREE}
        self.me = Peer(1, "disk-1")
        self.leaders = Leaders()
        self.asked: list[tuple[int, str]] = []
        self.others: dict[int, Node] = {}
        self.told: list[tuple[Any, ...]] = []
        self.now_ms = 0
        self.do(commands.FormCluster("c", THREE))

    @property
    def image(self) -> Image:
        return self.machine.image

    @property
    def parts(self) -> Any:
        parts = dataclasses.make_dataclass(
            "Parts", ("controller", "peers", "shelf", "leaders", "clock")
        )
        return parts(self, self, self, self.leaders, self)

    def do(self, command: commands.Command) -> Any:
        outcome = self.machine.handle(1, command, 0)
        for record in outcome.records:
            self.machine.replay(record, 0)
        reply = outcome.replies[0][1]
        if isinstance(reply, commands.Refused):
            raise KafkaError(ErrorCode(reply.code), reply.message)
        return reply

    async def command(self, command: commands.Command, peers: object) -> Any:
        return self.do(command)

    # as peers

    def alive(self, node_id: int) -> bool:
        return node_id in self.connected

    def incarnation(self, node_id: int) -> str | None:
        return self.connected.get(node_id)

    async def request(self, node_id: int, method: str, body: bytes, timeout_ms: int) -> bytes:
        self.asked.append((node_id, method))
        if node_id not in self.others:
            raise PeerLost("it is not there")
        other = self.others[node_id].parts
        if method == joining.METHOD:
            return await joining.serve(other, body)
        return leaving.serve(other, body)

    def set_address(self, node_id: int, host: str, port: int) -> None:
        self.told.append((node_id, host, port))

    def forget(self, node_id: int) -> None:
        self.told.append((node_id,))

    def retire(self, retired: frozenset[Peer]) -> None:
        self.told.append(tuple(sorted(retired)))

    # as shelf and clock

    def get(self, topic_id: uuid.UUID, index: int) -> Partition | None:
        return self.partitions.get((topic_id, index))

    def by_group(self, group: str) -> Partition | None:
        return next((one for one in self.partitions.values() if one.group == group), None)

    def monotonic_ms(self) -> int:
        return self.now_ms


def join(node: Node, node_id: int, incarnation: str) -> commands.Admitted:
    asked = joining.Ask(node_id, incarnation, "h", 1, records.FEATURE_LEVEL)
    answer = asyncio.run(joining.serve(node.parts, msgspec.msgpack.encode(asked)))
    return msgspec.msgpack.decode(answer, type=commands.Admitted)


# ---------------------------------------------------------------------------------------- joining


def test_an_empty_disk_takes_the_place_of_one_that_is_gone() -> None:
    node = Node()
    del node.connected[2]
    assert join(node, 2, "new").cluster_id == "c"
    assert node.image.member(2) == Member(2, "new")


def test_the_process_that_asks_is_not_the_one_that_it_replaces() -> None:
    node = Node()
    node.connected[2] = "new"  # whoever dials broker 2 reaches the one that asks
    join(node, 2, "new")
    assert node.image.retired == {"disk-2": 2}


@pytest.mark.parametrize("node_id", [1, 2])
def test_nobody_takes_the_place_of_a_broker_that_is_connected(node_id: int) -> None:
    node = Node()
    with pytest.raises(KafkaError, match="is connected with another disk") as caught:
        join(node, node_id, "new")
    assert caught.value.code == ErrorCode.DUPLICATE_BROKER_REGISTRATION


def test_any_broker_passes_the_question_on_to_the_metadata_leader_once() -> None:
    leader, other = Node(), Node()
    other.leads, other.others = False, {1: leader}
    other.me = Peer(2, "disk-2")
    assert join(other, 4, "disk-4").cluster_id == "c"
    assert leader.image.member(4) == Member(4, "disk-4")
    assert other.asked == [(1, joining.METHOD)]
    leader.leads = False
    leader.others = {2: other}
    leader.leader_id = 2
    with pytest.raises(KafkaError, match="no leader"):
        join(other, 5, "disk-5")


# ---------------------------------------------------------------------------------------- leaving


def leaving_pair() -> tuple[Node, Node, Partition]:
    """A leader, a broker whose replica metadata no longer names, and that replica."""
    leader, gone = Node(), Node()
    gone.me = Peer(4, "disk-4")
    gone.others = {1: leader}
    leader.partitions[TOPIC, 0] = Partition()
    gone.leaders.learn(Lead("g", 3, 1, (1,)))
    return leader, gone, Partition()


def may_leave(node: Node, partition: Partition) -> bool:
    return asyncio.run(leaving.may_leave(node.parts, cast(Any, partition)))


def test_a_replica_goes_when_its_leader_counts_it_out() -> None:
    _, gone, partition = leaving_pair()
    assert may_leave(gone, partition)


def test_a_replica_stays_while_it_counts_in_its_group() -> None:
    leader, gone, partition = leaving_pair()
    replica = leader.partitions[TOPIC, 0].replica
    replica.members = membership.of(peers_of(THREE), (), {gone.me})
    assert not may_leave(gone, partition)


@pytest.mark.parametrize("newer", ["term", "membership"])
def test_the_leaders_word_is_void_when_something_newer_has_come(newer: str) -> None:
    _, gone, partition = leaving_pair()
    if newer == "term":
        partition.replica.term = 4
    else:
        partition.replica.log.membership = (6, b"")
    assert not may_leave(gone, partition)


def test_a_replica_stays_while_nobody_can_be_asked() -> None:
    leader, gone, partition = leaving_pair()
    leader.partitions[TOPIC, 0].is_leader = False
    assert not may_leave(gone, partition)
    gone.others = {}
    assert not may_leave(gone, partition)
    gone.leaders = Leaders()
    assert not may_leave(gone, partition)


# ------------------------------------------------------------------------------------- neighbours


def test_lines_are_told_what_changed_and_seeds_keep_their_own_address() -> None:
    node = Node()
    neighbours = Neighbours(cast(Any, node), [1, 2, 3])
    node.do(commands.RegisterBroker(2, "disk-2", "elsewhere", 2, (), None, "1", 2))
    neighbours.look(node.image)
    assert node.told == []
    node.do(commands.AdmitBroker(4, "disk-4", "four", 4, records.FEATURE_LEVEL))
    neighbours.look(node.image)
    neighbours.look(node.image)
    assert node.told == [(4, "four", 4)]
    node.told.clear()
    node.do(commands.DrainBroker(4, True))
    node.do(commands.RemoveBroker(4, "disk-4"))
    neighbours.look(node.image)
    assert node.told == [(Peer(4, "disk-4"),), (4,)]


def test_a_broker_that_metadata_here_does_not_know_yet_tells_where_it_is_itself() -> None:
    node = Node()
    neighbours = Neighbours(cast(Any, node), [1, 2, 3])
    for _ in range(2):
        neighbours.heard(4, ("four", 4), node.image)
        neighbours.heard(2, ("elsewhere", 2), node.image)
        neighbours.look(node.image)
    assert node.told == [(4, "four", 4)]
    node.do(commands.AdmitBroker(4, "disk-4", "moved", 5, records.FEATURE_LEVEL))
    neighbours.look(node.image)
    neighbours.heard(4, ("four", 4), node.image)
    assert node.told == [(4, "four", 4), (4, "moved", 5)]


# --------------------------------------------------------------------------------------- steering


def steered(node: Node) -> None:
    asyncio.run(Steering(node.parts)._step())


def moving(node: Node, *replicas: int) -> Partition:
    """A topic that is led here, and is to move."""
    node.do(commands.AdmitBroker(4, "disk-4", "four", 4, records.FEATURE_LEVEL))
    node.do(commands.CreateTopics((commands.NewTopic("t"),)))
    node.do(commands.ReassignPartitions((commands.Reassignment("t", 0, replicas),)))
    partition = node.partitions[TOPIC, 0] = Partition()
    return partition


def test_a_leader_is_told_the_target_and_metadata_when_it_is_reached() -> None:
    node = Node()
    partition = moving(node, 4, 1, 2)
    partition.replica.slow = True
    steered(node)
    assert {one.node_id for one in partition.replica.wanted[-1][0]} == {1, 2, 4}
    assert node.image.topics["t"].partitions[0].target is not None
    partition.replica.slow = False
    steered(node)
    assert node.image.topics["t"].partitions[0].target is None
    assert node.image.topics["t"].partitions[0].replicas == (4, 1, 2)


def test_who_is_where_it_shall_be_is_told_once_in_each_term() -> None:
    node = Node()
    node.do(commands.CreateTopics((commands.NewTopic("t"),)))
    partition = node.partitions[TOPIC, 0] = Partition()
    steering = Steering(node.parts)
    for epoch, told in ((3, 1), (3, 1), (4, 2), (4, 2)):
        partition.leader_epoch = epoch
        asyncio.run(steering._step())
        assert len(partition.replica.wanted) == told
    node.do(commands.ReassignPartitions((commands.Reassignment("t", 0, (2, 1)),)))
    asyncio.run(steering._step())
    assert len(partition.replica.wanted[-1][0]) == 2


def test_nothing_is_steered_by_an_image_that_is_behind() -> None:
    node = Node()
    partition = moving(node, 4, 1, 2)
    node.caught_up = False
    steered(node)
    assert partition.replica.wanted == []


def test_what_is_led_elsewhere_is_steered_elsewhere() -> None:
    node = Node()
    partition = moving(node, 4, 1, 2)
    partition.is_leader = False
    steered(node)
    assert partition.replica.wanted == []


def test_nine_members_vote_on_metadata_and_the_others_learn() -> None:
    node = Node()
    for node_id in range(4, 12):
        disk = f"disk-{node_id}"
        node.do(commands.AdmitBroker(node_id, disk, "h", 1, records.FEATURE_LEVEL))
    steered(node)
    voters, learners = node.partition.replica.wanted[-1]
    assert {one.node_id for one in voters} == set(range(1, 10))
    assert {one.node_id for one in learners} == {10, 11}


def test_the_metadata_leader_drains_and_then_removes() -> None:
    node = Node()
    moving(node, 1, 2, 3)
    node.do(commands.DrainBroker(3, True))
    steered(node)
    assert node.image.topics["t"].partitions[0].wanted[2] == Member(4, "disk-4")
    steered(node)
    steered(node)
    assert node.image.member(3) is None
    steered(node)
    assert Peer(3, "disk-3") not in node.partition.replica.wanted[-1][0]


def test_a_follower_of_metadata_drains_nothing() -> None:
    node = Node()
    moving(node, 1, 2, 3)
    node.do(commands.DrainBroker(3, True))
    node.leads = False
    steered(node)
    assert node.image.topics["t"].partitions[0].target is None
    assert node.partition.replica.wanted == []
