"""The proxy inside a broker: batches, order, splitting, retries."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import pytest

from quorate_broker import config
from quorate_broker.api.context import Leadership
from quorate_broker.cluster.image import PartitionInfo, Topic
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.proxy.local import LocalPort
from quorate_broker.proxy.port import Placed, ProxyRecord
from quorate_broker.wire import batch

LOGS = uuid.UUID(int=1)


class FakeClock:
    def wall_ms(self) -> int:
        return 1_700_000_000_000

    def monotonic_ms(self) -> int:
        return 0


class FakeImage:
    def __init__(self) -> None:
        partitions = tuple(PartitionInfo(index, ()) for index in range(3))
        small = {"max.message.bytes": "400"}
        self.topics = {
            "logs": Topic("logs", LOGS, partitions, small, False),
            "__consumer_offsets": Topic("__consumer_offsets", uuid.UUID(int=2), (), {}, True),
        }


class FakeContext:
    """As much of the node as the port looks at, and its appends."""

    def __init__(self) -> None:
        self.settings = config.Settings(proxy_produce_timeout_ms=200)
        self.clock = FakeClock()
        self.image = FakeImage()
        self.me = 1
        self.controller_id = 1
        self.live_brokers = frozenset({3, 1, 2})
        self.batches: list[tuple[int, list[batch.Record]]] = []
        self.next_offsets = [100, 200, 300]
        self.fail: Callable[[int], ErrorCode | None] = lambda partition: None

    def leader(self, topic_id: uuid.UUID, index: int) -> Leadership:
        return Leadership(1, 0, (1,))

    async def append(
        self, topic_id: uuid.UUID, partition: int, built: bytearray, timeout_ms: int
    ) -> int:
        assert topic_id == LOGS
        code = self.fail(partition)
        if code is not None:
            raise KafkaError(code)
        header = batch.validate_produced(built)
        self.batches.append((partition, batch.records(built)))
        base = self.next_offsets[partition]
        self.next_offsets[partition] += header.count
        return base


def produce(context: FakeContext, *records: ProxyRecord, topic: str = "logs") -> list[Placed]:
    port = LocalPort(context, context.append)  # type: ignore[arg-type]
    return asyncio.run(port.produce(topic, records))


def test_each_record_is_told_where_it_went() -> None:
    context = FakeContext()
    placed = produce(
        context,
        ProxyRecord(b"a", b"1", 2),
        ProxyRecord(None, b"2", 0),
        ProxyRecord(b"c", None, 2),
    )
    assert placed == [Placed(2, 300), Placed(0, 100), Placed(2, 301)]
    by_partition = dict(context.batches)
    assert [(r.key, r.value) for r in by_partition[2]] == [(b"a", b"1"), (b"c", None)]
    assert [(r.key, r.value) for r in by_partition[0]] == [(None, b"2")]


def test_more_than_fits_into_one_batch_becomes_several_in_order() -> None:
    context = FakeContext()
    records = [ProxyRecord(None, b"%3d" % i + b"x" * 100, 1) for i in range(7)]
    placed = produce(context, *records)
    assert [one.offset for one in placed] == list(range(200, 207))
    assert len(context.batches) > 1
    written = [record.value for _, some in context.batches for record in some]
    assert written == [record.value for record in records]


def test_a_record_that_fits_into_no_batch_fails_and_what_came_before_it_does_not() -> None:
    context = FakeContext()
    placed = produce(
        context,
        ProxyRecord(None, b"small", 1),
        ProxyRecord(None, b"x" * 1_000, 1),
        ProxyRecord(None, b"after", 1),
        ProxyRecord(None, b"elsewhere", 0),
    )
    too_large = ErrorCode.MESSAGE_TOO_LARGE
    assert placed == [
        Placed(1, 200),
        Placed(1, -1, too_large),
        Placed(1, -1, too_large),
        Placed(0, 100),
    ]


def test_a_partition_that_does_not_exist_is_that_records_error_alone() -> None:
    placed = produce(FakeContext(), ProxyRecord(None, b"a", 7), ProxyRecord(None, b"b", 0))
    assert placed == [Placed(7, -1, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), Placed(0, 100)]


def test_a_partition_that_loses_its_leader_is_asked_again() -> None:
    context = FakeContext()
    lost, gone = ErrorCode.REQUEST_TIMED_OUT, ErrorCode.LEADER_NOT_AVAILABLE
    answers = iter([lost, gone, ErrorCode.NOT_LEADER_OR_FOLLOWER])
    context.fail = lambda partition: next(answers, None)
    assert produce(context, ProxyRecord(None, b"a", 0)) == [Placed(0, 100)]


def test_without_a_leader_it_gives_up_at_the_timeout() -> None:
    context = FakeContext()
    context.fail = lambda partition: ErrorCode.LEADER_NOT_AVAILABLE
    placed = produce(context, ProxyRecord(None, b"a", 0))
    assert placed == [Placed(0, -1, ErrorCode.REQUEST_TIMED_OUT)]


def test_other_errors_are_told_at_once_and_do_not_touch_other_partitions() -> None:
    context = FakeContext()
    context.fail = lambda partition: ErrorCode.INVALID_RECORD if partition == 0 else None
    placed = produce(context, ProxyRecord(None, b"a", 0), ProxyRecord(None, b"b", 1))
    assert placed == [Placed(0, -1, ErrorCode.INVALID_RECORD), Placed(1, 200)]


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        ("nope", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ("__consumer_offsets", ErrorCode.INVALID_TOPIC_EXCEPTION),
    ],
)
def test_unknown_and_internal_topics_are_refused(topic: str, code: ErrorCode) -> None:
    with pytest.raises(KafkaError) as caught:
        produce(FakeContext(), ProxyRecord(None, b"a"), topic=topic)
    assert caught.value.code is code


def test_internal_topics_are_not_listed() -> None:
    context = FakeContext()
    port = LocalPort(context, context.append)  # type: ignore[arg-type]
    assert asyncio.run(port.topics()) == ["logs"]
    assert asyncio.run(port.brokers()) == [1, 2, 3]
