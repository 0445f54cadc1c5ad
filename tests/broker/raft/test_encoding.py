"""Raft messages survive the wire, and nonsense is a ValueError."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate_broker.raft import encoding
from quorate_broker.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    Snapshot,
    SnapshotReply,
    TimeoutNow,
    Vote,
    VoteReply,
)

terms = st.integers(0, 2**31 - 1)
indexes = st.integers(-1, 2**62)
counts = st.integers(0, 2**31 - 1)
lives = st.integers(0, 2**62)
times = st.integers(-(2**62), 2**62)
messages = st.one_of(
    st.builds(PreVote, terms, indexes, terms),
    st.builds(PreVoteReply, terms, terms, st.booleans()),
    st.builds(Vote, terms, indexes, terms, st.booleans()),
    st.builds(VoteReply, terms, st.booleans()),
    st.builds(
        Append,
        terms,
        indexes,
        terms,
        indexes,
        st.lists(st.binary(min_size=1, max_size=40), max_size=5).map(tuple),
        counts,
    ),
    st.builds(AppendReply, terms, indexes, indexes, indexes, terms, indexes, lives, st.booleans()),
    st.builds(Heartbeat, terms, indexes, times, st.booleans(), lives, indexes),
    st.builds(HeartbeatReply, terms, indexes, indexes, times, st.booleans(), lives, st.booleans()),
    st.builds(
        lambda *head, chunk, more: Snapshot(*head, head[3] + len(chunk) + more, 7, chunk),
        terms,
        indexes,
        terms,
        st.integers(0, 1_000),
        chunk=st.binary(max_size=40),
        more=st.integers(0, 5),
    ),
    st.builds(SnapshotReply, terms, indexes, counts, lives),
    st.builds(TimeoutNow, terms),
)


@given(messages)
def test_a_message_survives_the_wire(message: Message) -> None:
    head, bulk = encoding.encode(message)
    assert encoding.decode(head, memoryview(b"".join(bulk))) == message


@given(st.binary(max_size=60), st.binary(max_size=10))
def test_any_bytes_are_a_message_or_a_value_error(head: bytes, bulk: bytes) -> None:
    try:
        message = encoding.decode(head, memoryview(bulk))
    except ValueError:
        return
    again, buffers = encoding.encode(message)
    assert encoding.decode(again, memoryview(b"".join(buffers))) == message


OLD = {
    # (tag, fields) as the version before wrote them -> what this one reads
    (5, 3, 4, 2, 4, (2,)): Append(3, 4, 2, 4, (b"ab",)),
    (6, 3, 9, 8, -1, 0, -1): AppendReply(3, 9, 8),
    (7, 3, 9): Heartbeat(3, 9),
    (8, 3, 9, 8): HeartbeatReply(3, 9, 8),
}


@pytest.mark.parametrize("fields", OLD, ids=str)
def test_heads_of_the_version_before_are_understood(fields: tuple[object, ...]) -> None:
    bulk = b"ab" if fields[0] == 5 else b""
    assert encoding.decode(msgspec.msgpack.encode(fields), memoryview(bulk)) == OLD[fields]


@given(messages)
def test_fields_of_a_version_to_come_are_passed_over(message: Message) -> None:
    head, bulk = encoding.encode(message)
    longer = msgspec.msgpack.encode([*msgspec.msgpack.decode(head), "news", 7])
    assert encoding.decode(longer, memoryview(b"".join(bulk))) == message


@given(messages, st.data())
def test_a_head_that_is_cut_short_is_refused(message: Message, data: st.DataObject) -> None:
    head, bulk = encoding.encode(message)
    cut = data.draw(st.integers(0, len(head) - 1))
    with pytest.raises(ValueError, match=r".+"):
        encoding.decode(head[:cut], memoryview(b"".join(bulk)))


def test_entries_are_slices_of_the_bulk_and_not_copies() -> None:
    head, _ = encoding.encode(Append(1, -1, 0, -1, (b"ab", b"c")))
    bulk = bytearray(b"abc")
    message = encoding.decode(head, memoryview(bulk))
    bulk[0] = ord("x")
    assert isinstance(message, Append)
    assert [bytes(entry) for entry in message.entries] == [b"xb", b"c"]


@pytest.mark.parametrize("bulk", [b"", b"ab", b"abcd"])
def test_lengths_that_do_not_add_up_are_refused(bulk: bytes) -> None:
    head, _ = encoding.encode(Append(1, -1, 0, -1, (b"ab", b"c")))
    with pytest.raises(ValueError, match="add up"):
        encoding.decode(head, memoryview(bulk))


def test_a_piece_beyond_the_end_of_its_snapshot_is_refused() -> None:
    head, _ = encoding.encode(Snapshot(1, 4, 1, 90, 100, 7, b"0123456789"))
    with pytest.raises(ValueError, match="beyond its end"):
        encoding.decode(head, memoryview(b"0123456789x"))


def test_bytes_behind_a_message_without_entries_are_refused() -> None:
    head, _ = encoding.encode(TimeoutNow(1))
    with pytest.raises(ValueError, match="no entries"):
        encoding.decode(head, memoryview(b"x"))


@pytest.mark.parametrize(
    "message",
    [TimeoutNow(-1), TimeoutNow(2**31), Heartbeat(1, -2), Append(1, 0, 0, 0, (b"",))],
)
def test_numbers_out_of_bounds_are_refused(message: Message) -> None:
    head, bulk = encoding.encode(message)
    with pytest.raises(ValueError, match="Expected"):
        encoding.decode(head, memoryview(b"".join(bulk)))


def test_a_head_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(ValueError, match="too long"):
        encoding.decode(bytes(encoding.MAX_HEAD_BYTES + 1), memoryview(b""))
