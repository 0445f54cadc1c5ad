"""Where partitions live, who leads them, where their logs begin, and how topics are configured."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quorate_broker.api.context import Leadership
from quorate_broker.api.principal import Operation, Principal, ResourceType
from quorate_broker.cluster import commands
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.testing.stub_node import StubNode, ask
from quorate_broker.wire import batch
from quorate_broker.wire.messages import (
    alter_configs,
    alter_partition_reassignments,
    delete_records,
    describe_configs,
    describe_log_dirs,
    elect_leaders,
    incremental_alter_configs,
    list_partition_reassignments,
    produce,
)

TOPIC, BROKER = 2, 4
SET, DELETE, APPEND, SUBTRACT = range(4)


class Nobody:
    """Allows nothing."""

    def allows(
        self, principal: Principal, operation: Operation, kind: ResourceType, name: str
    ) -> bool:
        return False


def asked(node: StubNode, request: object, version: int = 0) -> Any:
    return asyncio.run(ask(node, request, version))


# --------------------------------------------------------------------------------- reassignments


def move(name: str, index: int, *replicas: int) -> Any:
    return alter_partition_reassignments.ReassignableTopic(
        name=name,
        partitions=[
            alter_partition_reassignments.ReassignablePartition(
                partition_index=index, replicas=replicas or None
            )
        ],
    )


def altered(node: StubNode, *moves: Any, **fields: Any) -> list[int]:
    request = alter_partition_reassignments.AlterPartitionReassignmentsRequest(
        topics=list(moves), **fields
    )
    response = asked(node, request, 1)
    assert response.error_code == 0
    return [one.error_code for topic in response.responses for one in topic.partitions]


def listed(node: StubNode, topics: Any = None) -> list[Any]:
    request = list_partition_reassignments.ListPartitionReassignmentsRequest(topics=topics)
    response = asked(node, request)
    assert response.error_code == 0
    return [
        (topic.name, one.partition_index, one.replicas, one.adding_replicas, one.removing_replicas)
        for topic in response.topics
        for one in topic.partitions
    ]


def placed(node: StubNode, name: str, *replicas: int) -> None:
    new = commands.NewTopic(name, assignments={0: replicas})
    node.decide(commands.CreateTopics((new,)))


def test_a_reassignment_is_listed_until_it_is_given_up() -> None:
    node = StubNode(brokers=4)
    placed(node, "t", 1, 2)
    assert listed(node) == []
    assert altered(node, move("t", 0, 3, 1)) == [0]
    assert listed(node) == [("t", 0, (3, 1, 2), (3,), (2,))]
    wanted = list_partition_reassignments.ListPartitionReassignmentsTopics
    assert listed(node, [wanted(name="t", partition_indexes=[0])]) == listed(node)
    assert listed(node, [wanted(name="t", partition_indexes=[1])]) == []
    assert listed(node, [wanted(name="other", partition_indexes=[0])]) == []
    assert altered(node, move("t", 0)) == [0]
    assert listed(node) == []


def test_each_partition_of_a_reassignment_has_its_own_error() -> None:
    node = StubNode(brokers=3)
    placed(node, "t", 1, 2)
    codes = altered(node, move("t", 0, 9), move("t", 7, 1), move("nobody", 0, 1), move("t", 0, 2))
    assert sorted(codes) == sorted(
        [
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            0,
        ]
    )
    placed(node, "u", 1, 2)
    assert altered(node, move("u", 0)) == [ErrorCode.NO_REASSIGNMENT_IN_PROGRESS]
    assert altered(node, move("u", 0, 3), allow_replication_factor_change=False) == [
        ErrorCode.INVALID_REPLICATION_FACTOR
    ]


def test_without_a_metadata_leader_a_reassignment_is_to_be_asked_again() -> None:
    node = StubNode(brokers=3)
    placed(node, "t", 1)
    node.unreachable = KafkaError(ErrorCode.NOT_CONTROLLER)
    assert altered(node, move("t", 0, 2)) == [ErrorCode.NOT_CONTROLLER]


def test_reassignments_elections_and_directories_need_rights_on_the_cluster() -> None:
    node = StubNode(brokers=3)
    node.authorizer = Nobody()
    for request, version in (
        (alter_partition_reassignments.AlterPartitionReassignmentsRequest(), 0),
        (list_partition_reassignments.ListPartitionReassignmentsRequest(), 0),
        (elect_leaders.ElectLeadersRequest(), 1),
        (describe_log_dirs.DescribeLogDirsRequest(), 3),
    ):
        response = asked(node, request, version)
        assert response.error_code == ErrorCode.CLUSTER_AUTHORIZATION_FAILED


# ------------------------------------------------------------------------------------- elections


def elected(node: StubNode, everything: bool = False, kind: int = 0) -> dict[int, int]:
    places = [elect_leaders.TopicPartitions(topic="t", partitions=[0, 9])]
    request = elect_leaders.ElectLeadersRequest(
        election_type=kind, topic_partitions=None if everything else places
    )
    response = asked(node, request, 2)
    return {
        one.partition_id: one.error_code
        for topic in response.replica_election_results
        for one in topic.partition_result
    }


def test_leaders_go_back_to_the_preferred_replica() -> None:
    node = StubNode(brokers=3)
    placed(node, "t", 2, 1)
    topic_id = node.image.topics["t"].id
    assert node.leaders[topic_id, 0].leader_id == 1
    assert elected(node) == {0: 0, 9: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}
    assert node.leaders[topic_id, 0].leader_id == 2
    assert elected(node)[0] == ErrorCode.ELECTION_NOT_NEEDED
    assert elected(node, everything=True) == {}
    assert elected(node, kind=1)[0] == ErrorCode.ELECTION_NOT_NEEDED


@pytest.mark.parametrize(
    "lead", [Leadership(-1, 1, ()), Leadership(1, 1, (1,)), Leadership(1, 1, (1, 2))]
)
def test_who_is_not_in_sync_or_not_there_is_not_elected(lead: Leadership) -> None:
    node = StubNode(brokers=3)
    placed(node, "t", 2, 1)
    node.leaders[node.image.topics["t"].id, 0] = lead
    if 2 in lead.isr:
        node.live_brokers = frozenset({1, 3})
    assert elected(node)[0] == ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE


def test_an_unclean_election_is_never_held() -> None:
    node = StubNode(brokers=3)
    placed(node, "t", 2, 1)
    node.leaders[node.image.topics["t"].id, 0] = Leadership(-1, 1, ())
    assert elected(node, kind=1)[0] == ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE


# ---------------------------------------------------------------------------------- DeleteRecords


def deleted(node: StubNode, offset: int, name: str = "t", index: int = 0) -> tuple[int, int]:
    partition = delete_records.DeleteRecordsPartition(partition_index=index, offset=offset)
    topic = delete_records.DeleteRecordsTopic(name=name, partitions=[partition])
    response = asked(node, delete_records.DeleteRecordsRequest(topics=[topic], timeout_ms=1000))
    ((answer,),) = [one.partitions for one in response.topics]
    return answer.error_code, answer.low_watermark


def test_records_are_deleted_up_to_the_high_watermark_at_most() -> None:
    node = StubNode()
    (partition,) = node.topic("t")
    partition.next_offset = partition.high_watermark = 10
    assert deleted(node, 4) == (0, 4)
    assert deleted(node, 2) == (0, 4)
    assert deleted(node, 11) == (ErrorCode.OFFSET_OUT_OF_RANGE, -1)
    assert deleted(node, -2) == (ErrorCode.OFFSET_OUT_OF_RANGE, -1)
    assert deleted(node, -1) == (0, 10)


def test_records_are_deleted_only_where_the_partition_is_led_and_that_is_its_policy() -> None:
    node = StubNode()
    (partition,) = node.topic("t")
    node.topic("compacted", cleanup_policy="compact")
    node.topic("both", cleanup_policy="compact,delete")
    assert deleted(node, 0, name="nobody") == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1)
    assert deleted(node, 0, name="compacted") == (ErrorCode.POLICY_VIOLATION, -1)
    assert deleted(node, 0, name="both") == (0, 0)
    partition.refuse = KafkaError(ErrorCode.REQUEST_TIMED_OUT)
    assert deleted(node, 0) == (ErrorCode.REQUEST_TIMED_OUT, -1)
    partition.is_leader = False
    assert deleted(node, 0) == (ErrorCode.NOT_LEADER_OR_FOLLOWER, -1)
    node.authorizer = Nobody()
    assert deleted(node, 0) == (ErrorCode.TOPIC_AUTHORIZATION_FAILED, -1)


# --------------------------------------------------------------------------------- configurations


def configured(node: StubNode, *ops: tuple[str, int, str | None], **fields: Any) -> Any:
    row = incremental_alter_configs.IncrementalAlterableConfig
    resource = incremental_alter_configs.IncrementalAlterConfigsResource(
        resource_type=fields.pop("kind", TOPIC),
        resource_name=fields.pop("name", "t"),
        configs=[row(name=key, config_operation=op, value=value) for key, op, value in ops],
    )
    request = incremental_alter_configs.IncrementalAlterConfigsRequest(
        resources=[resource], **fields
    )
    return asked(node, request, 1).responses[0]


def own(node: StubNode) -> dict[str, str]:
    return dict(node.image.topics["t"].config)


def test_keys_are_set_and_deleted_one_by_one() -> None:
    node = StubNode()
    node.topic("t", retention_ms="1000")
    assert configured(node, ("segment.bytes", SET, "2048")).error_code == 0
    assert own(node) == {"retention.ms": "1000", "segment.bytes": "2048"}
    assert configured(node, ("retention.ms", DELETE, None)).error_code == 0
    assert own(node) == {"segment.bytes": "2048"}
    assert configured(node, ("retention.ms", SET, "5"), validate_only=True).error_code == 0
    assert own(node) == {"segment.bytes": "2048"}
    wanted = describe_configs.DescribeConfigsResource(
        resource_type=TOPIC, resource_name="t", configuration_keys=["segment.bytes"]
    )
    described = asked(node, describe_configs.DescribeConfigsRequest(resources=[wanted]), 4)
    assert [one.value for one in described.results[0].configs] == ["2048"]


def test_lists_are_appended_to_and_taken_from() -> None:
    node = StubNode()
    node.topic("t")
    assert configured(node, ("cleanup.policy", APPEND, "compact")).error_code == 0
    assert own(node) == {"cleanup.policy": "delete,compact"}
    assert configured(node, ("cleanup.policy", APPEND, "compact")).error_code == 0
    assert own(node) == {"cleanup.policy": "delete,compact"}
    assert configured(node, ("cleanup.policy", SUBTRACT, "delete")).error_code == 0
    assert own(node) == {"cleanup.policy": "compact"}


@pytest.mark.parametrize(
    ("op", "code"),
    [
        (("no.such.key", SET, "1"), ErrorCode.INVALID_CONFIG),
        (("no.such.key", DELETE, None), ErrorCode.INVALID_CONFIG),
        (("segment.bytes", SET, "many"), ErrorCode.INVALID_CONFIG),
        (("segment.bytes", SET, None), ErrorCode.INVALID_CONFIG),
        (("segment.bytes", APPEND, "1"), ErrorCode.INVALID_CONFIG),
        (("cleanup.policy", APPEND, "burn"), ErrorCode.INVALID_CONFIG),
        (("cleanup.policy", APPEND, None), ErrorCode.INVALID_CONFIG),
        (("segment.bytes", 9, "1"), ErrorCode.INVALID_REQUEST),
    ],
)
def test_what_cannot_be_is_refused_in_words(op: Any, code: int) -> None:
    node = StubNode()
    node.topic("t")
    answer = configured(node, op)
    assert answer.error_code == code
    assert answer.error_message
    assert own(node) == {}


def test_only_topics_that_there_are_are_configured_and_only_by_who_may() -> None:
    node = StubNode()
    node.topic("t")
    op = ("segment.bytes", SET, "2048")
    twice = configured(node, op, op)
    assert twice.error_code == ErrorCode.INVALID_REQUEST
    nobody = configured(node, op, name="nobody")
    assert nobody.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    node.authorizer = Nobody()
    assert configured(node, op).error_code == ErrorCode.TOPIC_AUTHORIZATION_FAILED


def described(node: StubNode, name: str) -> dict[str, tuple[str | None, int, bool]]:
    """Value, source and whether it is read-only, by key, of a BROKER resource."""
    resource = describe_configs.DescribeConfigsResource(
        resource_type=BROKER, resource_name=name, configuration_keys=None
    )
    request = describe_configs.DescribeConfigsRequest(resources=[resource])
    (result,) = asked(node, request, 4).results
    assert result.error_code == 0
    return {one.name: (one.value, one.config_source, one.read_only) for one in result.configs}


def test_all_brokers_are_configured_by_a_resource_without_a_name_and_one_by_its_id() -> None:
    node = StubNode()
    static = 4
    assert described(node, "1")["num.partitions"] == ("4", 5, False)
    assert described(node, "1")["rpc.port"][2], "who a node is stands in its file"
    assert described(node, "") == {}
    for_all = configured(node, ("num.partitions", SET, "7"), kind=BROKER, name="")
    assert (for_all.error_code, for_all.error_message) == (0, None)
    assert configured(node, ("max.connections", SET, "5"), kind=BROKER, name="1").error_code == 0
    assert described(node, "1")["num.partitions"] == ("7", 3, False)
    assert described(node, "1")["max.connections"] == ("5", 2, False)
    assert described(node, "1")["broker.id"][1] == static
    assert described(node, "") == {"num.partitions": ("7", 3, False)}
    assert configured(node, ("num.partitions", DELETE, None), kind=BROKER, name="").error_code == 0
    assert described(node, "1")["num.partitions"] == ("4", 5, False)


def test_what_brokers_do_not_take_is_told_in_words_and_changes_nothing() -> None:
    node = StubNode()
    bad = configured(node, ("num.partitions", SET, "x"), kind=BROKER, name="")
    assert bad.error_code == ErrorCode.INVALID_CONFIG
    assert bad.error_message == "num.partitions: must be an integer, not 'x'"
    shared = configured(node, ("num.partitions", SET, "7"), kind=BROKER, name="1")
    assert shared.error_code == ErrorCode.INVALID_CONFIG
    for name in ("9", "one"):
        nobody = configured(node, ("max.connections", SET, "5"), kind=BROKER, name=name)
        assert nobody.error_code == ErrorCode.INVALID_REQUEST
    assert configured(node, ("max.connections", SET, None), kind=BROKER, name="").error_code != 0
    node.authorizer = Nobody()
    refused = configured(node, ("max.connections", SET, "5"), kind=BROKER, name="")
    assert refused.error_code == ErrorCode.CLUSTER_AUTHORIZATION_FAILED
    assert node.image.settings == {}


def test_the_old_way_sets_all_keys_at_once() -> None:
    node = StubNode()
    node.topic("t", retention_ms="1000")
    resource = alter_configs.AlterConfigsResource(
        resource_type=TOPIC,
        resource_name="t",
        configs=[alter_configs.AlterableConfig(name="segment.bytes", value="2048")],
    )
    request = alter_configs.AlterConfigsRequest(resources=[resource])
    assert asked(node, request, 2).responses[0].error_code == 0
    assert own(node) == {"segment.bytes": "2048"}
    both = alter_configs.AlterConfigsRequest(resources=[resource, resource])
    codes = [one.error_code for one in asked(node, both, 2).responses]
    assert codes == [ErrorCode.INVALID_REQUEST] * 2


# --------------------------------------------------------------------------------------- log dirs


def test_directories_tell_what_the_replicas_here_take() -> None:
    node = StubNode()
    (first, _) = node.topic("t", 2)
    first.batches.append(memoryview(bytes(100)))
    first.high_watermark, first.next_offset = 7, 5
    (here,) = asked(node, describe_log_dirs.DescribeLogDirsRequest(), 4).results
    assert (here.usable_bytes, here.total_bytes) == (3_000, 10_000)
    assert here.log_dir == node.settings.data_dir
    ((name, partitions),) = [(one.name, one.partitions) for one in here.topics]
    assert name == "t"
    found = [(one.partition_index, one.partition_size, one.offset_lag) for one in partitions]
    assert found == [(0, 100, 2), (1, 0, 0)]
    only = describe_log_dirs.DescribableLogDirTopic(topic="t", partitions=[1])
    (here,) = asked(node, describe_log_dirs.DescribeLogDirsRequest(topics=[only]), 4).results
    assert [one.partition_index for one in here.topics[0].partitions] == [1]


# ---------------------------------------------------------------------------------- compacted logs


def produced(node: StubNode, name: str, *keys: bytes | None) -> Any:
    records = [batch.Record(key=key, value=b"v") for key in keys]
    data = produce.PartitionProduceData(
        index=0, records=memoryview(bytes(batch.build(records, timestamp_ms=1)))
    )
    request = produce.ProduceRequest(
        acks=1,
        timeout_ms=1000,
        topic_data=[produce.TopicProduceData(name=name, partition_data=[data])],
    )
    return asked(node, request, 9).responses[0].partition_responses[0]


def test_a_compacted_topic_takes_no_record_without_a_key_and_names_each() -> None:
    node = StubNode()
    (plain,) = node.topic("plain")
    (compacted,) = node.topic("compacted", cleanup_policy="compact")
    answer = produced(node, "compacted", b"a", None, b"b", None)
    assert answer.error_code == ErrorCode.INVALID_RECORD
    assert [one.batch_index for one in answer.record_errors] == [1, 3]
    assert compacted.appends == 0
    assert produced(node, "compacted", b"a", b"").error_code == 0
    assert produced(node, "plain", None).error_code == 0
    assert plain.appends == compacted.appends == 1
