"""Messages: every version comes back as it went out, and no peer makes us believe nonsense."""

from __future__ import annotations

import random
import struct
import tracemalloc
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate_broker.testing.messages import arbitrary
from quorate_broker.wire import codec, schema
from quorate_broker.wire.apis import APIS
from quorate_broker.wire.limits import LIMITS
from quorate_broker.wire.messages import (
    api_versions,
    consumer_protocol,
    fetch,
    group_records,
    join_group,
    metadata,
    offset_commit,
    produce,
)

MESSAGES = [
    *(cls for api in APIS.values() for cls in (api.request, api.response)),
    group_records.OffsetCommitKey,
    group_records.OffsetCommitValue,
    group_records.GroupMetadataKey,
    group_records.GroupMetadataValue,
    consumer_protocol.ConsumerProtocolSubscription,
    consumer_protocol.ConsumerProtocolAssignment,
]
VERSIONED = [
    pytest.param(cls, version, id=f"{cls.__name__}-v{version}")
    for cls in MESSAGES
    for version in range(
        schema.message_of(cls).versions.first, schema.message_of(cls).versions.last + 1
    )
]
sources = st.randoms(use_true_random=False)


def encoded(message: object, version: int) -> bytes:
    return b"".join(codec.encode(message, version))


@pytest.mark.parametrize(("cls", "version"), VERSIONED)
@settings(max_examples=15)
@given(source=sources)
def test_a_message_comes_back_as_it_went_out(
    cls: type, version: int, source: random.Random
) -> None:
    message = arbitrary(cls, version, source)
    data = encoded(message, version)
    found, end = codec.decode(cls, version, memoryview(data))
    assert end == len(data)
    assert found == message


@pytest.mark.parametrize(("cls", "version"), VERSIONED)
@settings(max_examples=15)
@given(noise=st.binary(max_size=120))
def test_noise_is_a_message_or_malformed_and_nothing_else(
    cls: type, version: int, noise: bytes
) -> None:
    try:
        _, end = codec.decode(cls, version, memoryview(noise))
    except codec.WireError:
        return
    assert end <= len(noise)


@pytest.mark.parametrize(("cls", "version"), VERSIONED)
@settings(max_examples=15)
@given(source=sources)
def test_a_damaged_message_is_a_message_or_malformed_and_nothing_else(
    cls: type, version: int, source: random.Random
) -> None:
    data = bytearray(encoded(arbitrary(cls, version, source), version))
    for _ in range(source.randrange(1, 4)):
        if data:
            data[source.randrange(len(data))] = source.choice((0, 1, 0x7F, 0x80, 0xFF))
    try:
        _, end = codec.decode(cls, version, memoryview(data))
    except codec.WireError:
        return
    assert end <= len(data)


@pytest.mark.parametrize(("cls", "version"), VERSIONED)
@settings(max_examples=5)
@given(source=sources)
def test_a_message_cut_short_is_malformed(cls: type, version: int, source: random.Random) -> None:
    data = encoded(arbitrary(cls, version, source), version)
    for size in range(len(data)):
        with pytest.raises(codec.WireError):
            codec.decode(cls, version, memoryview(data)[:size])


@pytest.mark.parametrize(
    ("version", "body"),
    [
        (8, struct.pack(">hhii", -1, 1, 1000, 2**31 - 1)),
        (9, b"\0" + struct.pack(">hi", 1, 1000) + b"\xff\xff\xff\xff\x0f"),
    ],
)
def test_twelve_bytes_that_claim_billions_of_topics_cost_nothing(version: int, body: bytes) -> None:
    assert len(body) == 12
    with pytest.raises(codec.WireError):  # compiles the reader before memory is watched
        codec.decode(produce.ProduceRequest, version, memoryview(body))
    tracemalloc.start()
    try:
        with pytest.raises(codec.WireError):
            codec.decode(produce.ProduceRequest, version, memoryview(body))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000


def test_a_count_is_held_against_what_its_elements_must_take() -> None:
    claimed = 50
    body = struct.pack(">ibi", -1, 0, claimed) + bytes(5 * claimed)  # a topic takes 6 bytes or more
    with pytest.raises(codec.WireError, match="array: 50"):
        codec.decode(APIS[2].request, 2, memoryview(body))


