"""What each metadata command writes and answers, and that replay is all of its state."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate_broker import seams
from quorate_broker.cluster import commands, placement
from quorate_broker.cluster.image import Image
from quorate_broker.cluster.machine import PRODUCER_ID_BLOCK, Defaults
from quorate_broker.cluster.records import Endpoint, Member
from quorate_broker.errors import ErrorCode
from quorate_broker.testing.metadata import VOTERS, MetadataLeader

DEFAULTS = Defaults(4, -1)


class Leader(MetadataLeader):
    def __init__(self, defaults: Defaults = DEFAULTS) -> None:
        super().__init__(defaults)

    def topic(self, reply: commands.Reply, at: int = 0) -> commands.TopicResult:
        assert isinstance(reply, commands.TopicResults)
        return reply.results[at]


@pytest.fixture
def leader() -> Leader:
    made = Leader()
    assert made.do(commands.FormCluster("c1", VOTERS)) == commands.Done()
    return made


def register(node_id: int, incarnation: str | None = None, port: int = 9092) -> commands.Command:
    endpoint = Endpoint("kafka", f"b{node_id}", port)
    disk = incarnation or f"disk-{node_id}"
    return commands.RegisterBroker(node_id, disk, f"b{node_id}", 33145, (endpoint,), None, "1", 2)


def create(name: str, partitions: int = -1, replicas: int = -1) -> commands.CreateTopics:
    return commands.CreateTopics((commands.NewTopic(name, partitions, replicas),))


def test_a_cluster_is_formed_once(leader: Leader) -> None:
    leader.do(commands.FormCluster("c2", VOTERS))
    assert leader.machine.image.cluster_id == "c1"
    assert len(leader.log) == 1


def test_registering_again_writes_nothing_until_something_changed(leader: Leader) -> None:
    leader.do(register(1))
    before = len(leader.log)
    leader.do(register(1))
    assert len(leader.log) == before
    leader.do(register(1, port=9999))
    broker = leader.machine.image.brokers[1]
    assert broker.endpoint("kafka") == Endpoint("kafka", "b1", 9999)


def test_another_disk_under_a_known_id_is_refused(leader: Leader) -> None:
    reply = leader.do(register(1, incarnation="another"))
    assert isinstance(reply, commands.Refused)
    assert reply.code == ErrorCode.BROKER_ID_NOT_REGISTERED
    assert 1 not in leader.machine.image.brokers


def test_a_topic_gets_the_defaults_where_its_creator_is_silent(leader: Leader) -> None:
    result = leader.topic(leader.do(create("orders")))
    assert (result.code, result.partitions, result.replication_factor) == (0, 4, 3)
    assert len(leader.machine.image.topics["orders"].partitions) == 4


def test_the_default_replication_factor_follows_the_voters_not_who_is_up(leader: Leader) -> None:
    assert not leader.machine.image.brokers
    assert leader.topic(leader.do(create("orders"))).replication_factor == 3


@pytest.mark.parametrize(("voters", "factor"), [(1, 1), (2, 2), (3, 3), (5, 3)])
def test_the_default_replication_factor_is_that_of_the_voters_up_to_three(
    voters: int, factor: int
) -> None:
    members = tuple(Member(i, f"disk-{i}") for i in range(1, voters + 1))
    for configured in (-1, *range(1, voters + 1)):
        leader = Leader(Defaults(4, configured))
        leader.do(commands.FormCluster("c1", members))
        expected = factor if configured == -1 else configured
        assert leader.topic(leader.do(create("orders"))).replication_factor == expected


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (create("there"), ErrorCode.TOPIC_ALREADY_EXISTS),
        (create("new", partitions=0), ErrorCode.INVALID_PARTITIONS),
        (create("new", partitions=10_001), ErrorCode.INVALID_PARTITIONS),
        (create("new", replicas=4), ErrorCode.INVALID_REPLICATION_FACTOR),
        (create("new", replicas=0), ErrorCode.INVALID_REPLICATION_FACTOR),
        (
            commands.CreateTopics((commands.NewTopic("new", 1, 1, {0: (1,)}),)),
            ErrorCode.INVALID_REQUEST,
        ),
        (
            commands.CreateTopics((commands.NewTopic("new", -1, -1, {0: (1, 1)}),)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        ),
        (
            commands.CreateTopics((commands.NewTopic("new", -1, -1, {1: (1,)}),)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        ),
        (
            commands.CreateTopics((commands.NewTopic("new", -1, -1, {0: (9,)}),)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        ),
        (
            commands.CreatePartitions((commands.MorePartitions("there", 1),)),
            ErrorCode.INVALID_PARTITIONS,
        ),
        (
            commands.CreatePartitions((commands.MorePartitions("nowhere", 9),)),
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ),
        (
            commands.CreatePartitions((commands.MorePartitions("there", 3, ((1,),)),)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        ),
        (commands.DeleteTopics(names=("nowhere",)), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (
            commands.DeleteTopics(ids=(str(seams.new_uuid(random.Random(9))),)),
            ErrorCode.UNKNOWN_TOPIC_ID,
        ),
    ],
)
def test_what_is_wrong_is_told_with_kafkas_code_and_writes_nothing(
    leader: Leader, command: commands.Command, code: ErrorCode
) -> None:
    leader.do(create("there", partitions=1, replicas=1))
    before = len(leader.log)
    assert leader.topic(leader.do(command)).code == code
    assert len(leader.log) == before


def test_one_bad_topic_of_a_request_fails_no_other(leader: Leader) -> None:
    new = commands.NewTopic
    reply = leader.do(commands.CreateTopics((new("a"), new("a"), new("b", 0), new("c"))))
    assert isinstance(reply, commands.TopicResults)
    assert [result.code for result in reply.results] == [
        0,
        ErrorCode.TOPIC_ALREADY_EXISTS,
        ErrorCode.INVALID_PARTITIONS,
        0,
    ]
    assert set(leader.machine.image.topics) == {"a", "c"}


def test_validate_only_answers_like_the_real_thing_and_writes_nothing(leader: Leader) -> None:
    before = len(leader.log)
    request = commands.CreateTopics((commands.NewTopic("a"),), validate_only=True)
    assert leader.topic(leader.do(request)).partitions == 4
    assert len(leader.log) == before


def test_a_deleted_topic_may_be_made_again_under_another_id(leader: Leader) -> None:
    first = leader.topic(leader.do(create("a"))).topic_id
    leader.do(commands.DeleteTopics(names=("a",)))
    assert "a" not in leader.machine.image.topics
    assert leader.topic(leader.do(create("a"))).topic_id != first


def test_a_topic_grows_behind_the_partitions_it_has(leader: Leader) -> None:
    leader.do(create("a", partitions=2))
    before = leader.machine.image.topics["a"].partitions
    leader.do(commands.CreatePartitions((commands.MorePartitions("a", 5),)))
    after = leader.machine.image.topics["a"].partitions
    assert after[:2] == before
    assert [partition.index for partition in after] == [0, 1, 2, 3, 4]
    assert all(len(partition.replicas) == 3 for partition in after)


def test_blocks_of_producer_ids_never_overlap(leader: Leader) -> None:
    blocks = [leader.do(commands.AllocateProducerIds()) for _ in range(3)]
    firsts = [block.first for block in blocks if isinstance(block, commands.ProducerIds)]
    assert firsts == [0, PRODUCER_ID_BLOCK, 2 * PRODUCER_ID_BLOCK]


def test_another_machine_that_replays_the_log_holds_the_same(leader: Leader) -> None:
    leader.do(register(2))
    leader.do(create("a"))
    leader.do(create("b", partitions=3))
    leader.do(commands.DeleteTopics(names=("a",)))
    leader.do(commands.AllocateProducerIds())
    image = Image()
    for offset, record in enumerate(leader.log):
        image.replay(record, offset)
    for field in Image.__slots__:
        assert getattr(image, field) == getattr(leader.machine.image, field)


@settings(max_examples=100)
@given(
    nodes=st.integers(1, 9),
    partitions=st.integers(1, 60),
    start=st.integers(0, 50),
    data=st.data(),
)
def test_placement_is_even_and_replicas_are_distinct(
    nodes: int, partitions: int, start: int, data: st.DataObject
) -> None:
    members = [Member(i, f"disk-{i}") for i in range(1, nodes + 1)]
    factor = data.draw(st.integers(1, nodes))
    rows = placement.place(members, partitions, factor, start)
    assert len(rows) == partitions
    assert all(len(set(row)) == factor for row in rows)
    leads = [sum(1 for row in rows if row[0] == member) for member in members]
    assert max(leads) - min(leads) <= 1


def test_a_creation_that_is_asked_again_is_known_again(leader: Leader) -> None:
    """The leader of the first try was lost before it answered."""
    asked = commands.CreateTopics((commands.NewTopic("t", 2),), request="r1")
    first = leader.topic(leader.do(asked))
    written = len(leader.log)
    assert leader.topic(leader.do(asked)) == first
    assert len(leader.log) == written
    other = commands.CreateTopics((commands.NewTopic("t", 2),), request="r2")
    assert leader.topic(leader.do(other)).code == ErrorCode.TOPIC_ALREADY_EXISTS
    assert leader.topic(leader.do(create("t"))).code == ErrorCode.TOPIC_ALREADY_EXISTS


def test_more_partitions_that_are_asked_for_again_are_known_again(leader: Leader) -> None:
    leader.do(create("t", 2))
    more = commands.CreatePartitions((commands.MorePartitions("t", 5),), request="r1")
    assert leader.topic(leader.do(more)).code == 0
    assert leader.topic(leader.do(more)).code == 0
    assert len(leader.machine.image.topics["t"].partitions) == 5


def test_one_request_makes_so_many_partitions_and_no_more(leader: Leader) -> None:
    topics = tuple(commands.NewTopic(f"t{i}", 4_000, 1) for i in range(3))
    reply = leader.do(commands.CreateTopics(topics))
    assert [leader.topic(reply, i).code for i in range(3)] == [0, 0, ErrorCode.INVALID_PARTITIONS]


def holders(leader: Leader, name: str) -> set[int]:
    partitions = leader.machine.image.topics[name].partitions
    return {member.node_id for info in partitions for member in info.wanted}


def test_new_replicas_go_to_brokers_that_are_up_where_there_are_enough(leader: Leader) -> None:
    leader.down = {2}
    leader.do(create("two", 6, 2))
    assert holders(leader, "two") == {1, 3}
    leader.do(create("three", 6, 3))
    assert holders(leader, "three") == {1, 2, 3}, "it gets its replicas when it comes"
    leader.down = set()
    leader.do(create("later", 6, 2))
    assert holders(leader, "later") == {1, 2, 3}
