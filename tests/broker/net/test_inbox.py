"""Cutting frames out of a stream: any cut of the stream gives the same frames."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate_broker.net import inbox
from quorate_broker.net.budget import Budget

MAX = 300_000


def framed(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def feed(box: inbox.Inbox, data: bytes) -> list[bytes]:
    """What a transport does with `data`: fill the space there is, take the frames out."""
    frames = []
    while data:
        if box.capacity < box.preferred():
            box.resize(box.preferred())
        space = box.space()
        part, data = data[: len(space)], data[len(space) :]
        space[: len(part)] = part
        box.wrote(len(part))
        while (frame := box.peek()) is not None:
            frames.append(bytes(frame))
            box.consume()
    return frames


bodies = st.lists(
    st.one_of(
        st.binary(min_size=8, max_size=40),
        st.integers(8, MAX).map(lambda size: bytes([size % 251]) * size),
    ),
    max_size=8,
)


@given(bodies, st.lists(st.integers(1, 200_000), max_size=30))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(
    sent: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(map(framed, sent))
    box = inbox.Inbox(MAX)
    got: list[bytes] = []
    for cut in cuts:
        part, stream = stream[:cut], stream[cut:]
        got += feed(box, part)
    got += feed(box, stream)
    assert got == sent
    assert box.unread == 0
    assert box.frames == len(sent)


@given(bodies)
def test_the_buffer_never_grows_beyond_what_a_frame_may_need(sent: list[bytes]) -> None:
    box = inbox.Inbox(MAX)
    longest = 0
    for body in sent:
        feed(box, framed(body))
        longest = max(longest, len(body) + 4)
        assert box.capacity <= max(inbox.CHUNK_BYTES, longest + longest // 8)
        assert box.capacity <= max(inbox.CHUNK_BYTES, MAX + 4)


def test_a_length_beyond_the_limit_is_refused_before_room_is_made_for_it() -> None:
    box = inbox.Inbox(MAX)
    box.resize(inbox.BASE_BYTES)
    with pytest.raises(inbox.FrameError):
        feed(box, struct.pack(">i", MAX + 1))
    assert box.capacity == inbox.BASE_BYTES


def test_a_frame_is_asked_for_with_its_length_and_no_more() -> None:
    box = inbox.Inbox(MAX)
    feed(box, struct.pack(">i", 200_000))
    assert box.required() == 200_004
    assert box.preferred() == 200_004 + 200_004 // 8


def test_shrinking_gives_the_buffer_back() -> None:
    box = inbox.Inbox(MAX)
    feed(box, framed(b"x" * 100_000))
    assert box.capacity > 100_000
    box.shrink()
    assert box.capacity == 0
    assert feed(box, framed(b"y" * 8)) == [b"y" * 8]


class TestBudget:
    def test_it_serves_those_who_wait_in_their_order(self) -> None:
        budget = Budget(100)
        served: list[str] = []
        assert budget.take(80)
        budget.wait(60, lambda: served.append("long"))
        budget.wait(10, lambda: served.append("short"))
        assert not budget.take(5), "nobody overtakes those who wait"
        assert served == []
        budget.give(80)
        assert served == ["long", "short"]
        assert budget.used == 70

    def test_who_leaves_the_line_makes_room_for_the_next(self) -> None:
        budget = Budget(100)
        served: list[str] = []

        def impatient() -> None:
            served.append("impatient")

        assert budget.take(50)
        budget.wait(90, impatient)
        budget.wait(10, lambda: served.append("next"))
        budget.leave(impatient)
        assert served == ["next"]
        assert not budget.tight

    def test_giving_back_more_than_was_taken_is_our_bug(self) -> None:
        budget = Budget(100)
        assert budget.take(10)
        with pytest.raises(AssertionError):
            budget.give(11)
