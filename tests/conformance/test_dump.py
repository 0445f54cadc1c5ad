"""Kafka's own DumpLogSegments reads our segments: sealed, cleanly closed, and compacted ones."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable
from typing import Any

from quorate_broker.log import cleaner
from quorate_broker.log.disk import OsDisk
from quorate_broker.log.log import Log, LogSettings
from quorate_broker.wire import batch, compression

Dump = Callable[..., tuple[list[str], list[str]]]
SETTINGS = LogSettings(segment_bytes=1_500, index_interval_bytes=300, preallocate_bytes=1 << 16)
BATCH = re.compile(
    r"baseOffset: (\d+) lastOffset: (-?\d+) count: (\d+)"
    r" baseSequence: (-?\d+) lastSequence: (-?\d+)"
    r" producerId: (-?\d+) producerEpoch: (-?\d+) partitionLeaderEpoch: (\d+)"
    r" isTransactional: (\w+) isControl: (\w+) deleteHorizonMs: (\S+) position: (\d+)"
    r" \w+: (-?\d+) size: (\d+) magic: 2 compresscodec: (\w+) crc: (\d+) isvalid: true"
)
RECORD = re.compile(r"\| offset: (\d+) .* key: (\S+)(?: payload: ?(.*))?$")
PRODUCERS = (7, 8)
SHORT_LIVED = 9  # writes once, and all of that is overwritten


def written(folder: pathlib.Path) -> Log:
    """Several segments: producers, codecs, tombstones, internal entries in the middle."""
    log = Log.open(OsDisk(), str(folder), SETTINGS, 0, founding=b"")
    log.append_internal(batch.InternalKind.TERM_START, 1, b"leader", 1_000)
    sequences = dict.fromkeys((*PRODUCERS, SHORT_LIVED), 0)
    for number in range(60):
        term = 1 + number // 20
        if number % 20 == 10:
            log.append_internal(batch.InternalKind.MEMBERSHIP, term, b"voters", 1_000)
        fields: dict[str, Any] = {}
        if number % 3:
            producer = SHORT_LIVED if number == 1 else PRODUCERS[number % 2]
            sequence = sequences[producer]
            sequences[producer] += 2
            fields = {"producer_id": producer, "producer_epoch": 1, "base_sequence": sequence}
        made = [
            batch.Record(b"k%d" % (number % 7), b"value of %d" % number * 5, (("h", b"x"),)),
            batch.Record(b"k%d" % (number % 5), b"v" if number % 4 else None, (), 3),
        ]
        codec = compression.Codec(number % 5)
        data = batch.build(made, timestamp_ms=1_000 + number, attributes=codec, **fields)
        batch.stamp(data, log.next_offset, term)
        log.append(data)
        flush(log)
    log.checkpoint(log.last_index, b"")
    flush(log)
    return log


def flush(log: Log) -> None:
    while (job := log.take_job()) is not None:
        job.run()
        log.job_done(job)


def ours(log: Log) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Batches and records as the tool should print them."""
    batches: list[tuple[Any, ...]] = []
    records: list[tuple[Any, ...]] = []
    for _, header, data in log.walk(log.first_index, 1 << 20):
        horizon = header.delete_horizon_ms
        batches.append(
            (
                header.base_offset,
                header.last_offset,
                header.count,
                header.base_sequence,
                header.last_sequence,
                header.producer_id,
                header.producer_epoch,
                header.leader_epoch,
                header.is_control,
                "OptionalLong.empty" if horizon is None else f"OptionalLong[{horizon}]",
                header.max_timestamp,
                header.size,
                compression.Codec(header.codec).name.lower(),
                header.crc,
            )
        )
        for record in batch.records(data):
            assert record.key is not None
            value = None if record.value is None else record.value.decode()
            records.append((header.base_offset + record.offset_delta, record.key.decode(), value))
    return batches, records


def theirs(lines: list[str]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """What the tool printed."""
    batches: list[tuple[Any, ...]] = []
    records: list[tuple[Any, ...]] = []
    for line in lines:
        if found := BATCH.match(line):
            texts = list(found.groups())
            numbers = [int(text) for text in texts[:8]]
            control, horizon = texts[9] == "true", texts[10]
            size, codec, crc = int(texts[13]), texts[14], int(texts[15])
            batches.append((*numbers, control, horizon, int(texts[12]), size, codec, crc))
        elif found := RECORD.match(line):
            records.append((int(found[1]), found[2], found[3]))
        else:
            assert line.startswith(("Dumping ", "Log starting offset: ")), line
    return batches, records


def holes(folder: pathlib.Path) -> list[str]:
    """The only complaint that there may be: offsets that do not follow each other. The tool
    begins each file at -1, so it says so of every segment whose first record is not 0."""
    lines = []
    for path in segments(folder):
        data = path.read_bytes()
        before = -1
        for at, header in batch.headers(data):
            for record in batch.records(data[at : at + header.size]):
                offset = header.base_offset + record.offset_delta
                if offset != before + 1:
                    lines.append(f"  {before} is followed by {offset}")
                before = offset
    return sorted(lines)


def complaints(lines: list[str]) -> list[str]:
    return sorted(line for line in lines if not line.startswith("Non-consecutive offsets in"))


def segments(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.glob("*.log"))


def test_kafkas_tool_reads_sealed_and_cleanly_closed_segments(
    dump_segments: Dump, tmp_path: pathlib.Path
) -> None:
    log = written(tmp_path)
    expected = ours(log)
    log.close()
    assert len(segments(tmp_path)) > 3
    printed, complained = dump_segments(*segments(tmp_path))
    assert theirs(printed) == expected
    assert complaints(complained) == holes(tmp_path)
    assert len(complaints(complained)) == len(segments(tmp_path)) - 1
    assert len(expected[0]) == 60 + 4
    assert len(expected[1]) == 120


def test_kafkas_tool_reads_compacted_segments_with_their_gaps(
    dump_segments: Dump, tmp_path: pathlib.Path
) -> None:
    log = written(tmp_path)
    policy = cleaner.CleanerPolicy(delete_retention_ms=5_000)
    cleaning = cleaner.plan(log, policy, 10_000, log.next_offset, log.next_offset)
    assert cleaning is not None
    cleaned = cleaning.run()
    assert cleaned is not None
    log.swap(cleaned)
    flush(log)
    log.close()
    log = Log.open(OsDisk(), str(tmp_path), SETTINGS, 0)  # without what it had in memory
    batches, records = expected = ours(log)
    log.close()
    printed, complained = dump_segments(*segments(tmp_path))
    assert theirs(printed) == expected
    assert complaints(complained) == holes(tmp_path)
    gaps = [row for row in batches if row[2] == 0 and not row[8]]
    assert any(row[1] > row[0] + 1 for row in gaps), "several batches grew together"
    assert any(row[5] == SHORT_LIVED for row in gaps), "a producer's last numbers are kept"
    assert any(row[9] == "OptionalLong[15000]" for row in batches), "tombstones have a horizon"
    assert len(records) < 60
