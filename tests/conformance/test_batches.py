"""Kafka's own classes read our batches, step over our internal entries, and we read theirs."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

from quorate_broker.wire import batch, compression

JavaBatches = Callable[[str, pathlib.Path], str]

RECORDS = [
    batch.Record(b"key", b"value" * 300, (("name", b"x"), ("none", None))),
    batch.Record(None, None, timestamp_delta=7),
    batch.Record(b"last", b"", timestamp_delta=-5),
]


def lines_of(built: bytearray, codec: str, kind: str = "data") -> list[str]:
    """What Batches.java prints for a batch."""
    header = batch.parse_header(built)
    lines = [
        f"batch {header.base_offset} {header.last_offset} {header.leader_epoch} {codec}"
        f" {header.producer_id} {header.producer_epoch} {header.base_sequence}"
        f" {header.last_sequence} {kind}"
    ]
    for record in batch.records(built):
        offset = header.base_offset + record.offset_delta
        timestamp = header.base_timestamp + record.timestamp_delta
        texts = [f"record {offset} {timestamp} {shown(record.key)} {shown(record.value)}"]
        texts += [f"{name}={shown(value)}" for name, value in record.headers]
        lines.append(" ".join(texts))
    return lines


def shown(data: bytes | None) -> str:
    return "null" if data is None else f"x{data.hex()}"


def internal(offset: int, internals: int, kind: batch.InternalKind) -> bytearray:
    return batch.build_internal(
        base_offset=offset,
        leader_epoch=4,
        index=offset + internals - 1,
        internals=internals,
        kind=kind,
        content=b"voters",
        timestamp_ms=900,
    )


def test_kafka_reads_our_segment_and_steps_over_internal_entries(
    java_batches: JavaBatches, tmp_path: pathlib.Path
) -> None:
    first = internal(0, 1, batch.InternalKind.TERM_START)
    pieces, expected = [first], lines_of(first, "none", "control")
    offset = 0
    for codec in compression.Codec:
        built = batch.build(
            RECORDS,
            base_offset=offset,
            leader_epoch=4,
            timestamp_ms=1000,
            producer_id=7,
            producer_epoch=2,
            base_sequence=offset,
            attributes=codec,
        )
        between = internal(offset + len(RECORDS), 2 + codec, batch.InternalKind.MEMBERSHIP)
        pieces += [built, between]
        expected += lines_of(built, codec.name.lower())
        expected += lines_of(between, "none", "control")
        offset += len(RECORDS)
    segment = tmp_path / "00000000000000000000.log"
    segment.write_bytes(b"".join(pieces))
    assert java_batches("read", segment).splitlines() == expected
    assert len(expected) == 1 + len(compression.Codec) * (2 + len(RECORDS))


def test_we_read_what_kafka_writes_with_every_codec(
    java_batches: JavaBatches, tmp_path: pathlib.Path
) -> None:
    segment = tmp_path / "theirs.log"
    java_batches("write", segment)
    data = segment.read_bytes()
    *batches, marker = [data[at : at + header.size] for at, header in batch.headers(data)]
    for codec, found in zip(compression.Codec, batches, strict=True):
        produced = bytearray(found)
        batch.stamp(produced, 0, -1)
        header = batch.validate_produced(produced)
        assert (header.codec, header.producer_id, header.base_sequence) == (codec, 7, 3 * codec)
        assert [(r.key, r.value, r.headers, r.timestamp_delta) for r in batch.records(found)] == [
            (r.key, r.value, r.headers, r.timestamp_delta) for r in RECORDS
        ]
    end = batch.parse_header(marker)
    assert end.is_control
    assert not end.is_internal
    assert batch.verify_crc(marker, end)
    assert len(batch.records(marker)) == 1
