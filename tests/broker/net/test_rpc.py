"""Frames between brokers: any stream cut anywhere gives the same frames; damage ends the line."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate_broker.net import rpc
from quorate_broker.net.rpc import FrameReader, Kind

FRAMES = st.lists(
    st.tuples(
        st.sampled_from(list(Kind)),
        st.integers(0, 2**64 - 1),
        st.binary(max_size=200),
        st.lists(st.one_of(st.binary(max_size=300), st.just(b"x" * 300_000)), max_size=3),
    ),
    max_size=6,
)


def feed(reader: FrameReader, stream: bytes, steps: list[int]) -> list[rpc.Frame]:
    frames = []
    at = 0
    turn = 0
    while at < len(stream):
        room = reader.buffer()
        step = steps[turn % len(steps)] if steps else len(room)
        count = min(step, len(room), len(stream) - at)
        room[:count] = stream[at : at + count]
        frames += reader.filled(count)
        at += count
        turn += 1
    return frames


@settings(max_examples=150)
@given(FRAMES, st.lists(st.integers(1, 100_000), max_size=5))
def test_any_cutting_of_the_stream_gives_the_frames_that_were_sent(
    sent: list[tuple[Kind, int, bytes, list[bytes]]], steps: list[int]
) -> None:
    stream = b"".join(bytes(b) for f in sent for b in rpc.encode(*f))
    got = feed(FrameReader(), stream, [s + 500 for s in steps])
    assert [(f.kind, f.correlation, bytes(f.head), bytes(f.bulk)) for f in got] == [
        (kind, correlation, head, b"".join(bulk)) for kind, correlation, head, bulk in sent
    ]


def test_bytes_one_by_one_are_frames_as_well() -> None:
    stream = b"".join(bytes(b) for b in rpc.encode(Kind.RAFT, 0, b"head", (b"bulk",)))
    (frame,) = feed(FrameReader(), stream, [1])
    assert bytes(frame.bulk) == b"bulk"


@pytest.mark.parametrize("at", [4, 20, 22, 30])
def test_a_damaged_byte_ends_the_line(at: int) -> None:
    stream = bytearray(b"".join(bytes(b) for b in rpc.encode(Kind.RAFT, 0, b"head" * 4, ())))
    stream[at] ^= 0x40
    with pytest.raises(rpc.FrameError):
        feed(FrameReader(), bytes(stream), [])


@pytest.mark.parametrize("claimed", [0, 5, rpc.MAX_FRAME + 1, 2**32 - 1])
def test_a_length_outside_the_limits_is_refused_before_anything_is_allocated(claimed: int) -> None:
    with pytest.raises(rpc.FrameError, match="claims"):
        feed(FrameReader(), struct.pack(">I", claimed), [])


def test_a_frame_over_the_limit_is_never_sent() -> None:
    with pytest.raises(rpc.FrameError, match="over the limit"):
        rpc.encode(Kind.RAFT, 0, b"", [bytes(rpc.MAX_FRAME)])


def test_frames_own_their_bytes() -> None:
    reader = FrameReader()
    stream = b"".join(bytes(b) for b in rpc.encode(Kind.RAFT, 0, b"first", (b"bulk",)))
    (first,) = feed(reader, stream, [])
    feed(reader, b"".join(bytes(b) for b in rpc.encode(Kind.RAFT, 0, b"other", (b"xxxx",))), [])
    assert bytes(first.head) == b"first"
    assert bytes(first.bulk) == b"bulk"
