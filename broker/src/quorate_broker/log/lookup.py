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
    for segment in log.indexed_segments():
        assert segment.index is not None, "loaded"
        if segment.max_timestamp < timestamp_ms or not len(segment.index):
            continue
        begin = segment.index.indexes[segment.index.first_not_older(timestamp_ms)]
        for header, data in _record_batches(log, begin, end_offset):
            if header.max_timestamp < timestamp_ms:
                continue
            for offset, time in _times(header, data):
                if time >= timestamp_ms and log.start_offset <= offset < end_offset:
                    return offset, time
        return None
    return None


def newest(log: LogView, end_offset: int) -> tuple[int, int] | None:
    """(offset, timestamp) of the first record below `end_offset` with the greatest time."""
    greatest = NO_TIME
    segments = list(log.indexed_segments())
    ends = [segment.base_offset for segment in segments[1:]] + [log.next_offset]
    for segment, end in zip(segments, ends, strict=True):
        if segment.max_timestamp <= greatest:
            continue
        # The index knows the greatest time before its last entry; only what is behind is walked.
        index = segment.index
        assert index is not None, "loaded"
        number = index.floor_of_offset(end_offset - 1)
        if number < 0:
            break
        times = [index.times[number]]
        for header, _ in _record_batches(log, index.indexes[number], min(end, end_offset)):
            times.append(header.max_timestamp)
        greatest = max(greatest, *times)
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
