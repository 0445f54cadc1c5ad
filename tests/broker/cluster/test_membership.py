"""Brokers come, are replaced, are drained and go; partitions move; older logs still replay."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate_broker import seams
from quorate_broker.cluster import commands, members, placement, reassignment, records
from quorate_broker.cluster.commands import Reassignment
from quorate_broker.cluster.image import Image, PartitionInfo
from quorate_broker.cluster.machine import ClusterMachine, Defaults
from quorate_broker.cluster.records import Member
from quorate_broker.errors import ErrorCode
from quorate_broker.testing.metadata import VOTERS, MetadataLeader
from quorate_broker.wire import batch

NEW_1 = Member(1, "new-disk-1")


class Leader(MetadataLeader):
    """With one topic of three partitions."""

    def __init__(self, topic: bool = True) -> None:
        super().__init__()
        self.do(commands.FormCluster("c1", VOTERS))
        if topic:
            self.do(commands.CreateTopics((commands.NewTopic("t"),)))

    def refused(self, command: commands.Command) -> int:
        reply = self.refusal(command)
        assert reply.message
        return reply.code

    def partition(self, index: int = 0) -> PartitionInfo:
        return self.image.topics["t"].partitions[index]

    def move(self, *replicas: int, index: int = 0) -> int:
        reply = self.do(commands.ReassignPartitions((Reassignment("t", index, tuple(replicas)),)))
        assert isinstance(reply, commands.TopicResults)
        return reply.results[0].code

    def give_up(self, index: int = 0) -> int:
        reply = self.do(commands.ReassignPartitions((Reassignment("t", index, None),)))
        assert isinstance(reply, commands.TopicResults)
        return reply.results[0].code

    def settle(self, index: int = 0) -> None:
        """The partition's leader says that it has got there."""
        info = self.partition(index)
        assert info.target is not None
        topic_id = str(self.image.topics["t"].id)
        done = commands.Settled(topic_id, index, info.moves, info.target)
        self.do(commands.SettlePartitions((done,)))


@pytest.fixture
def leader() -> Leader:
    return Leader()


def join(node_id: int, incarnation: str, replace: bool = False, level: int = 2) -> commands.Command:
    return commands.AdmitBroker(node_id, incarnation, f"b{node_id}", 33145, level, replace)


def register(member: Member, level: int = 2, rack: str | None = None) -> commands.Command:
    return commands.RegisterBroker(
        member.node_id, member.incarnation, f"b{member.node_id}", 33145, (), rack, "1", level
    )


# ------------------------------------------------------------------------------------- members


def test_a_broker_of_a_new_id_is_admitted_once(leader: Leader) -> None:
    assert leader.do(join(4, "disk-4")) == commands.Admitted("c1")
    before = len(leader.log)
    assert leader.do(join(4, "disk-4")) == commands.Admitted("c1")
    assert len(leader.log) == before
    assert leader.image.members == (*VOTERS, Member(4, "disk-4"))
    assert leader.image.addresses[4] == ("b4", 33145)


def test_another_disk_of_a_connected_broker_is_refused(leader: Leader) -> None:
    assert leader.refused(join(1, "new-disk-1")) == ErrorCode.DUPLICATE_BROKER_REGISTRATION
    assert leader.image.members == VOTERS


@pytest.mark.parametrize("node_id", [0, 100, 101])
def test_a_broker_has_an_id_from_1_to_99(leader: Leader, node_id: int) -> None:
    assert leader.refused(join(node_id, "disk")) == ErrorCode.INVALID_REQUEST


def test_a_replaced_disk_is_void_for_ever_and_the_new_one_is_to_take_its_places(
    leader: Leader,
) -> None:
    leader.do(register(VOTERS[0]))
    assert leader.do(join(1, NEW_1.incarnation, replace=True)) == commands.Admitted("c1")
    image = leader.image
    assert image.members == (NEW_1, VOTERS[1], VOTERS[2])
    assert image.retired == {"disk-1": 1}
    assert 1 not in image.brokers
    for info in image.topics["t"].partitions:
        assert info.target is not None
        assert VOTERS[0] in info.voters
        assert VOTERS[0] not in info.target
        assert NEW_1 in info.target
        assert info.moves == 1
        assert sorted(info.replicas) == [1, 2, 3]
        assert info.adding == info.removing == ()
    code = leader.refused(join(1, "disk-1", replace=True))
    assert code == ErrorCode.DUPLICATE_BROKER_REGISTRATION
    code = leader.refused(register(VOTERS[0]))
    assert code == ErrorCode.BROKER_ID_NOT_REGISTERED


