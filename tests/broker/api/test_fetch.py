"""Fetch: whole batches, limits, errors and the long poll."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.testing.kafka_client import fetch_request, produce_request, some_batch
from quorate_broker.testing.stub_node import MemoryPartition, StubNode, ask
from quorate_broker.wire import batch
from quorate_broker.wire.messages import fetch


def fill(node: StubNode, topic: str, *batches: bytearray, partition: int = 0) -> None:
    for one in batches:
        request = produce_request(topic, memoryview(one), acks=1, partition=partition)
        asyncio.run(ask(node, request, 9))


def fetched(node: StubNode, request: fetch.FetchRequest, version: int = 12) -> Any:
    """The answer for the first partition of the first topic."""
    return asyncio.run(ask(node, request, version)).responses[0].partitions[0]


def several(*wanted: tuple[str, int, int], **fields: int) -> fetch.FetchRequest:
    """A Fetch of (topic, partition, most bytes) each from offset 0."""
    limits = {"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 1 << 20} | fields
    request = fetch.FetchRequest(replica_id=-1, **limits)  # type: ignore[arg-type]
    request.topics = [
        fetch.FetchTopic(
            topic=topic,
            partitions=[
                fetch.FetchPartition(
                    partition=partition, fetch_offset=0, partition_max_bytes=max_bytes
                )
            ],
        )
        for topic, partition, max_bytes in wanted
    ]
    return request


def values(answer: Any) -> list[bytes | None]:
    return [record.value for one in answer.records for record in batch.records(one)]


@pytest.fixture
def node() -> StubNode:
    node = StubNode()
    node.topic("t")
    return node


@pytest.fixture
def partition(node: StubNode) -> MemoryPartition:
    (partition,) = node.partitions.values()
    return partition


def test_batches_come_from_the_offset_on(node: StubNode) -> None:
    fill(node, "t", some_batch(b"a"), some_batch(b"b"), some_batch(b"c"))
    answer = fetched(node, fetch_request("t", 1))
    assert values(answer) == [b"b", b"c"]
    assert (answer.high_watermark, answer.last_stable_offset, answer.log_start_offset) == (3, 3, 0)


def test_an_offset_inside_a_batch_gets_the_whole_batch(node: StubNode) -> None:
    fill(node, "t", some_batch(b"a", b"b", b"c"))
    assert values(fetched(node, fetch_request("t", 2))) == [b"a", b"b", b"c"]


def test_what_is_not_committed_is_not_seen(node: StubNode, partition: MemoryPartition) -> None:
    fill(node, "t", some_batch(b"a"))
    partition.hold_commits = True
    fill(node, "t", some_batch(b"b"))
    assert values(fetched(node, fetch_request("t"))) == [b"a"]
    answer = fetched(node, fetch_request("t", 1))
    assert (answer.error_code, values(answer)) == (0, [])
    assert fetched(node, fetch_request("t", 2)).error_code == 0


def test_an_offset_outside_the_log_is_out_of_range(
    node: StubNode, partition: MemoryPartition
) -> None:
    fill(node, "t", some_batch(b"a"), some_batch(b"b"))
    partition.start_offset = 1
    for offset in (0, 3, -1):
        answer = fetched(node, fetch_request("t", offset))
        assert answer.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
        assert (answer.high_watermark, answer.records) == (-1, ())


def test_nobody_is_out_of_range_by_the_word_of_a_broker_that_may_be_deposed(
    node: StubNode, partition: MemoryPartition
) -> None:
    fill(node, "t", some_batch(b"a"))
    assert fetched(node, fetch_request("t", 2)).error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert partition.rounds == 1
    partition.refuse = KafkaError(ErrorCode.REQUEST_TIMED_OUT)
    answer = fetched(node, fetch_request("t", 2))
    assert answer.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER, "the client asks elsewhere"


class TestLimits:
    def test_one_batch_comes_however_little_is_asked_for(self, node: StubNode) -> None:
        fill(node, "t", some_batch(b"x" * 1000), some_batch(b"b"))
        assert len(fetched(node, several(("t", 0, 1), max_bytes=1)).records) == 1

    def test_only_the_first_partition_may_go_beyond_the_limit(self, node: StubNode) -> None:
        node.topic("u")
        node.topic("v")
        for topic in "tuv":
            fill(node, topic, some_batch(b"x" * 1000))
        request = several(*((topic, 0, 1 << 20) for topic in "tuv"), max_bytes=1500)
        response = asyncio.run(ask(node, request, 12))
        sizes = [len(topic.partitions[0].records) for topic in response.responses]
        assert sizes == [1, 0, 0]
        assert all(topic.partitions[0].error_code == 0 for topic in response.responses)

    def test_the_brokers_own_limit_holds_too(self) -> None:
        node = StubNode(fetch_max_bytes=1500)
        node.topic("t", partitions=2)
        for index in range(2):
            fill(node, "t", some_batch(b"x" * 1000), partition=index)
        response = asyncio.run(ask(node, several(("t", 0, 1 << 20), ("t", 1, 1 << 20)), 12))
        assert [len(topic.partitions[0].records) for topic in response.responses] == [1, 0]


class TestErrors:
    @pytest.mark.parametrize(("topic", "index"), [("missing", 0), ("t", 1), ("t", -1)])
    def test_a_partition_that_does_not_exist(self, node: StubNode, topic: str, index: int) -> None:
        answer = fetched(node, fetch_request(topic, partition=index))
        assert answer.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    def test_who_does_not_lead_says_so(self, node: StubNode, partition: MemoryPartition) -> None:
        partition.is_leader = False
        assert fetched(node, fetch_request("t")).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER

    @pytest.mark.parametrize(
        ("epoch", "code"),
        [
            (-1, ErrorCode.NONE),
            (4, ErrorCode.FENCED_LEADER_EPOCH),
            (5, ErrorCode.NONE),
            (6, ErrorCode.UNKNOWN_LEADER_EPOCH),
        ],
    )
    def test_the_clients_epoch_is_compared(
        self, node: StubNode, partition: MemoryPartition, epoch: int, code: ErrorCode
    ) -> None:
        partition.leader_epoch = 5
        request = fetch_request("t")
        request.topics[0].partitions[0].current_leader_epoch = epoch
        assert fetched(node, request).error_code == code

    def test_zstd_is_not_given_to_those_who_cannot_read_it(self, node: StubNode) -> None:
        sent = batch.build([batch.Record(None, b"v")], timestamp_ms=1, attributes=batch.Codec.ZSTD)
        fill(node, "t", sent)
        answer = fetched(node, fetch_request("t"), version=9)
        assert answer.error_code == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
        assert values(fetched(node, fetch_request("t"), version=10)) == [b"v"]

    def test_a_client_that_poses_as_a_replica_is_refused(self, node: StubNode) -> None:
        request = fetch_request("t")
        request.replica_id = 2
        response = asyncio.run(ask(node, request, 12))
        assert response.error_code == ErrorCode.CLUSTER_AUTHORIZATION_FAILED
        answer = fetched(node, request, version=4)
        assert answer.error_code == ErrorCode.CLUSTER_AUTHORIZATION_FAILED


class TestSessions:
    @pytest.mark.parametrize("session_id", [0, -1, 77])
    @pytest.mark.parametrize("epoch", [0, -1])
    def test_a_full_fetch_is_answered_whatever_session_it_names(
        self, node: StubNode, epoch: int, session_id: int
    ) -> None:
        """kafka-go names session -1."""
        request = fetch_request("t")
        request.session_id, request.session_epoch = session_id, epoch
        response = asyncio.run(ask(node, request, 12))
        assert (response.error_code, response.session_id) == (0, 0)
        assert len(response.responses) == 1

    def test_a_session_that_nobody_gave_is_not_found(self, node: StubNode) -> None:
        request = fetch_request("t")
        request.session_id, request.session_epoch = 77, 3
        response = asyncio.run(ask(node, request, 12))
        assert response.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
        request.session_id = 0
        response = asyncio.run(ask(node, request, 12))
        assert response.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


class TestLongPoll:
    """`ask` waits for the answer; `long` starts one that waits."""

    @staticmethod
    async def long(node: StubNode, request: fetch.FetchRequest) -> asyncio.Task[Any]:
        task = asyncio.create_task(ask(node, request, 12))
        await asyncio.sleep(0)
        return task

    def test_it_ends_when_something_is_committed(
        self, node: StubNode, partition: MemoryPartition
    ) -> None:
        async def run() -> None:
            polling = await self.long(node, fetch_request("t", max_wait_ms=600_000))
            assert not polling.done()
            await ask(node, produce_request("t", memoryview(some_batch(b"new"))), 9)
            assert values((await polling).responses[0].partitions[0]) == [b"new"]
            assert not partition.waiters

        asyncio.run(run())

    def test_it_ends_empty_when_its_time_is_over(
        self, node: StubNode, partition: MemoryPartition
    ) -> None:
        async def run() -> None:
            response = await ask(node, fetch_request("t", max_wait_ms=10), 12)
            assert response.responses[0].partitions[0].error_code == 0
            assert values(response.responses[0].partitions[0]) == []
            assert not partition.waiters

        asyncio.run(run())

    def test_it_waits_for_as_many_bytes_as_it_wants(
        self, node: StubNode, partition: MemoryPartition
    ) -> None:
        async def run() -> None:
            request = fetch_request("t", max_wait_ms=600_000)
            request.min_bytes = 2 * len(some_batch(b"a"))
            polling = await self.long(node, request)
            await ask(node, produce_request("t", memoryview(some_batch(b"a"))), 9)
            for _ in range(5):  # turns of the loop in which it could end
                await asyncio.sleep(0)
            assert not polling.done()
            await ask(node, produce_request("t", memoryview(some_batch(b"b"))), 9)
            assert values((await polling).responses[0].partitions[0]) == [b"a", b"b"]

        asyncio.run(run())

    def test_it_ends_with_an_error_when_leadership_is_lost(
        self, node: StubNode, partition: MemoryPartition
    ) -> None:
        async def run() -> None:
            polling = await self.long(node, fetch_request("t", max_wait_ms=600_000))
            partition.is_leader = False
            partition.moved()
            answer = (await polling).responses[0].partitions[0]
            assert answer.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
            assert not partition.waiters

        asyncio.run(run())

    def test_an_error_in_one_partition_is_not_waited_with(self, node: StubNode) -> None:
        request = several(("t", 0, 1000), ("missing", 0, 1000), max_wait_ms=600_000)
        response = asyncio.run(ask(node, request, 12))
        codes = [topic.partitions[0].error_code for topic in response.responses]
        assert codes == [0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]

    def test_it_looks_once_for_all_that_moved_in_a_turn(
        self, node: StubNode, partition: MemoryPartition, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks: list[int] = []
        read = MemoryPartition.read

        def counted(self: MemoryPartition, *args: Any) -> list[memoryview]:
            looks.append(1)
            return read(self, *args)

        monkeypatch.setattr(MemoryPartition, "read", counted)

        async def run() -> None:
            polling = await self.long(node, fetch_request("t", max_wait_ms=600_000))
            partition.hold_commits = True
            for _ in range(10):
                asking = produce_request("t", memoryview(some_batch()), acks=1)
                await ask(node, asking, 9)
            partition.commit()
            for _ in range(10):
                partition.moved()
            await polling

        asyncio.run(run())
        assert len(looks) == 1


def test_old_data_is_waited_for_and_not_read_on_the_loop(
    node: StubNode, partition: MemoryPartition
) -> None:
    fill(node, "t", some_batch(b"a"))

    async def run() -> None:
        partition.is_cold = True
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(ask(node, fetch_request("t"), 12))
            while partition.warming is None:
                await asyncio.sleep(0)
            assert partition.reads == 0
            partition.warming.set_result(None)
        assert values(asked.result().responses[0].partitions[0]) == [b"a"]
        assert partition.reads == 1

    asyncio.run(run())
