"""Search by time, for ListOffsets: the sparse index finds the stretch, its headers the batch.

Only the one batch that holds the answer has its records looked into.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from quorate_broker.log.index import NO_TIME
from quorate_broker.wire import batch
from quorate_broker.wire.batch import LOG_APPEND_TIME, BatchHeader

if TYPE_CHECKING:
    from quorate_broker.log.view import LogView

_STEP = 256 << 10


def first_not_older(log: LogView, timestamp_ms: int, end_offset: int) -> tuple[int, int] | None:
    """(offset, timestamp) of the first record below `end_offset` of at least this time."""
    for segment, end in log.segments_since(max(timestamp_ms, 0)):
        index = segment.index
        assert index is not None, "loaded"
        begin = index.indexes[index.first_not_older(timestamp_ms)]
        for header, data in _record_batches(log, begin, min(end, end_offset)):
            if header.max_timestamp < timestamp_ms or header.next_offset <= log.start_offset:
                continue
            for offset, time in _times(header, data):
                if time >= timestamp_ms and log.start_offset <= offset < end_offset:
                    return offset, time
        if end >= end_offset:
            break
    return None


def newest(log: LogView, end_offset: int) -> tuple[int, int] | None:
    """(offset, timestamp) of the first record below `end_offset` with the greatest time."""
    greatest = NO_TIME
    for segment, end in log.segments_since(0):
        if segment.max_timestamp <= greatest or segment.base_offset >= end_offset:
            continue
        index = segment.index
        assert index is not None, "loaded"
        if segment.base_offset >= log.start_offset:
            # The index knows the greatest time before each entry: only what is behind is walked.
            number = max(0, index.floor_of_offset(min(end, end_offset) - 1))
            greatest = max(greatest, index.times[number])
        else:
            number = max(0, index.floor_of_offset(log.start_offset))
        for header, _ in _record_batches(log, index.indexes[number], min(end, end_offset)):
            if header.next_offset > log.start_offset:
                greatest = max(greatest, header.max_timestamp)
    return None if greatest == NO_TIME else first_not_older(log, greatest, end_offset)


def _record_batches(
    log: LogView, index: int, end_offset: int
) -> Iterator[tuple[BatchHeader, memoryview]]:
    """Batches with records of clients that begin below `end_offset`, from `index` on."""
    for _, header, data in log.walk(index, _STEP):
        if header.base_offset >= end_offset:
            return
        if not header.is_control:
            yield header, data


def _times(header: BatchHeader, data: memoryview) -> Iterator[tuple[int, int]]:
    """(offset, timestamp) of each record."""
    if header.attributes & LOG_APPEND_TIME:
        yield header.base_offset, header.max_timestamp
        return
    for record in batch.records(data):
        yield (
            header.base_offset + record.offset_delta,
            header.base_timestamp + record.timestamp_delta,
        )
