"""The cluster's settings in its metadata, and the feature level from which on they are there."""

from __future__ import annotations

import pytest

from quorate_broker.cluster import commands, records
from quorate_broker.cluster.image import Image
from quorate_broker.cluster.machine import Defaults
from quorate_broker.errors import ErrorCode
from quorate_broker.testing.metadata import VOTERS, MetadataLeader


class Leader(MetadataLeader):
    def __init__(self, knows: int = records.FEATURE_LEVEL) -> None:
        super().__init__(knows=knows)
        self.do(commands.FormCluster("c1", VOTERS))

    def register(self, level: int, *node_ids: int, raises: bool = True) -> commands.Reply:
        for node_id in node_ids:
            reply = self.do(
                commands.RegisterBroker(
                    node_id, f"disk-{node_id}", "h", 1, (), None, "1", level, raises
                )
            )
        return reply

    def change(self, **fields: object) -> commands.SettingsResult:
        reply = self.do(commands.ChangeSettings(**fields))  # type: ignore[arg-type]
        assert isinstance(reply, commands.SettingsResult), reply
        return reply

    def refused(self, command: commands.Command) -> tuple[int, str]:
        reply = self.refusal(command)
        return reply.code, reply.message or ""


@pytest.fixture
def leader() -> Leader:
    made = Leader()
    made.register(records.FEATURE_LEVEL, 1, 2, 3)
    return made


def test_a_cluster_is_formed_at_the_oldest_level_and_goes_on_when_the_last_broker_knows_more() -> (
    None
):
    leader = Leader()
    assert leader.image.feature_level == records.OLDEST
    leader.register(records.FEATURE_LEVEL, 1, 2)
    assert leader.image.feature_level == records.OLDEST
    leader.register(records.FEATURE_LEVEL, 3)
    assert leader.image.feature_level == records.FEATURE_LEVEL


def test_a_level_that_is_raised_when_asked_waits_for_that_and_for_every_broker() -> None:
    leader = Leader()
    leader.register(records.FEATURE_LEVEL, 1, 2, raises=False)
    leader.register(records.OLDEST, 3, raises=False)
    code, why = leader.refused(commands.RaiseFeatureLevel(records.SETTINGS))
    assert code == ErrorCode.INVALID_REQUEST
    assert "broker 3 knows 2 only" in why
    leader.register(records.FEATURE_LEVEL, 3, raises=False)
    assert leader.image.feature_level == records.OLDEST
    leader.do(commands.RaiseFeatureLevel(records.SETTINGS))
    assert leader.image.feature_level == records.SETTINGS
    before = len(leader.log)
    leader.do(commands.RaiseFeatureLevel(records.SETTINGS))
    assert len(leader.log) == before


def test_no_setting_is_written_before_every_broker_knows_such_records() -> None:
    leader = Leader()
    leader.register(records.FEATURE_LEVEL, 1, 2)
    leader.register(records.OLDEST, 3)
    code, why = leader.refused(commands.ChangeSettings(put={"num.partitions": "7"}))
    assert code == ErrorCode.UNSUPPORTED_VERSION
    assert "feature level 2" in why


def test_a_leader_of_an_older_version_raises_nothing_that_it_does_not_know() -> None:
    leader = Leader(knows=records.OLDEST)
    leader.register(records.FEATURE_LEVEL, 1, 2, 3)
    assert leader.image.feature_level == records.OLDEST


def test_a_broker_of_an_older_version_is_no_member_any_more_behind_the_level(
    leader: Leader,
) -> None:
    code, why = leader.refused(
        commands.RegisterBroker(2, "disk-2", "h", 1, (), None, "1", records.OLDEST)
    )
    assert code == ErrorCode.UNSUPPORTED_VERSION
    assert "give it the version that the others run" in why


def test_an_older_broker_reads_nothing_behind_the_level_that_it_does_not_know(
    leader: Leader,
) -> None:
    leader.change(put={"num.partitions": "7"})
    image = Image(knows=records.OLDEST)
    for offset, record in enumerate(leader.log):
        image.replay(record, offset)
    assert image.is_beyond
    assert image.settings_version == 0
    restored = Image(knows=records.OLDEST)
    restored.restore(leader.image.encode())
    assert restored.is_beyond