def test_a_disk_lost_while_a_partition_moves_is_replaced_in_the_target(leader: Leader) -> None:
    leader.do(join(4, "disk-4"))
    assert leader.move(4, 2, 3) == 0
    leader.do(join(4, "disk-4b", replace=True))
    assert leader.partition().target == (Member(4, "disk-4b"), *VOTERS[1:])
    assert leader.partition().voters == tuple(sorted(leader.partition().voters))
    leader.do(join(1, NEW_1.incarnation, replace=True))
    assert leader.partition().target == (Member(4, "disk-4b"), *VOTERS[1:])


def test_at_most_nine_members_vote_on_metadata(leader: Leader) -> None:
    for node_id in range(4, 12):
        leader.do(join(node_id, f"disk-{node_id}"))
    assert [one.node_id for one in leader.image.metadata_voters] == list(range(1, 10))
    assert len(leader.image.members) == 11


# ----------------------------------------------------------------------------------- partitions


def test_a_partition_moves_and_settles(leader: Leader) -> None:
    leader.do(join(4, "disk-4"))
    before = leader.partition().voters
    assert leader.move(4, 1, 2) == 0
    info = leader.partition()
    assert info.voters == before
    assert info.replicas == (4, 1, 2, 3)
    assert info.adding == (4,)
    assert info.removing == (3,)
    assert [topic.name for topic, _ in reassignment.moving(leader.image)] == ["t"]
    leader.settle()
    info = leader.partition()
    assert info.replicas == (4, 1, 2)
    assert (info.target, info.moves) == (None, 1)


@pytest.mark.parametrize("replicas", [(), (1, 1), (1, 9)])
def test_replicas_must_be_distinct_brokers(leader: Leader, replicas: tuple[int, ...]) -> None:
    assert leader.move(*replicas) == ErrorCode.INVALID_REPLICA_ASSIGNMENT
    assert leader.partition().target is None


def test_the_number_of_replicas_changes_only_where_that_is_allowed(leader: Leader) -> None:
    wish = Reassignment("t", 0, (1, 2), keep_factor=True)
    reply = leader.do(commands.ReassignPartitions((wish,)))
    assert isinstance(reply, commands.TopicResults)
    assert reply.results[0].code == ErrorCode.INVALID_REPLICATION_FACTOR
    assert leader.move(1, 2) == 0


def test_giving_up_a_move_is_a_move_back_and_keeps_everyone_who_may_be_a_voter(
    leader: Leader,
) -> None:
    for node_id in (4, 5, 6):
        leader.do(join(node_id, f"disk-{node_id}"))
    assert leader.give_up() == ErrorCode.NO_REASSIGNMENT_IN_PROGRESS
    leader.move(4, 5, 6)
    assert leader.give_up() == 0
    info = leader.partition()
    assert info.target == info.voters
    assert info.moves == 2
    assert {one.node_id for one in info.holders} == {1, 2, 3, 4, 5, 6}
    assert info.adding == info.removing == ()
    leader.settle()
    assert {one.node_id for one in leader.partition().holders} == {1, 2, 3}


def test_a_word_of_an_earlier_target_settles_nothing(leader: Leader) -> None:
    leader.do(join(4, "disk-4"))
    leader.move(4, 1, 2)
    stale = leader.partition()
    assert stale.target is not None
    leader.give_up()
    leader.move(4, 1, 2)
    topic_id = str(leader.image.topics["t"].id)
    before = len(leader.log)
    leader.do(
        commands.SettlePartitions((commands.Settled(topic_id, 0, stale.moves, stale.target),))
    )
    assert len(leader.log) == before
    leader.settle()
    assert leader.partition().replicas == (4, 1, 2)


def test_a_wish_that_is_fulfilled_already_writes_nothing(leader: Leader) -> None:
    before = len(leader.log)
    assert leader.move(*leader.partition().replicas) == 0
    assert len(leader.log) == before


# ---------------------------------------------------------------------------------------- drain


def test_a_drained_broker_gets_nothing_new_and_gives_what_it_has(leader: Leader) -> None:
    leader.do(join(4, "disk-4"))
    assert leader.do(commands.DrainBroker(3, True)) == commands.Done()
    created = leader.do(commands.CreateTopics((commands.NewTopic("u"),)))
    assert isinstance(created, commands.TopicResults)
    assert all(3 not in one.replicas for one in leader.image.topics["u"].partitions)
    assert leader.refused(commands.RemoveBroker(3, "disk-3")) == ErrorCode.INVALID_REQUEST
    rounds = 0
    while True:
        wishes, stuck = reassignment.drain_step(leader.image, limit=2)
        if not wishes:
            break
        rounds += 1
        assert len(wishes) <= 2
        assert stuck == []
        leader.do(commands.ReassignPartitions(tuple(wishes)))
        assert reassignment.drain_step(leader.image, limit=2)[0] == []
        for wish in wishes:
            leader.settle(wish.index)
    assert rounds == 2
    assert members.held_by(leader.image, VOTERS[2]) == 0
    assert leader.do(commands.RemoveBroker(3, "disk-3")) == commands.Done()
    assert leader.image.member(3) is None
    assert leader.image.retired == {"disk-3": 3}
    assert leader.image.draining == frozenset()
    assert leader.do(commands.RemoveBroker(3, "disk-3")) == commands.Done()


