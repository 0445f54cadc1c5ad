"""ListOffsets and OffsetForLeaderEpoch: where logs begin, end and reach a time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quorate_broker.errors import ErrorCode
from quorate_broker.testing.kafka_client import produce_request, some_batch
from quorate_broker.testing.stub_node import MemoryPartition, StubNode, ask
from quorate_broker.wire.messages import list_offsets, offset_for_leader_epoch


@pytest.fixture
def node() -> StubNode:
    """Offsets 0 and 1 at 1000 ms, 2 at 3000 ms, 3 at 2000 ms; the log starts at 1."""
    node = StubNode()
    (partition,) = node.topic("t")
    for values, timestamp_ms in (((b"a", b"b"), 1000), ((b"c",), 3000), ((b"d",), 2000)):
        sent = some_batch(*values, timestamp_ms=timestamp_ms)
        asyncio.run(ask(node, produce_request("t", memoryview(sent)), 9))
    partition.start_offset = 1
    partition.leader_epoch = 5
    return node


@pytest.fixture
def partition(node: StubNode) -> MemoryPartition:
    (partition,) = node.partitions.values()
    return partition


def listed(node: StubNode, timestamp: int, topic: str = "t", epoch: int = -1) -> Any:
    one = list_offsets.ListOffsetsPartition(
        partition_index=0, timestamp=timestamp, current_leader_epoch=epoch
    )
    request = list_offsets.ListOffsetsRequest(
        replica_id=-1, topics=[list_offsets.ListOffsetsTopic(name=topic, partitions=[one])]
    )
    return asyncio.run(ask(node, request, 8)).topics[0].partitions[0]


@pytest.mark.parametrize(
    ("asked", "offset", "timestamp"),
    [(-1, 4, -1), (-2, 1, -1), (-3, 2, 3000), (-4, 1, -1), (0, 0, 1000), (1001, 2, 3000)],
)
def test_offsets_by_time_and_by_the_special_times(
    node: StubNode, asked: int, offset: int, timestamp: int
) -> None:
    answer = listed(node, asked)
    assert (answer.error_code, answer.offset, answer.timestamp) == (0, offset, timestamp)


def test_the_latest_offset_is_the_high_watermark(
    node: StubNode, partition: MemoryPartition
) -> None:
    partition.high_watermark = 3
    answer = listed(node, -1)
    assert (answer.offset, answer.leader_epoch) == (3, 5)


def test_a_time_that_no_record_has_reached_has_no_offset(node: StubNode) -> None:
    answer = listed(node, 3001)
    assert (answer.error_code, answer.offset, answer.timestamp) == (0, -1, -1)


def test_a_special_time_that_is_not_known_is_refused(node: StubNode) -> None:
    assert listed(node, -5).error_code == ErrorCode.UNSUPPORTED_VERSION


def test_errors_are_each_partitions_own(node: StubNode, partition: MemoryPartition) -> None:
    assert listed(node, -1, "missing").error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert listed(node, -1, epoch=4).error_code == ErrorCode.FENCED_LEADER_EPOCH
    assert listed(node, -1, epoch=6).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH
    partition.is_leader = False
    answer = listed(node, -1)
    assert (answer.error_code, answer.offset) == (ErrorCode.NOT_LEADER_OR_FOLLOWER, -1)


class TestOffsetForLeaderEpoch:
    def end_of(self, node: StubNode, epoch: int, client_epoch: int = -1, topic: str = "t") -> Any:
        one = offset_for_leader_epoch.OffsetForLeaderPartition(
            partition=0, leader_epoch=epoch, current_leader_epoch=client_epoch
        )
        request = offset_for_leader_epoch.OffsetForLeaderEpochRequest(
            topics=[offset_for_leader_epoch.OffsetForLeaderTopic(topic=topic, partitions=[one])]
        )
        return asyncio.run(ask(node, request, 4)).topics[0].partitions[0]

    @pytest.mark.parametrize(
        ("asked", "epoch", "end"),
        [(5, 5, 4), (4, 3, 2), (3, 3, 2), (1, 1, 1), (0, -1, -1), (6, -1, -1), (-1, -1, -1)],
    )
    def test_the_greatest_epoch_not_above_and_its_end(
        self, node: StubNode, partition: MemoryPartition, asked: int, epoch: int, end: int
    ) -> None:
        partition.epochs = {1: 1, 3: 2}
        answer = self.end_of(node, asked)
        assert (answer.error_code, answer.leader_epoch, answer.end_offset) == (0, epoch, end)

    def test_errors_are_each_partitions_own(
        self, node: StubNode, partition: MemoryPartition
    ) -> None:
        unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert self.end_of(node, 5, topic="missing").error_code == unknown
        assert self.end_of(node, 5, 4).error_code == ErrorCode.FENCED_LEADER_EPOCH
        partition.is_leader = False
        answer = self.end_of(node, 5)
        assert (answer.error_code, answer.end_offset) == (ErrorCode.NOT_LEADER_OR_FOLLOWER, -1)


def test_a_leader_asks_its_group_before_it_tells_an_end(
    node: StubNode, partition: MemoryPartition
) -> None:
    """One that was deposed without knowing it would tell an end before what is acknowledged."""
    partition.rounds = 0
    listed(node, -1)
    assert partition.rounds == 1
