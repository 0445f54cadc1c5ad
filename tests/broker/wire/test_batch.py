"""Record batches: what is built is read back, what is damaged is told, nothing is believed."""

from __future__ import annotations

import struct

import pytest
from aiokafka.record.default_records import DefaultRecordBatch
from hypothesis import given
from hypothesis import strategies as st

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire import batch, compression, limits

names = st.text(max_size=8)
payloads = st.none() | st.binary(max_size=40)
record_lists = st.lists(
    st.builds(
        batch.Record,
        key=payloads,
        value=payloads,
        headers=st.lists(st.tuples(names, payloads), max_size=3).map(tuple),
        timestamp_delta=st.integers(-(2**40), 2**40),
    ),
    min_size=1,
    max_size=8,
)


def plain(count: int = 1, **fields: int) -> bytearray:
    records = [batch.Record(b"k%d" % at, b"v%d" % at) for at in range(count)]
    return batch.build(records, timestamp_ms=1_000, **fields)


def with_field(buf: bytearray, at: int, layout: str, value: int) -> bytearray:
    """`buf` with one field overwritten and the CRC made right again."""
    struct.pack_into(layout, buf, at, value)
    header = batch.BatchHeader(*struct.unpack_from(">qiibIhiqqqhii", buf))
    struct.pack_into(">I", buf, 17, batch.crc_of(buf, header))
    return buf


@given(record_lists, st.sampled_from(list(compression.Codec)))
def test_records_come_back_as_they_were_built(
    records: list[batch.Record], codec: compression.Codec
) -> None:
    built = batch.build(records, timestamp_ms=5, attributes=codec)
    found = batch.records(built)
    assert [(r.key, r.value, r.headers, r.timestamp_delta) for r in found] == [
        (r.key, r.value, r.headers, r.timestamp_delta) for r in records
    ]
    assert [r.offset_delta for r in found] == list(range(len(records)))
    header = batch.validate_produced(built)
    assert header.size == len(built)
    assert header.codec == codec
    assert header.max_timestamp == 5 + max(r.timestamp_delta for r in records)


@pytest.mark.parametrize("codec", list(compression.Codec))
def test_another_implementation_reads_what_we_build(codec: compression.Codec) -> None:
    records = [
        batch.Record(b"key", b"value" * 50, (("name", b"x"), ("none", None)), timestamp_delta=3),
        batch.Record(None, None, timestamp_delta=7),
    ]
    built = batch.build(
        records,
        base_offset=100,
        timestamp_ms=1_000,
        producer_id=9,
        producer_epoch=2,
        base_sequence=5,
        attributes=codec,
    )
    theirs = DefaultRecordBatch(bytes(built))
    assert theirs.validate_crc()
    assert (theirs.base_offset, theirs.producer_id, theirs.producer_epoch) == (100, 9, 2)
    found = list(theirs)
    assert [(r.offset, r.timestamp, r.key, r.value) for r in found] == [
        (100, 1_003, b"key", b"value" * 50),
        (101, 1_007, None, None),
    ]
    assert found[0].headers == [("name", b"x"), ("none", None)]


def test_a_bare_snappy_block_is_read_like_a_framed_one() -> None:
    framed = plain(3, attributes=compression.Codec.SNAPPY)
    xerial_header_and_size = 20
    bare = framed[:61] + framed[61 + xerial_header_and_size :]
    struct.pack_into(">i", bare, 8, len(bare) - 12)
    assert batch.records(bare) == batch.records(framed)


def test_header_says_where_the_batch_ends() -> None:
    header = batch.parse_header(plain(3, base_offset=10, leader_epoch=4))
    assert (header.base_offset, header.last_offset, header.next_offset) == (10, 12, 13)
    assert (header.leader_epoch, header.count, header.codec) == (4, 3, 0)
    assert not header.is_control
    assert not header.is_internal
    assert not header.is_transactional
    assert header.last_sequence == -1


def test_sequence_numbers_wrap_to_zero() -> None:
    built = plain(3, producer_id=1, producer_epoch=0, base_sequence=2**31 - 2)
    assert batch.validate_produced(built).last_sequence == 0


def test_stamping_leaves_the_checksum_valid() -> None:
    built = plain(2)
    batch.stamp(memoryview(built), 77, 5)
    header = batch.parse_header(built)
    assert (header.base_offset, header.leader_epoch) == (77, 5)
    assert batch.verify_crc(built, header)


def test_append_time_is_stamped_with_a_new_checksum() -> None:
    built = plain(2)
    batch.stamp_append_time(built, 9_999)
    header = batch.validate_produced(built)
    assert header.max_timestamp == 9_999
    assert header.attributes & batch.LOG_APPEND_TIME


def test_batches_are_walked_at_any_position() -> None:
    first, second = plain(2, base_offset=0), plain(1, base_offset=2)
    both = first + second
    assert [(at, h.base_offset) for at, h in batch.headers(both)] == [(0, 0), (len(first), 2)]
    assert batch.records(both, len(first)) == batch.records(second)
    assert batch.verify_crc(both, batch.parse_header(both, len(first)), len(first))


@given(st.integers(1, 200))
def test_a_batch_cut_short_ends_the_walk_or_raises(missing: int) -> None:
    first, second = plain(2), plain(40, base_offset=2)
    cut = memoryview(first + second)[: -min(missing, len(second) - 1)]
    assert [at for at, _ in batch.headers(cut, partial_ok=True)] == [0]
    with pytest.raises(batch.BatchError):
        list(batch.headers(cut))


