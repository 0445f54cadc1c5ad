"""Idempotent producers: what is new, repeated or out of order; and rolling back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.partition import producers
from quorate_broker.partition.producers import ProducerTable
from quorate_broker.wire import batch
from quorate_broker.wire.batch import BatchHeader, Record

LAST = 2**31 - 1


def header(first: int, count: int = 1, *, producer: int = 7, epoch: int = 0) -> BatchHeader:
    built = batch.build([Record(None, b"x")], timestamp_ms=0, producer_id=producer)
    return msgspec.structs.replace(
        batch.parse_header(built),
        producer_epoch=epoch,
        base_sequence=first,
        last_offset_delta=count - 1,
        count=count,
    )


def filled(*batches: BatchHeader) -> ProducerTable:
    table = ProducerTable()
    index = -1
    for each in batches:
        index += each.count
        table.record(each, index - each.count + 1, index)
    return table


def code(table: ProducerTable, each: BatchHeader) -> ErrorCode:
    with pytest.raises(KafkaError) as raised:
        table.check(each)
    return raised.value.code


def test_a_producer_begins_with_zero() -> None:
    assert ProducerTable().check(header(0)) is None
    assert code(ProducerTable(), header(3)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_numbers_go_on_without_a_gap() -> None:
    table = filled(header(0, 3))
    assert table.check(header(3)) is None
    assert code(table, header(4)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert code(table, header(2)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_numbers_wrap_around() -> None:
    table = filled(header(0), header(LAST - 1, 4))
    assert header(LAST - 1, 4).last_sequence == 1
    assert table.check(header(2)) is None
    assert table.check(header(LAST - 1, 4)) is not None


def test_the_last_five_batches_are_recognised() -> None:
    table = filled(*(header(number) for number in range(7)))
    assert code(table, header(1)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    for number in range(2, 7):
        repeated = table.check(header(number))
        assert repeated is not None
        assert (repeated.base_offset, repeated.last_index) == (number, number)


def test_a_batch_of_another_length_is_no_repetition() -> None:
    table = filled(header(0, 3))
    assert code(table, header(0, 2)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_an_older_epoch_is_fenced_and_a_newer_one_begins_again() -> None:
    table = filled(header(0, epoch=2))
    assert code(table, header(1, epoch=1)) is ErrorCode.INVALID_PRODUCER_EPOCH
    assert code(table, header(1, epoch=3)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert table.check(header(0, epoch=3)) is None


def test_a_new_epoch_forgets_the_batches_of_the_old_one() -> None:
    table = filled(header(0), header(1), header(0, epoch=1))
    assert table.check(header(1, epoch=1)) is None


def test_a_cut_off_batch_is_new_again() -> None:
    table = filled(header(0), header(1), header(2))
    table.rollback(0)
    assert table.check(header(1)) is None
    table.rollback(-1)
    assert len(table) == 0


def test_what_is_settled_is_never_cut_off() -> None:
    table = filled(header(0), header(1))
    table.settle(1)
    with pytest.raises(AssertionError, match="settled"):
        table.rollback(0)


def test_a_snapshot_holds_what_is_settled_and_no_more() -> None:
    table = filled(header(0), header(1), header(0, producer=8), header(2))
    table.settle(1)
    restored = ProducerTable(1, table.snapshot())
    assert restored.check(header(2)) is None
    assert restored.check(header(1)) is not None
    assert len(restored) == 1


def test_a_snapshot_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected"):
        ProducerTable(0, b"\x93\x01\x02\x03")


def test_the_least_recently_active_are_forgotten_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(producers, "MAX_PRODUCERS", 2)
    table = filled(header(0, producer=1), header(0, producer=2), header(1, producer=1))
    table.record(header(0, producer=3), 3, 3)
    table.settle(3)
    assert len(table) == 2
    assert code(table, header(1, producer=2)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert table.check(header(2, producer=1)) is None


steps = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(0, 2), st.integers(1, 3)),
        st.tuples(st.just("rollback"), st.integers(0, 6), st.just(0)),
        st.tuples(st.just("settle"), st.integers(0, 6), st.just(0)),
    ),
    max_size=40,
)


@given(steps)
def test_rolling_back_is_as_if_it_never_happened(script: list[tuple[str, int, int]]) -> None:
    table = ProducerTable()
    history: list[tuple[int, BatchHeader]] = []
    settled = -1
    for what, number, count in script:
        last = history[-1][0] if history else -1
        if what == "record":
            sequence = sum(h.count for _, h in history if h.producer_id == number)
            each = header(sequence, count, producer=number)
            history.append((last + count, each))
            table.record(each, last + 1, last + count)
        elif what == "settle":
            settled = max(settled, history[-1 - number][0] if number < len(history) else -1)
            table.settle(settled)
        else:
            kept = max(0, len(history) - number)
            while kept < len(history) and history[kept][0] <= settled:
                kept += 1
            del history[kept:]
            table.rollback(history[-1][0] if history else -1)
    expected = filled(*(each for _, each in history))
    for number in range(3):
        sequence = sum(h.count for _, h in history if h.producer_id == number)
        assert table.check(header(sequence, producer=number)) is None
        for _, each in history[-1:]:
            assert table.check(each) == expected.check(each)
    kept_settled = filled(*(each for index, each in history if index <= settled))
    kept_settled.settle(settled)
    assert sorted(table.snapshot()) == sorted(kept_settled.snapshot())


def test_what_a_snapshot_knew_already_is_passed_over_when_its_entries_come() -> None:
    ahead = filled(*(header(number) for number in range(8)))
    ahead.settle(7)
    table = ProducerTable()
    table.begin(3, ahead.snapshot())
    for index in range(4, 8):
        table.record(header(index), index, index)
    assert table.snapshot() == ahead.snapshot()
    table.record(header(8), 8, 8)
    assert table.check(header(9)) is None
    table.rollback(7)
    assert table.snapshot() == ahead.snapshot()


def test_a_snapshot_that_is_none_changes_nothing() -> None:
    table = filled(header(0, 3))
    with pytest.raises(ValueError, match=r".+"):
        table.begin(9, b"\xff")
    assert table.check(header(3)) is None
