"""The checkpoint: what a log knows to be on disk, and what only it remembers (decisions 2, 12).

Bytes below its `synced` position were synced, so if they read wrong that is corruption; only what
lies behind may be a torn tail. It also keeps the mapping of index to offset, the term ranges, what
the log's own entries told and the replica's `extra` (producers), which retention takes from the
log itself. Written as a whole: temporary file, sync, rename, sync of the folder. Layout: magic,
version, CRC-32C, msgpack. Version 1 knew no memberships. Next: `recovery`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from itertools import pairwise

import msgspec
from crc32c import crc32c

from quorate_broker.log.disk import Disk, read_if_there
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.index import NO_TIME, IndexTail
from quorate_broker.log.internals import InternalMap
from quorate_broker.log.layout import Layout, Segment
from quorate_broker.log.layout import Swap as Swap
from quorate_broker.log.terms import TermTable
from quorate_broker.log.told import Told

NAME = "checkpoint"
_MAGIC = b"QCKP"
_VERSION = 2
_READ_VERSIONS = (1, 2)
_HEAD = struct.Struct(">4sHI")


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """One segment as of the checkpoint."""

    base_offset: int
    base_index: int
    size: int
    index_entries: int
    tail: IndexTail
    first_timestamp: int = NO_TIME


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything up to `next_index - 1` is synced; the last segment that has entries ends there."""

    start_offset: int
    base_index: int
    base_term: int
    terms: list[tuple[int, int]]
    internals_base: int
    internals: list[int]
    segments: list[SegmentFacts]
    next_offset: int
    next_index: int
    extra_index: int
    extra: bytes
    founding: tuple[int, bytes] | None = None  # membership before all others; None: version 1
    memberships: list[tuple[int, bytes]] = field(default_factory=list)
    starts: list[tuple[int, int]] = field(default_factory=list)
    hollow: bool = False
    clean_to: int = 0
    swaps: list[Swap] = field(default_factory=list)  # renames that may not have been made yet
    sweeping: bool = False  # segments that are not named here are not of this log any more


def of_layout(layout: Layout, extra_index: int, extra: bytes) -> Checkpoint:
    """A checkpoint of everything in the layout; valid once all of it is synced."""
    return Checkpoint(
        start_offset=layout.start_offset,
        base_index=layout.terms.base_index,
        base_term=layout.terms.base_term,
        terms=layout.terms.ranges,
        internals_base=layout.internals.base,
        internals=layout.internals.indexes,
        segments=[_facts(segment) for segment in layout.segments if segment.size],
        next_offset=layout.next_offset,
        next_index=layout.next_index,
        extra_index=extra_index,
        extra=extra,
        founding=layout.told.base,
        memberships=layout.told.memberships,
        starts=layout.told.starts,
        hollow=layout.hollow,
        clean_to=layout.clean_to,
    )


def _facts(segment: Segment) -> SegmentFacts:
    index = segment.index
    return SegmentFacts(
        base_offset=segment.base_offset,
        base_index=segment.base_index,
        size=segment.size,
        index_entries=segment.index_entries if index is None else len(index),
        tail=segment.index_tail,
        first_timestamp=segment.first_timestamp,
    )


def to_layout(checkpoint: Checkpoint, index_interval: int) -> Layout:
    """The layout at the checkpoint; indexes are not loaded. Raises CorruptLogError."""
    if not _is_in_order(checkpoint):
        raise CorruptLogError("the checkpoint's segments do not follow each other")
    try:
        return _to_layout(checkpoint, index_interval)
    except (AssertionError, OverflowError) as error:
        raise CorruptLogError(f"the checkpoint contradicts itself: {error}") from error


def _is_in_order(checkpoint: Checkpoint) -> bool:
    """Each segment holds an offset, but for the last one, which may hold internal entries only."""
    segments = checkpoint.segments
    return (
        all(facts.size > 0 and facts.index_entries >= 0 for facts in segments)
        and all(
            left.base_offset < right.base_offset and left.base_index < right.base_index
            for left, right in pairwise(segments)
        )
        and all(
            facts.base_offset <= checkpoint.next_offset and facts.base_index < checkpoint.next_index
            for facts in segments
        )
    )


def _to_layout(checkpoint: Checkpoint, index_interval: int) -> Layout:
    layout = Layout(index_interval)
    layout.start_offset = checkpoint.start_offset
    layout.next_offset = checkpoint.next_offset
    layout.next_index = checkpoint.next_index
    layout.terms = TermTable(checkpoint.base_index, checkpoint.base_term, checkpoint.terms)
    layout.internals = InternalMap(checkpoint.internals_base, checkpoint.internals)
    assert checkpoint.founding is not None, "given by whoever opens a log of version 1"
    layout.told = Told(checkpoint.founding)
    layout.told.memberships = checkpoint.memberships
    layout.told.starts = checkpoint.starts
    layout.hollow = checkpoint.hollow
    layout.clean_to = checkpoint.clean_to
    layout.segments = [
        Segment(
            base_offset=facts.base_offset,
            base_index=facts.base_index,
            index=None,
            size=facts.size,
            handed=facts.size,
            written=facts.size,
            allocated=facts.size,
            index_entries=facts.index_entries,
            tail=facts.tail,
            has_file=True,
            first_timestamp=facts.first_timestamp,
        )
        for facts in checkpoint.segments
    ]
    for segment in layout.segments[:-1]:
        segment.sealed = True
    return layout


def encode(checkpoint: Checkpoint) -> bytes:
    """The file's content."""
    body = msgspec.msgpack.encode(checkpoint)
    return _HEAD.pack(_MAGIC, _VERSION, crc32c(body)) + body


def decode(data: bytes) -> Checkpoint:
    """The opposite; raises CorruptLogError."""
    if len(data) < _HEAD.size:
        raise CorruptLogError("the checkpoint is cut short")
    magic, version, crc = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    if magic != _MAGIC or version not in _READ_VERSIONS:
        raise CorruptLogError(f"the checkpoint is not of version {_VERSION}")
    if crc32c(body) != crc:
        raise CorruptLogError("the checkpoint's checksum does not hold")
    try:
        return msgspec.msgpack.decode(body, type=Checkpoint)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptLogError(f"the checkpoint cannot be read: {error}") from error


def load(disk: Disk, path: str, founding: bytes | None) -> Checkpoint | None:
    """The checkpoint of the log in folder `path`, None if there is none.

    One of version 1 gets the `founding` membership; without it its log is hollow.
    """
    data = read_if_there(disk, f"{path}/{NAME}")
    if data is None:
        return None
    known = decode(data)
    if known.founding is None:
        known = replace(known, founding=(-1, founding or b""), hollow=founding is None)
    return known