def test_nobody_joins_under_the_id_of_a_broker_that_left_until_it_is_taken_back(
    leader: Leader,
) -> None:
    leader.do(join(4, "disk-4"))
    leader.do(commands.DrainBroker(4, True))
    leader.do(commands.RemoveBroker(4, "disk-4"))
    assert leader.refused(join(4, "disk-4b")) == ErrorCode.INVALID_REQUEST
    assert leader.refused(commands.DrainBroker(4, True)) == ErrorCode.RESOURCE_NOT_FOUND
    restored = Image.decode(leader.image.encode())
    assert restored.departed == frozenset({4})
    assert leader.do(commands.DrainBroker(4, False)) == commands.Done()
    assert leader.do(join(4, "disk-4b")) == commands.Admitted("c1")
    assert leader.image.departed == frozenset()


def test_what_no_other_broker_can_take_is_told_as_stuck(leader: Leader) -> None:
    leader.do(commands.DrainBroker(3, True))
    wishes, stuck = reassignment.drain_step(leader.image, limit=10)
    assert wishes == []
    assert {(one.topic, one.index) for one in stuck} == {("t", 0), ("t", 1), ("t", 2)}


def test_taking_a_drain_back_turns_its_moves_round(leader: Leader) -> None:
    leader.do(join(4, "disk-4"))
    leader.do(commands.DrainBroker(3, True))
    wishes, _ = reassignment.drain_step(leader.image, limit=1)
    leader.do(commands.ReassignPartitions(tuple(wishes)))
    leader.do(commands.DrainBroker(3, False))
    (moved,) = [info for _, info in reassignment.moving(leader.image)]
    assert moved.target == moved.voters
    assert leader.image.draining == frozenset()


def test_the_last_broker_cannot_be_drained(leader: Leader) -> None:
    leader.do(commands.DrainBroker(1, True))
    leader.do(commands.DrainBroker(2, True))
    assert leader.refused(commands.DrainBroker(3, True)) == ErrorCode.INVALID_REQUEST
    assert leader.refused(commands.DrainBroker(9, True)) == ErrorCode.RESOURCE_NOT_FOUND


# --------------------------------------------------------------------------------------- config


def test_a_topics_configuration_changes_key_by_key_or_as_a_whole(leader: Leader) -> None:
    def change(**change: object) -> None:
        one = commands.ConfigChange("t", **change)  # type: ignore[arg-type]
        leader.do(commands.ChangeTopicConfigs((one,)))

    def config() -> dict[str, str]:
        return dict(leader.image.topics["t"].config)

    change(put={"a": "1", "b": "2"})
    change(put={"b": "3"}, drop=("a", "z"))
    assert config() == {"b": "3"}
    before = len(leader.log)
    change(put={"b": "3"})
    assert len(leader.log) == before
    change(put={"c": "4"}, replace=True)
    assert config() == {"c": "4"}
    nobody = commands.ConfigChange("nobody")
    reply = leader.do(commands.ChangeTopicConfigs((nobody,)))
    assert isinstance(reply, commands.TopicResults)
    assert reply.results[0].code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


# ---------------------------------------------------------------------------------------- levels


def old_cluster() -> Leader:
    """A cluster that an older version formed: its log knows nothing of feature level 2."""
    made = Leader(topic=False)
    made.machine = ClusterMachine(Defaults(3, 3), lambda: seams.new_uuid(random.Random(1)))
    record = records.to_batch_record(records.ClusterFormed("c1", VOTERS, 1))
    made.log = [record]
    made.machine.replay(record, 0)
    return made


def test_nothing_of_a_new_level_is_written_before_every_member_knows_it() -> None:
    leader = old_cluster()
    for command in (join(4, "disk-4"), commands.DrainBroker(1, True)):
        assert leader.refused(command) == ErrorCode.UNSUPPORTED_VERSION
    leader.do(register(VOTERS[0]))
    leader.do(register(VOTERS[1], level=1))
    leader.do(register(VOTERS[2]))
    assert leader.image.feature_level == 1
    leader.do(register(VOTERS[1], level=2))
    assert leader.image.feature_level == 2
    assert leader.do(join(4, "disk-4")) == commands.Admitted("c1")