def test_settings_are_put_and_removed_and_each_change_has_a_version(leader: Leader) -> None:
    assert leader.change(put={"num.partitions": "7", "fetch.max.bytes": "4096"}).version == 1
    assert leader.image.settings == {0: {"num.partitions": "7", "fetch.max.bytes": "4096"}}
    assert leader.change(put={"num.partitions": "7"}).version == 1
    assert leader.change(drop=("num.partitions", "max.connections")).version == 2
    assert leader.image.settings == {0: {"fetch.max.bytes": "4096"}}
    assert leader.change(put={"max.connections": "5"}, replace=True).version == 3
    assert leader.image.settings == {0: {"max.connections": "5"}}


def test_one_bad_setting_and_nothing_is_changed_and_each_is_told(leader: Leader) -> None:
    before = len(leader.log)
    result = leader.change(
        put={
            "num.partitions": "many",
            "num.partition": "7",
            "rpc.port": "7",
            "fetch.max.bytes": "4096",
        }
    )
    assert len(leader.log) == before
    assert result.problems == {
        "num.partitions": "must be an integer, not 'many'",
        "num.partition": "unknown setting; did you mean num.partitions?",
        "rpc.port": "is a node's own: it stands in that node's file",
    }


def test_settings_that_contradict_each_other_are_told_at_the_one_that_changed(
    leader: Leader,
) -> None:
    result = leader.change(put={"group.max.session.timeout.ms": "5"})
    assert list(result.problems) == ["group.max.session.timeout.ms"]
    both = {"group.max.session.timeout.ms": "5", "group.min.session.timeout.ms": "5"}
    assert leader.change(put=both).problems == {}
    result = leader.change(drop=("group.max.session.timeout.ms", "group.min.session.timeout.ms"))
    assert result.problems == {}


def test_a_dry_run_tells_the_same_and_writes_nothing(leader: Leader) -> None:
    before = len(leader.log)
    assert leader.change(put={"num.partitions": "7"}, validate_only=True).problems == {}
    assert leader.change(put={"num.partitions": "x"}, validate_only=True).problems
    assert len(leader.log) == before


def test_one_broker_has_settings_of_its_own_where_brokers_may_differ(leader: Leader) -> None:
    leader.change(node_id=2, put={"max.connections": "5"})
    assert leader.image.settings == {2: {"max.connections": "5"}}
    result = leader.change(node_id=2, put={"num.partitions": "7"})
    assert "all brokers share it" in result.problems["num.partitions"]
    code, _ = leader.refused(commands.ChangeSettings(9, {"max.connections": "5"}))
    assert code == ErrorCode.RESOURCE_NOT_FOUND


def test_what_a_broker_set_for_itself_goes_with_it(leader: Leader) -> None:
    leader.change(node_id=3, put={"max.connections": "5"})
    leader.do(commands.DrainBroker(3, True))
    leader.do(commands.RemoveBroker(3, "disk-3"))
    assert leader.image.settings == {}


def test_the_first_settings_are_those_of_a_file_and_are_taken_once(leader: Leader) -> None:
    assert leader.change(put={"num.partitions": "7"}, seed=True).version == 1
    assert leader.change(put={"num.partitions": "9"}, seed=True).version == 1
    assert leader.image.settings == {0: {"num.partitions": "7"}}


def test_a_file_that_sets_nothing_seeds_that(leader: Leader) -> None:
    assert leader.change(seed=True).version == 1
    assert leader.image.settings == {}


def test_what_a_newer_version_took_stands_until_somebody_changes_it(leader: Leader) -> None:
    record = records.SettingsChanged(0, {"of.the.future": "1"})
    leader.machine.replay(records.to_batch_record(record), 0)
    assert leader.change(put={"num.partitions": "7"}).problems == {}
    assert leader.image.settings[0] == {"of.the.future": "1", "num.partitions": "7"}
    assert leader.change(put={"of.the.future": "2"}).problems
    assert leader.change(drop=("of.the.future",)).problems == {}


def test_a_snapshot_holds_the_settings(leader: Leader) -> None:
    leader.change(put={"num.partitions": "7"})
    leader.change(node_id=2, put={"max.connections": "5"})
    restored = Image.decode(leader.image.encode())
    assert restored.settings == leader.image.settings
    assert restored.settings_version == 2


def test_new_defaults_of_topics_count_for_the_next_topic(leader: Leader) -> None:
    leader.machine.configure(Defaults(5, 1))
    leader.do(commands.CreateTopics((commands.NewTopic("t"),)))
    assert len(leader.image.topics["t"].partitions) == 5
