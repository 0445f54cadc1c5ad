"""Raft messages as bytes: a small msgpack head, and the raw batches beside it.

The batches of an `Append` are never copied into the head; it carries their lengths, which must add
up to the bulk that came with it. Anything else than exactly one well-formed message is a
`ValueError`: the peer's fault, and the connection's end.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from quorate_broker.raft import messages
from quorate_broker.raft.messages import Buffer, Message

MAX_HEAD_BYTES = 1 << 20
MAX_BUFFERS = 1 << 16

Length = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class _AppendHead(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """An `Append` without its entries."""

    term: messages.Term
    prev_index: messages.Index
    prev_term: messages.Term
    commit: messages.Index
    lengths: Annotated[tuple[Length, ...], msgspec.Meta(max_length=MAX_BUFFERS)]
    skip: messages.Count = 0


class _SnapshotHead(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """A `Snapshot` without its piece."""

    term: messages.Term
    index: messages.Index
    last_term: messages.Term
    position: messages.Count
    total: messages.Count
    crc: messages.Crc


_Head: TypeAlias = (
    messages.PreVote
    | messages.PreVoteReply
    | messages.Vote
    | messages.VoteReply
    | _AppendHead
    | messages.AppendReply
    | messages.Heartbeat
    | messages.HeartbeatReply
    | messages.TimeoutNow
    | _SnapshotHead
    | messages.SnapshotReply
)
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[_Head] = msgspec.msgpack.Decoder(_Head)


def encode(message: Message) -> tuple[bytes, list[Buffer]]:
    """The head of `message` and the buffers that must follow it, in order."""
    match message:
        case messages.Append():
            lengths = tuple(len(entry) for entry in message.entries)
            after = (message.prev_index, message.prev_term)
            append = _AppendHead(message.term, *after, message.commit, lengths, message.skip)
            return _encoder.encode(append), list(message.entries)
        case messages.Snapshot():
            at = (message.index, message.last_term)
            piece = _SnapshotHead(message.term, *at, message.position, message.total, message.crc)
            return _encoder.encode(piece), [message.chunk]
        case _:
            return _encoder.encode(message), []


def decode(head: Buffer, bulk: memoryview) -> Message:
    """The message behind `head`; its entries are slices of `bulk`, which must outlive them."""
    if len(head) > MAX_HEAD_BYTES:
        raise ValueError("a Raft message head is too long")
    decoded = _decoder.decode(head)  # msgspec.ValidationError is a ValueError
    match decoded:
        case _AppendHead():
            return _append(decoded, bulk)
        case _SnapshotHead():
            return _snapshot(decoded, bulk)
        case _:
            if len(bulk):
                raise ValueError("bytes behind a message that has no entries")
            return decoded


def _append(head: _AppendHead, bulk: memoryview) -> messages.Append:
    if sum(head.lengths) != len(bulk):
        raise ValueError("the entries' lengths do not add up to the bytes behind the head")
    entries = _cut(bulk, head.lengths)
    return messages.Append(
        head.term, head.prev_index, head.prev_term, head.commit, entries, head.skip
    )


def _snapshot(head: _SnapshotHead, bulk: memoryview) -> messages.Snapshot:
    if head.position + len(bulk) > head.total:
        raise ValueError("a piece of a snapshot that reaches beyond its end")
    at = (head.index, head.last_term)
    return messages.Snapshot(head.term, *at, head.position, head.total, head.crc, bulk)


def _cut(bulk: memoryview, lengths: tuple[int, ...]) -> tuple[memoryview, ...]:
    entries = []
    at = 0
    for length in lengths:
        entries.append(bulk[at : at + length])
        at += length
    return tuple(entries)
