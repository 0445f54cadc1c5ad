"""What a snapshot says: where a log begins, who its members are, what producers and hosts were.

The leader packs what lies before its first entry; a follower that is behind begins there. Producers
and the hosted state may be newer than that place: whatever they have of later entries is passed
over when those come (`producers.record`; hosts skip records at or below their state's index).
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from quorate_broker.log.layout import Prefix

_VERSION = 1
_Index = Annotated[int, msgspec.Meta(ge=-1, le=2**62)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class Contents(msgspec.Struct, frozen=True, array_like=True):
    """All of it; `state` is (index, content)."""

    version: int
    index: _Index
    term: _Count
    offset: _Count
    internals: _Count
    start_offset: _Count
    membership: bytes
    producers: bytes
    state: tuple[_Index, bytes] | None = None

    @property
    def prefix(self) -> Prefix:
        return Prefix(
            index=self.index,
            term=self.term,
            offset=self.offset,
            internals=self.internals,
            start_offset=self.start_offset,
            membership=self.membership,
        )


def encode(prefix: Prefix, producers: bytes, state: tuple[int, bytes] | None) -> bytes:
    return _encoder.encode(
        Contents(
            version=_VERSION,
            index=prefix.index,
            term=prefix.term,
            offset=prefix.offset,
            internals=prefix.internals,
            start_offset=prefix.start_offset,
            membership=prefix.membership,
            producers=producers,
            state=state,
        )
    )


def decode(content: bytes) -> Contents:
    """Raises ValueError."""
    contents = _decoder.decode(content)  # msgspec.ValidationError is a ValueError
    if contents.version != _VERSION:
        raise ValueError(f"a snapshot of version {contents.version}")
    if contents.offset != contents.index + 1 - contents.internals:
        raise ValueError("a snapshot whose offset and index do not belong together")
    return contents


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Contents)