def test_more_numbers_than_the_limit_are_refused_even_if_their_bytes_are_there() -> None:
    count = LIMITS.array_elements + 1
    one_topic = struct.pack(">ih", 1, 0) + struct.pack(">i", count) + bytes(4 * count)
    with pytest.raises(codec.WireError, match="array: 1000001"):
        codec.decode(APIS[9].request, 1, memoryview(struct.pack(">h", 0) + one_topic))


def test_the_elements_of_a_message_are_limited_over_all_its_arrays() -> None:
    partition = struct.pack(">i", 0) + b"\x01\x00"
    half = LIMITS.message_elements // 2
    topic = b"\x01" + bytes((half + 1 & 0x7F | 0x80, half + 1 >> 7 & 0x7F | 0x80, half + 1 >> 14))
    topic += partition * half + b"\0"
    body = b"\0" + struct.pack(">hi", 1, 1000) + b"\x03" + topic * 2 + b"\0"
    with pytest.raises(codec.WireError, match="array: 100000"):
        codec.decode(produce.ProduceRequest, 9, memoryview(body))


def test_more_tagged_fields_than_the_limit_are_refused() -> None:
    count = LIMITS.tagged_fields + 1
    tags = bytes((count & 0x7F | 0x80, count >> 7 & 0x7F | 0x80, count >> 14)) + bytes(2 * count)
    with pytest.raises(codec.WireError, match="tagged fields"):
        codec.decode(api_versions.ApiVersionsRequest, 3, memoryview(b"\x01\x01" + tags))


def test_a_varint_that_never_ends_is_malformed() -> None:
    with pytest.raises(codec.WireError, match="varint"):
        codec.decode(api_versions.ApiVersionsRequest, 3, memoryview(b"\xff" * 9))


def test_unknown_tagged_fields_are_stepped_over() -> None:
    plain = api_versions.ApiVersionsRequest(client_software_name="c", client_software_version="1")
    data = encoded(plain, 3)[:-1] + b"\x02" + b"\x07\x03abc" + b"\x80\x01\x00"
    assert codec.decode(api_versions.ApiVersionsRequest, 3, memoryview(data)) == (plain, len(data))


def test_an_unknown_tagged_field_among_known_ones_is_stepped_over() -> None:
    known = api_versions.ApiVersionsResponse(finalized_features_epoch=5)
    data = encoded(known, 3)
    assert data.endswith(b"\x01" + b"\x01\x08" + struct.pack(">q", 5))
    more = data[:-11] + b"\x02" + data[-10:] + b"\x63\x02xx"
    assert codec.decode(api_versions.ApiVersionsResponse, 3, memoryview(more))[0] == known


def test_a_known_tagged_field_of_another_size_is_malformed() -> None:
    data = encoded(api_versions.ApiVersionsResponse(finalized_features_epoch=5), 3)
    longer = data[:-9] + b"\x09" + data[-8:] + b"\0"
    with pytest.raises(codec.WireError, match="another size"):
        codec.decode(api_versions.ApiVersionsResponse, 3, memoryview(longer))


def test_a_tagged_field_with_its_default_is_not_written() -> None:
    absent = fetch.PartitionData(records=[])
    default = fetch.PartitionData(records=[], current_leader=fetch.LeaderIdAndEpoch())
    topics = [fetch.FetchableTopicResponse(topic="t", partitions=[p]) for p in (absent, default)]
    first, second = (encoded(fetch.FetchResponse(responses=[t]), 12) for t in topics)
    assert first == second


def test_fields_that_a_version_lacks_are_left_out_and_read_as_their_defaults() -> None:
    message = metadata.MetadataRequest(topics=None, allow_auto_topic_creation=False)
    found, _ = codec.decode(metadata.MetadataRequest, 1, memoryview(encoded(message, 1)))
    assert found == metadata.MetadataRequest(topics=None, allow_auto_topic_creation=True)


def test_what_an_old_version_cannot_leave_null_is_written_empty() -> None:
    everything = metadata.MetadataRequest(topics=None)
    assert encoded(everything, 0) == struct.pack(">i", 0)
    no_protocol = join_group.JoinGroupResponse(protocol_name=None)
    found, _ = codec.decode(join_group.JoinGroupResponse, 6, memoryview(encoded(no_protocol, 6)))
    assert found.protocol_name == ""


def test_a_string_that_is_not_utf8_is_malformed() -> None:
    with pytest.raises(codec.WireError, match="UTF-8"):
        codec.decode(group_records.GroupMetadataKey, 0, memoryview(b"\0\x01\xff"))


