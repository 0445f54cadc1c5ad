"""Frames: the right header version for every message, and the answer to what is not served."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate_broker.errors import ErrorCode
from quorate_broker.testing.messages import arbitrary
from quorate_broker.wire import frames
from quorate_broker.wire.apis import APIS, ApiKey
from quorate_broker.wire.messages import api_versions, fetch, heartbeat, produce

SERVED = [
    pytest.param(api, version, id=f"{api.key.name}-v{version}")
    for api in APIS.values()
    for version in range(api.first_read, api.max_version + 1)
]
sources = st.randoms(use_true_random=False)


def whole(pieces: list[frames.Buffer]) -> memoryview:
    """One frame without its size, which is checked."""
    data = b"".join(pieces)
    assert struct.unpack_from(">I", data)[0] == len(data) - 4
    return memoryview(data)[4:]


@pytest.mark.parametrize(("api", "version"), SERVED)
@settings(max_examples=5)
@given(source=sources, client_id=st.none() | st.text(max_size=20))
def test_a_request_and_its_response_cross_the_wire(
    api, version: int, source: random.Random, client_id: str | None
) -> None:
    request = arbitrary(api.request, version, source)
    frame = whole(frames.encode_request(request, version, 77, client_id))
    header, found = frames.decode_request(frame)
    assert header == frames.RequestHeader(api.key, version, 77, client_id)
    assert found == request
    response = arbitrary(api.response, version, source)
    answer = whole(frames.encode_response(header, response))
    assert frames.decode_response(api.key, version, answer) == (77, response)


def test_header_versions_follow_the_message_but_for_api_versions() -> None:
    def head_of(key: int, version: int, message: object) -> bytes:
        header = frames.RequestHeader(key, version, 5, None)
        return bytes(whole(frames.encode_response(header, message)))

    beat = heartbeat.HeartbeatResponse(error_code=27)
    assert head_of(12, 3, beat) == struct.pack(">iih", 5, 0, 27)
    assert head_of(12, 4, beat) == struct.pack(">ibihb", 5, 0, 0, 27, 0)
    versions = api_versions.ApiVersionsResponse()
    assert head_of(18, 3, versions) == struct.pack(">ihbib", 5, 0, 1, 0, 0)


def test_tags_of_a_request_header_are_stepped_over() -> None:
    header = struct.pack(">hhih", 12, 4, 1, 2) + b"me" + b"\x01\x09\x02zz"
    body = b"\x02g" + struct.pack(">i", 1) + b"\x02m" + b"\0" + b"\0"
    decoded, message = frames.decode_request(memoryview(header + body))
    assert decoded.client_id == "me"
    assert message == heartbeat.HeartbeatRequest(group_id="g", generation_id=1, member_id="m")


def test_a_newer_api_versions_is_answered_in_v0_with_our_range() -> None:
    frame = struct.pack(">hhih", 18, 99, 12, -1) + b"\0whatever it may carry"
    with pytest.raises(frames.UnsupportedVersion) as refusal:
        frames.decode_request(memoryview(frame))
    assert refusal.value.reply is not None
    answer = whole(refusal.value.reply)
    correlation_id, message = frames.decode_response(18, 0, answer)
    assert correlation_id == 12
    assert message.error_code == ErrorCode.UNSUPPORTED_VERSION
    assert [(k.api_key, k.min_version, k.max_version) for k in message.api_keys] == [(18, 0, 4)]


@pytest.mark.parametrize(("key", "version"), [(0, 2), (0, 12), (1, 3), (1, 13), (71, 0), (-1, 0)])
def test_any_other_version_that_is_not_served_closes_the_connection(key: int, version: int) -> None:
    frame = struct.pack(">hhih", key, version, 1, -1)
    with pytest.raises(frames.UnsupportedVersion) as refusal:
        frames.decode_request(memoryview(frame))
    assert refusal.value.reply is None
    assert refusal.value.header.correlation_id == 1


def test_produce_is_advertised_from_zero_and_read_from_three() -> None:
    api = APIS[ApiKey.PRODUCE]
    assert (api.min_version, api.first_read) == (0, 3)
    assert [key for key in APIS if APIS[key].min_version != APIS[key].first_read] == [0]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        struct.pack(">hhi", 18, 0, 1),
        struct.pack(">hhih", 18, 0, 1, 5) + b"four",
        struct.pack(">hhih", 18, 0, 1, -2),
        struct.pack(">hhih", 18, 3, 1, -1),
        struct.pack(">hhih", 18, 3, 1, -1) + b"\xff\xff\xff\xff\x0f",
    ],
)
def test_a_malformed_header_is_told(frame: bytes) -> None:
    with pytest.raises(frames.WireError):
        frames.decode_request(memoryview(frame))


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_noise_is_unsupported_or_malformed_or_a_request(noise: bytes) -> None:
    try:
        header, _ = frames.decode_request(memoryview(noise))
    except (frames.WireError, frames.UnsupportedVersion):
        return
    assert header.api_key in APIS


@given(st.binary(max_size=40))
def test_noise_is_no_response_either(noise: bytes) -> None:
    try:
        frames.decode_response(ApiKey.METADATA, 9, memoryview(noise))
    except frames.WireError:
        return
    assert len(noise) > 4


def test_a_client_id_that_is_not_utf8_is_shown_as_well_as_it_can_be() -> None:
    frame = struct.pack(">hhih", 18, 0, 1, 2) + b"\xffx"
    header, _ = frames.decode_request(memoryview(frame))
    assert header.client_id == "�x"


def test_bytes_behind_a_request_are_left_alone() -> None:
    frame = struct.pack(">hhih", 18, 0, 1, -1) + b"more"
    assert frames.decode_request(memoryview(frame))[1] == api_versions.ApiVersionsRequest()


def test_the_answer_must_be_of_the_api_asked() -> None:
    with pytest.raises(AssertionError):
        frames.encode_response(frames.RequestHeader(1, 4, 1, None), produce.ProduceResponse())


def test_a_fetched_batch_goes_out_as_the_buffer_it_is() -> None:
    stored = memoryview(b"x" * 5000)
    partition = fetch.PartitionData(records=[stored])
    topic = fetch.FetchableTopicResponse(topic="t", partitions=[partition])
    header = frames.RequestHeader(1, 12, 1, None)
    pieces = frames.encode_response(header, fetch.FetchResponse(responses=[topic]))
    assert any(piece is stored for piece in pieces)
    assert len(whole(pieces)) == sum(map(len, pieces)) - 4
