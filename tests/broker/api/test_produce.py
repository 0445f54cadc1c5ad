"""Produce: what is checked, what is appended, what the answer says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quorate_broker.api.context import Leadership
from quorate_broker.api.dispatch import CloseConnection
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.testing.kafka_client import produce_request, some_batch
from quorate_broker.testing.stub_node import StubNode, ask
from quorate_broker.wire import batch
from quorate_broker.wire.messages import produce

RECORD = batch.Record(None, b"value")


def produced(node: StubNode, request: produce.ProduceRequest, version: int = 9) -> list[Any]:
    """The answers for each partition of the first topic."""
    response = asyncio.run(ask(node, request, version))
    answers: list[Any] = list(response.responses[0].partition_responses)
    return answers


def code_of(node: StubNode, sent: bytes | bytearray, version: int = 9) -> int:
    (answer,) = produced(node, produce_request("t", memoryview(sent)), version)
    code: int = answer.error_code
    return code


@pytest.fixture
def node() -> StubNode:
    node = StubNode()
    node.topic("t")
    return node


def test_a_batch_is_appended_as_it_came_but_for_its_offset_and_epoch(node: StubNode) -> None:
    sent = some_batch(b"one", b"two")
    for base_offset in (0, 2):
        (answer,) = produced(node, produce_request("t", memoryview(sent)))
        assert (answer.error_code, answer.base_offset, answer.log_start_offset) == (
            0,
            base_offset,
            0,
        )
        assert answer.log_append_time_ms == -1
    (partition,) = node.partitions.values()
    for base_offset, stored in zip((0, 2), partition.batches, strict=True):
        header = batch.parse_header(stored)
        assert (header.base_offset, header.leader_epoch) == (base_offset, 1)
        assert stored[16:] == sent[16:]


def test_the_answer_waits_for_the_commit(node: StubNode) -> None:
    (partition,) = node.partitions.values()
    partition.hold_commits = True

    async def run() -> None:
        asked = asyncio.create_task(ask(node, produce_request("t", memoryview(some_batch())), 9))
        await asyncio.sleep(0)
        assert partition.appends == 1
        assert not asked.done()
        partition.commit()
        assert (await asked).responses[0].partition_responses[0].error_code == 0

    asyncio.run(run())


def test_what_becomes_of_the_append_later_is_the_partitions_error_code(node: StubNode) -> None:
    (partition,) = node.partitions.values()
    partition.hold_commits = True

    async def run(error: Exception) -> int:
        asked = asyncio.create_task(ask(node, produce_request("t", memoryview(some_batch())), 9))
        await asyncio.sleep(0)
        partition.fail_held(error)
        code: int = (await asked).responses[0].partition_responses[0].error_code
        return code

    timed_out = KafkaError(ErrorCode.REQUEST_TIMED_OUT)
    assert asyncio.run(run(timed_out)) == ErrorCode.REQUEST_TIMED_OUT
    assert asyncio.run(run(ValueError("our bug"))) == ErrorCode.UNKNOWN_SERVER_ERROR


def test_acks_of_one_do_not_wait_for_the_commit(node: StubNode) -> None:
    (partition,) = node.partitions.values()
    partition.hold_commits = True
    (answer,) = produced(node, produce_request("t", memoryview(some_batch()), acks=1))
    assert (answer.error_code, answer.base_offset) == (0, 0)


def test_acks_of_zero_have_no_answer(node: StubNode) -> None:
    request = produce_request("t", memoryview(some_batch()), acks=0)
    assert asyncio.run(ask(node, request, 9)) is None
    assert next(iter(node.partitions.values())).appends == 1


def test_with_acks_of_zero_an_error_can_only_close_the_connection(node: StubNode) -> None:
    request = produce_request("missing", memoryview(some_batch()), acks=0)
    with pytest.raises(CloseConnection):
        asyncio.run(ask(node, request, 9))


@pytest.mark.parametrize("acks", [2, -2, 7])
def test_other_acks_are_refused(node: StubNode, acks: int) -> None:
    (answer,) = produced(node, produce_request("t", memoryview(some_batch()), acks=acks))
    assert answer.error_code == ErrorCode.INVALID_REQUIRED_ACKS
    assert next(iter(node.partitions.values())).appends == 0


def test_one_partitions_error_is_not_the_others(node: StubNode) -> None:
    node.topic("wide", partitions=2)
    good, bad = some_batch(), some_batch()
    bad[-1] ^= 1
    request = produce_request("wide", *map(memoryview, (good, bad, good)))
    codes = [answer.error_code for answer in produced(node, request)]
    assert codes == [0, ErrorCode.CORRUPT_MESSAGE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


def test_a_flipped_bit_is_noticed(node: StubNode) -> None:
    for at in (17, 21, 30, 70):
        sent = some_batch(b"some value that is long enough")
        sent[at] ^= 1
        assert code_of(node, sent) == ErrorCode.CORRUPT_MESSAGE


def test_two_batches_for_one_partition_are_refused(node: StubNode) -> None:
    assert code_of(node, some_batch() + some_batch()) == ErrorCode.INVALID_RECORD


def test_nothing_for_a_partition_is_refused(node: StubNode) -> None:
    assert code_of(node, b"") == ErrorCode.INVALID_RECORD
    data = produce.PartitionProduceData(index=0, records=None)
    request = produce_request("t")
    request.topic_data[0].partition_data = [data]
    (answer,) = produced(node, request)
    assert answer.error_code == ErrorCode.INVALID_RECORD


def test_a_control_batch_is_refused(node: StubNode) -> None:
    sent = batch.build([RECORD], timestamp_ms=1, attributes=batch.CONTROL)
    assert code_of(node, sent) == ErrorCode.INVALID_RECORD


def test_zstd_needs_version_seven(node: StubNode) -> None:
    sent = batch.build([RECORD], timestamp_ms=1, attributes=batch.Codec.ZSTD)
    assert code_of(node, sent, version=3) == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
    assert code_of(node, sent, version=7) == 0


def test_the_longest_batch_is_the_topics_own_or_the_brokers() -> None:
    node = StubNode(message_max_bytes=1000)
    node.topic("t")
    node.topic("short", max_message_bytes="200")
    batches = {size: memoryview(some_batch(b"x" * size)) for size in (50, 500, 1000)}
    for topic, fits in (("t", {50, 500}), ("short", {50})):
        for size, sent in batches.items():
            (answer,) = produced(node, produce_request(topic, sent))
            assert answer.error_code == (0 if size in fits else ErrorCode.MESSAGE_TOO_LARGE)


def test_transactions_are_refused_in_a_way_that_clients_take_as_final(node: StubNode) -> None:
    request = produce_request("t", memoryview(some_batch()))
    request.transactional_id = "mine"
    (answer,) = produced(node, request)
    assert answer.error_code == ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    sent = batch.build(
        [RECORD],
        timestamp_ms=1,
        attributes=batch.TRANSACTIONAL,
        producer_id=1,
        producer_epoch=0,
        base_sequence=0,
    )
    assert code_of(node, sent) == ErrorCode.INVALID_TXN_STATE


def test_clients_do_not_write_to_internal_topics(node: StubNode) -> None:
    asyncio.run(node.ensure_internal_topic())
    (answer,) = produced(node, produce_request("__consumer_offsets", memoryview(some_batch())))
    assert answer.error_code == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_who_does_not_lead_says_so(node: StubNode) -> None:
    (partition,) = node.partitions.values()
    partition.is_leader = False
    assert code_of(node, some_batch()) == ErrorCode.NOT_LEADER_OR_FOLLOWER
    node.partitions.clear()
    assert code_of(node, some_batch()) == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_the_partition_is_told_of_a_batch_that_too_few_replicas_refuse() -> None:
    node = StubNode(3)
    (partition,) = node.topic("t", replicas=3, min_insync_replicas="2")
    ((key, lead),) = node.leaders.items()
    node.leaders[key] = Leadership(1, lead.epoch, (1,))
    assert code_of(node, some_batch()) == ErrorCode.NOT_ENOUGH_REPLICAS
    assert (partition.appends, partition.refusals) == (0, 1)


def test_what_the_partition_refuses_at_once_is_its_error_code(node: StubNode) -> None:
    (partition,) = node.partitions.values()
    partition.refuse = KafkaError(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, "a gap")
    (answer,) = produced(node, produce_request("t", memoryview(some_batch())))
    assert answer.error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert answer.error_message == "a gap"


def test_an_append_that_is_a_coroutine_works_too(node: StubNode) -> None:
    (partition,) = node.partitions.values()
    as_future = partition.append

    async def append(*args: Any) -> Any:
        return await as_future(*args)

    object.__setattr__(node, "partition", lambda *_: _Slow(partition, append))
    (answer,) = produced(node, produce_request("t", memoryview(some_batch())))
    assert (answer.error_code, answer.base_offset) == (0, 0)


class _Slow:
    """A partition whose append is a coroutine."""

    def __init__(self, partition: Any, append: Any) -> None:
        self._partition = partition
        self.append = append

    def __getattr__(self, name: str) -> Any:
        return getattr(self._partition, name)
