"""Reading bytes that may be anything: the part of a segment behind the synced checkpoint.

`sound_entries` walks while entries are whole and in line; `inspect_rest` tells what stands behind
the first one that is not: nothing, torn bytes, or a valid batch behind a hole or behind bad bytes.
Next: `recovery`, which decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quorate_broker.log.disk import Disk
from quorate_broker.log.index import Place
from quorate_broker.log.reader import Found, follow, why_not_next
from quorate_broker.wire import batch
from quorate_broker.wire.batch import HEADER_SIZE, BatchHeader

_STEP = 1 << 20
_LEAST_STEP = 64 << 10
SECTOR = 512
"""What a disk writes wholly or not at all."""
_NOTHING = bytes(SECTOR)
_MAGIC_AT = 16
_MAGIC_BYTE = bytes([batch.MAGIC])


@dataclass(frozen=True, slots=True)
class Rest:
    """What stands behind the last sound entry."""

    torn_bytes: int
    """Up to the last byte that is not zero; zeros are preallocated space."""
    valid_at: int | None
    """Position of a valid batch: the bytes before it are no torn end."""
    is_hole: bool = False
    """Those bytes, or some of them, never reached the disk."""


def data_end(disk: Disk, handle: int, begin: int) -> int:
    """A position behind which all is zeros, at most about twice as far from `begin` as need be.

    Ask before any read: pages that were read, or read ahead, no longer count as a hole.
    """
    end = disk.size(handle)
    step = _LEAST_STEP
    while begin + step < end:
        if disk.next_data(handle, begin + step) is None:
            return begin + step
        step *= 2
    return end


def sound_entries(
    disk: Disk, handle: int, place: Place, term: int, end: int | None = None
) -> Iterator[Found]:
    """Entries from `place` on, until one is not whole, not in line or of a term that went down.

    None that begins at or behind `end` (`data_end`; the end of the file if not given).
    """
    end = disk.size(handle) if end is None else end
    while place.position < end:
        step = min(_STEP, end - place.position)
        chunk = memoryview(disk.pread(handle, step, place.position))
        at = 0
        while (header := _header(chunk, at)) is not None and at + header.size <= len(chunk):
            data = chunk[at : at + header.size]
            if header.leader_epoch < term or not _in_line(place, header, data):
                return
            yield Found(place, header, data)
            place, term = follow(place, header), header.leader_epoch
            at += header.size
        if at == 0:
            found = _large_entry(disk, handle, place, term)
            if found is None:
                return
            yield found
            place, term = follow(place, found.header), found.header.leader_epoch


def _large_entry(disk: Disk, handle: int, place: Place, term: int) -> Found | None:
    """The entry at `place` that did not fit into one step."""
    header = _header(memoryview(disk.pread(handle, HEADER_SIZE, place.position)), 0)
    if header is None or place.position + header.size > disk.size(handle):
        return None
    data = memoryview(disk.pread(handle, header.size, place.position))
    if header.leader_epoch < term or not _in_line(place, header, data):
        return None
    return Found(place, header, data)


def _header(chunk: memoryview, at: int) -> BatchHeader | None:
    if len(chunk) - at < HEADER_SIZE:
        return None
    try:
        return batch.parse_header(chunk, at)
    except batch.BatchError:
        return None


def _in_line(place: Place, header: BatchHeader, data: memoryview) -> bool:
    try:
        return why_not_next(place, header, data) is None
    except batch.BatchError:
        return False


def inspect_rest(disk: Disk, handle: int, begin: int, end: int, least_offset: int) -> Rest:
    """Look at everything from `begin` to `end` (`data_end`); holes cost nothing.

    A batch counts as valid if its CRC holds and it begins at or behind `least_offset`: older ones
    are bytes of a life before a truncation.
    """
    last_byte = begin
    at = begin
    while at < end and (data_at := disk.next_data(handle, at)) is not None:
        # A header begins with zeros, which may lie in the hole; and windows overlap by one header.
        window = min(max(at, data_at - HEADER_SIZE), end)
        chunk = disk.pread(handle, min(_STEP, end - window) + HEADER_SIZE, window)
        content = 0 if chunk == bytes(len(chunk)) else len(chunk.rstrip(b"\0"))
        if content:
            last_byte = max(last_byte, window + content)
            for found_at in _magic_places(chunk):
                if _valid_at(disk, handle, window + found_at, least_offset):
                    is_hole = _has_hole(disk, handle, begin, window + found_at, least_offset)
                    return Rest(last_byte - begin, window + found_at, is_hole)
        at = window + min(_STEP, len(chunk))
    return Rest(last_byte - begin, None)


def _has_hole(disk: Disk, handle: int, begin: int, end: int, next_offset: int) -> bool:
    """Whether a sector between two positions reads as the zeros that stood there before a write.

    Space behind the end of a segment always reads as zeros: it is preallocated, and cut to that
    when it was used before. Rot changes bytes, but leaves no whole sector of zeros.
    """
    # What a batch begins with, as far as it is known: its offset, and a length that is not 0.
    written = next_offset.to_bytes(8, "big") + b"\0\0\0\1" + bytes(SECTOR)
    position = begin
    while position < end:
        border = min(end, (position // _STEP + 1) * _STEP)
        chunk = disk.pread(handle, border - position, position)
        first = -position % SECTOR  # what is left of a sector that holds older bytes, too
        if first <= len(chunk) and chunk[:first] == bytes(first) != written[:first]:
            return True
        for at in range(first, len(chunk) - SECTOR + 1, SECTOR):
            if chunk[at : at + SECTOR] == _NOTHING:
                return True
        position = border
    return False


def _magic_places(chunk: bytes) -> Iterator[int]:
    """Where a header may begin: its magic byte stands at the right distance."""
    at = chunk.find(_MAGIC_BYTE, _MAGIC_AT)
    while at >= 0:
        yield at - _MAGIC_AT
        at = chunk.find(_MAGIC_BYTE, at + 1)


def _valid_at(disk: Disk, handle: int, position: int, least_offset: int) -> bool:
    header = _header(memoryview(disk.pread(handle, HEADER_SIZE, position)), 0)
    if header is None or header.base_offset < least_offset:
        return False
    if position + header.size > disk.size(handle):
        return False
    return batch.verify_crc(disk.pread(handle, header.size, position), header)