def test_a_broker_of_an_older_version_does_not_join_a_newer_cluster(leader: Leader) -> None:
    assert leader.refused(join(4, "disk-4", level=1)) == ErrorCode.UNSUPPORTED_VERSION


def test_a_registration_of_an_older_broker_is_of_level_1() -> None:
    old = {
        "type": "broker-registered",
        "node_id": 1,
        "incarnation": "disk-1",
        "rpc_host": "b1",
        "rpc_port": 1,
        "listeners": [],
        "rack": None,
        "version": "0.1",
    }
    record = records.from_batch_record(batch.Record(key=None, value=msgspec.msgpack.encode(old)))
    assert isinstance(record, records.BrokerRegistered)
    assert record.feature_level == 1


# ------------------------------------------------------------------------------------- snapshots


def replayed(log: list[batch.Record]) -> Image:
    image = Image()
    for offset, record in enumerate(log):
        image.replay(record, offset)
    return image


def test_an_image_from_a_snapshot_is_the_image_and_goes_on_like_it(leader: Leader) -> None:
    leader.do(register(VOTERS[1], rack="a"))
    leader.do(join(4, "disk-4"))
    leader.do(join(1, NEW_1.incarnation, replace=True))
    leader.do(commands.DrainBroker(3, True))
    leader.move(4, 1, 2)
    leader.do(commands.ChangeTopicConfigs((commands.ConfigChange("t", {"a": "b"}),)))
    leader.do(commands.AllocateProducerIds())
    copy = Image.decode(leader.image.encode())
    assert copy.encode() == leader.image.encode() == replayed(leader.log).encode()
    assert copy.topics == leader.image.topics
    assert copy.brokers == leader.image.brokers
    taken = len(leader.log)
    leader.settle()
    leader.do(commands.CreateTopics((commands.NewTopic("later"),)))
    for offset, record in enumerate(leader.log[taken:], taken):
        copy.replay(record, offset)
    assert copy.encode() == leader.image.encode()


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_other_bytes_are_no_snapshot_and_change_nothing(content: bytes) -> None:
    leader = Leader()
    before = leader.image.encode()
    with pytest.raises(ValueError, match="snapshot"):
        leader.image.restore(content)
    assert leader.image.encode() == before


# ----------------------------------------------------------------------------------------- racks


@given(
    racks=st.lists(st.sampled_from("abcd"), min_size=1, max_size=12),
    factor=st.integers(1, 5),
    partitions=st.integers(1, 40),
    start=st.integers(0, 50),
)
def test_replicas_are_spread_over_racks_first(
    racks: list[str], factor: int, partitions: int, start: int
) -> None:
    some = [Member(i, "x") for i in range(1, len(racks) + 1)]
    by_id = dict(enumerate(racks, 1))
    factor = min(factor, len(some))
    rows = placement.place(some, partitions, factor, start, by_id)
    assert len(rows) == partitions
    for row in rows:
        assert len(set(row)) == factor
        used = {by_id[one.node_id] for one in row}
        assert len(used) == min(factor, len(set(racks)))


@given(per_rack=st.integers(1, 4), racks=st.integers(1, 4), factor=st.integers(1, 3))
def test_leaders_come_out_even_over_racks(per_rack: int, racks: int, factor: int) -> None:
    by_id = {i + 1: "abcd"[i % racks] for i in range(per_rack * racks)}
    some = [Member(i, "x") for i in by_id]
    rows = placement.place(some, 3 * len(some), min(factor, len(some)), 0, by_id)
    assert {sum(row[0] == one for row in rows) for one in some} == {3}


def test_racks_count_only_when_every_broker_has_one() -> None:
    leader = Leader(topic=False)
    leader.do(register(VOTERS[0], rack="a"))
    leader.do(register(VOTERS[1]))
    assert placement.racks(leader.image.brokers.values()) == {}
    leader.do(register(VOTERS[1], rack="b"))
    assert placement.racks(leader.image.brokers.values()) == {1: "a", 2: "b"}


def test_a_drain_prefers_another_rack_to_an_idle_broker() -> None:
    leader = Leader(topic=False)
    for one, rack in zip(VOTERS, "abc", strict=True):
        leader.do(register(one, rack=rack))
    for node_id, rack in ((4, "a"), (5, "c")):
        leader.do(join(node_id, f"disk-{node_id}"))
        leader.do(register(Member(node_id, f"disk-{node_id}"), rack=rack))
    three = commands.NewTopic("t", assignments={0: (1, 2, 3)})
    leader.do(commands.CreateTopics((three,)))
    leader.do(commands.DrainBroker(3, True))
    (wish,), _ = reassignment.drain_step(leader.image, limit=9)
    assert wish.replicas == (1, 2, 5)
