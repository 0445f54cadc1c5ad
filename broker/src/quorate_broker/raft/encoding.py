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
)
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[_Head] = msgspec.msgpack.Decoder(_Head)


def encode(message: Message) -> tuple[bytes, list[Buffer]]:
    """The head of `message` and the buffers that must follow it, in order."""
    if not isinstance(message, messages.Append):
        return _encoder.encode(message), []
    lengths = tuple(len(entry) for entry in message.entries)
    head = _AppendHead(message.term, message.prev_index, message.prev_term, message.commit, lengths)
    return _encoder.encode(head), list(message.entries)


def decode(head: Buffer, bulk: memoryview) -> Message:
    """The message behind `head`; its entries are slices of `bulk`, which must outlive them."""
    if len(head) > MAX_HEAD_BYTES:
        raise ValueError("a Raft message head is too long")
    decoded = _decoder.decode(head)  # msgspec.ValidationError is a ValueError
    if not isinstance(decoded, _AppendHead):
        if len(bulk):
            raise ValueError("bytes behind a message that has no entries")
        return decoded
    if sum(decoded.lengths) != len(bulk):
        raise ValueError("the entries' lengths do not add up to the bytes behind the head")
    return messages.Append(
        decoded.term,
        decoded.prev_index,
        decoded.prev_term,
        decoded.commit,
        _cut(bulk, decoded.lengths),
    )


def _cut(bulk: memoryview, lengths: tuple[int, ...]) -> tuple[memoryview, ...]:
    entries = []
    at = 0
    for length in lengths:
        entries.append(bulk[at : at + length])
        at += length
    return tuple(entries)