def test_a_version_that_is_not_ours_is_malformed() -> None:
    with pytest.raises(codec.WireError, match="no version 99"):
        codec.decode(fetch.FetchRequest, 99, memoryview(b""))


# ----------------------------------------------------------------------------- records are slices


@pytest.mark.parametrize("version", [8, 9])
def test_records_are_read_as_slices_of_the_frame(version: int) -> None:
    batch = bytes(range(200))
    partition = produce.PartitionProduceData(index=3, records=batch)
    topic = produce.TopicProduceData(name="t", partition_data=[partition])
    frame = bytearray(encoded(produce.ProduceRequest(acks=-1, topic_data=[topic]), version))
    found, _ = codec.decode(produce.ProduceRequest, version, memoryview(frame))
    records = found.topic_data[0].partition_data[0].records
    assert isinstance(records, memoryview)
    assert records.obj is frame
    assert records == batch


@pytest.mark.parametrize("version", [4, 11, 12])
def test_records_are_written_as_the_very_buffers_given(version: int) -> None:
    pieces = [bytearray(b"a" * 300), memoryview(b"b" * 20), b"c"]
    filled = fetch.PartitionData(partition_index=0, records=pieces)
    empty = fetch.PartitionData(partition_index=1, records=[])
    single = fetch.PartitionData(partition_index=2, records=pieces[0])
    topic = fetch.FetchableTopicResponse(topic="t", partitions=[filled, empty, single])
    out = codec.encode(fetch.FetchResponse(responses=[topic]), version)
    kept = [piece for piece in out if any(piece is given for given in pieces)]
    assert [id(piece) for piece in kept] == [id(piece) for piece in [*pieces, pieces[0]]]
    found, _ = codec.decode(fetch.FetchResponse, version, memoryview(b"".join(out)))
    sizes = [len(partition.records) for partition in found.responses[0].partitions]
    assert sizes == [321, 0, 300]


# --------------------------------------------------------------------------- records of the groups


@settings(max_examples=50)
@given(source=sources, kind=st.sampled_from(["offset", "group"]))
def test_keys_of_group_records_say_what_they_are(source: random.Random, kind: str) -> None:
    classes = {"offset": group_records.OffsetCommitKey, "group": group_records.GroupMetadataKey}
    key = arbitrary(classes[kind], 0, source)
    data = group_records.encode_key(key)
    assert data[:2] == {"offset": b"\0\x01", "group": b"\0\x02"}[kind]
    assert group_records.decode_key(data) == key


def test_an_offset_key_of_the_old_kind_is_read_and_an_unknown_kind_is_none() -> None:
    key = group_records.OffsetCommitKey(group="g", topic="t", partition=4)
    data = group_records.encode_key(key)
    assert group_records.decode_key(b"\0\0" + data[2:]) == key
    assert group_records.decode_key(b"\0\x09" + data[2:]) is None
    with pytest.raises(codec.WireError):
        group_records.decode_key(b"\0")


def test_values_carry_their_version() -> None:
    value = group_records.OffsetCommitValue(offset=5, leader_epoch=2, metadata="m")
    data = codec.encode_versioned(value, 3)
    assert data == struct.pack(">hqih", 3, 5, 2, 1) + b"m" + bytes(8)
    assert codec.decode_versioned(group_records.OffsetCommitValue, data) == (value, 3)
    with pytest.raises(codec.WireError):
        codec.decode_versioned(group_records.OffsetCommitValue, b"\0")


def test_a_topic_id_is_a_uuid_and_zero_by_default() -> None:
    wanted = uuid.UUID(int=7)
    topics = [metadata.MetadataRequestTopic(topic_id=wanted), metadata.MetadataRequestTopic()]
    data = encoded(metadata.MetadataRequest(topics=topics), 12)
    found, _ = codec.decode(metadata.MetadataRequest, 12, memoryview(data))
    assert [topic.topic_id for topic in found.topics or ()] == [wanted, schema.ZERO_UUID]


def test_null_metadata_of_a_commit_stays_null() -> None:
    partition = offset_commit.OffsetCommitRequestPartition(committed_metadata=None)
    topic = offset_commit.OffsetCommitRequestTopic(name="t", partitions=[partition])
    data = encoded(offset_commit.OffsetCommitRequest(group_id="g", topics=[topic]), 8)
    found, _ = codec.decode(offset_commit.OffsetCommitRequest, 8, memoryview(data))
    assert found.topics[0].partitions[0].committed_metadata is None