def test_a_walk_does_not_step_over_garbage_even_when_a_cut_is_fine() -> None:
    garbage = plain() + bytes(100)
    with pytest.raises(batch.BatchError):
        list(batch.headers(garbage, partial_ok=True))


@given(st.data())
def test_every_flipped_bit_behind_the_crc_is_noticed(data: st.DataObject) -> None:
    built = plain(3)
    position = data.draw(st.integers(17 * 8, len(built) * 8 - 1))
    built[position // 8] ^= 1 << position % 8
    with pytest.raises(KafkaError):
        batch.validate_produced(built)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda b: bytearray(), ErrorCode.INVALID_RECORD),
        (lambda b: b[:60], ErrorCode.CORRUPT_MESSAGE),
        (lambda b: b[:-1], ErrorCode.CORRUPT_MESSAGE),
        (lambda b: b + b, ErrorCode.INVALID_RECORD),
        (lambda b: b + b"\0", ErrorCode.INVALID_RECORD),
        (lambda b: with_field(b, 16, ">b", 1), ErrorCode.INVALID_RECORD),
        (lambda b: with_field(b, 0, ">q", 1), ErrorCode.INVALID_RECORD),
        (lambda b: with_field(b, 57, ">i", 3), ErrorCode.INVALID_RECORD),
        (lambda b: with_field(b, 57, ">i", -1), ErrorCode.CORRUPT_MESSAGE),
        (lambda b: with_field(b, 23, ">i", -1), ErrorCode.INVALID_RECORD),
        (lambda b: with_field(b, 21, ">h", batch.CONTROL), ErrorCode.INVALID_RECORD),
        (lambda b: with_field(b, 21, ">h", batch.TRANSACTIONAL), ErrorCode.INVALID_RECORD),
        (lambda b: with_field(b, 21, ">h", 5), ErrorCode.INVALID_RECORD),
        (lambda b: with_field(b, 43, ">q", 7), ErrorCode.INVALID_RECORD),
    ],
)
def test_what_a_producer_may_not_send_is_refused_with_a_code(change, code) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(KafkaError) as refusal:
        batch.validate_produced(change(plain(2)))
    assert refusal.value.code is code


@pytest.mark.parametrize("length", [-1, 0, 48, limits.LIMITS.batch_bytes + 1, 2**31 - 1])
def test_a_length_that_no_batch_has_is_corrupt(length: int) -> None:
    built = plain()
    struct.pack_into(">i", built, 8, length)
    with pytest.raises(batch.BatchError) as refusal:
        batch.parse_header(built)
    assert refusal.value.code is ErrorCode.CORRUPT_MESSAGE


@given(
    st.integers(0, 2**40),
    st.integers(1, 2**20),
    st.sampled_from(list(batch.InternalKind)),
    st.binary(max_size=50),
)
def test_an_internal_entry_takes_an_index_and_no_offset(
    offset: int, internals: int, kind: batch.InternalKind, content: bytes
) -> None:
    index = offset + internals - 1
    entry = batch.build_internal(
        base_offset=offset,
        leader_epoch=3,
        index=index,
        internals=internals,
        kind=kind,
        content=content,
        timestamp_ms=1,
    )
    header = batch.parse_header(entry)
    assert header.is_internal
    assert header.is_control
    assert header.next_offset == offset
    assert batch.verify_crc(entry, header)
    assert batch.parse_internal(entry) == batch.InternalEntry(kind, index, internals, content)
    assert batch.records(entry) == []


def test_a_plain_batch_is_not_an_internal_entry() -> None:
    with pytest.raises(batch.BatchError):
        batch.parse_internal(plain())


@given(st.binary(max_size=200))
def test_bytes_that_are_no_batch_raise_nothing_else(noise: bytes) -> None:
    for read in (batch.parse_header, batch.validate_produced, batch.records, batch.parse_internal):
        with pytest.raises(KafkaError):
            read(noise)


@given(st.binary(max_size=80), st.integers(0, 2**31 - 1), st.integers(0, 7))
def test_noise_behind_a_true_header_raises_nothing_else(
    noise: bytes, count: int, attributes: int
) -> None:
    built = plain()[:61] + noise
    struct.pack_into(">i", built, 8, len(built) - 12)
    struct.pack_into(">i", built, 57, count)
    struct.pack_into(">h", built, 21, attributes)
    try:
        found = batch.records(built)
    except KafkaError:
        return
    assert len(found) == count


@pytest.mark.parametrize("codec", [c for c in compression.Codec if c])
def test_a_bomb_is_stopped_at_the_cap(codec: compression.Codec) -> None:
    bomb = compression.compress(codec, bytes(1_000_000))
    assert compression.decompress(codec, memoryview(bomb), 1_000_000) == bytes(1_000_000)
    with pytest.raises(compression.CompressionError):
        compression.decompress(codec, memoryview(bomb), 999_999)


@pytest.mark.parametrize("codec", [c for c in compression.Codec if c])
@given(st.binary(max_size=60))
def test_noise_is_not_a_compressed_payload(codec: compression.Codec, noise: bytes) -> None:
    try:
        plain_bytes = compression.decompress(codec, memoryview(noise), 1_000)
    except compression.CompressionError:
        return
    assert len(plain_bytes) <= 1_000
