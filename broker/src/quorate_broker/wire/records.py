"""Single records of a v2 batch: length-prefixed, zigzag varints throughout.

Nothing on the produce or fetch path comes here. Next: `batch`, which wraps them.
Source: https://kafka.apache.org/documentation/#record
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Headers = tuple[tuple[str, bytes | None], ...]


class RecordError(Exception):
    """The bytes are not records."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record; its deltas are relative to the batch's base timestamp and base offset."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_delta: int = 0
    offset_delta: int = 0


def encode(records: Iterable[Record]) -> bytearray:
    """The payload of a batch; offset deltas are counted from 0 in the order given."""
    out = bytearray()
    for offset_delta, record in enumerate(records):
        _encode_one(out, record, offset_delta)
    return out


def encode_in_place(records: Iterable[Record]) -> bytearray:
    """The payload of a batch that may have lost records: each keeps its own offset delta."""
    out = bytearray()
    for record in records:
        _encode_one(out, record, record.offset_delta)
    return out


def later(record: Record, shift_ms: int) -> Record:
    """The record with its time counted from a base that is `shift_ms` earlier."""
    return Record(
        record.key,
        record.value,
        record.headers,
        record.timestamp_delta + shift_ms,
        record.offset_delta,
    )


def _encode_one(out: bytearray, record: Record, offset_delta: int) -> None:
    body = bytearray(1)  # attributes, unused in v2
    _write_varint(body, record.timestamp_delta)
    _write_varint(body, offset_delta)
    _write_bytes(body, record.key)
    _write_bytes(body, record.value)
    _write_varint(body, len(record.headers))
    for name, value in record.headers:
        _write_bytes(body, name.encode())
        _write_bytes(body, value)
    _write_varint(out, len(body))
    out += body


def decode(payload: bytes, count: int) -> list[Record]:
    """Exactly `count` records, and nothing behind them; raises RecordError."""
    found: list[Record] = []
    at = 0
    try:
        for _ in range(
            count
        ):  # each turn takes at least one byte or raises: bounded by the payload
            size, at = _read_varint(payload, at)
            end = at + size
            if size < 0 or end > len(payload):
                raise RecordError("a record reaches beyond its batch")
            found.append(_decode_one(payload, at, end))
            at = end
    except (IndexError, UnicodeDecodeError) as error:
        raise RecordError(f"not a record: {error}") from error
    if at != len(payload):
        raise RecordError("bytes behind the last record")
    return found


def _decode_one(payload: bytes, at: int, end: int) -> Record:
    timestamp_delta, at = _read_varint(payload, at + 1)
    offset_delta, at = _read_varint(payload, at)
    key, at = _read_bytes(payload, at, end)
    value, at = _read_bytes(payload, at, end)
    headers: Headers = ()
    if payload[at]:  # a zero varint is one zero byte
        headers, at = _read_headers(payload, at, end)
    else:
        at += 1
    if at != end:
        raise RecordError("a record whose length is not that of its fields")
    return Record(key, value, headers, timestamp_delta, offset_delta)


def _read_headers(payload: bytes, at: int, end: int) -> tuple[Headers, int]:
    count, at = _read_varint(payload, at)
    if not 0 <= count <= end - at:
        raise RecordError("more headers than bytes")
    headers = []
    for _ in range(count):
        name, at = _read_bytes(payload, at, end)
        if name is None:
            raise RecordError("a header without a name")
        value, at = _read_bytes(payload, at, end)
        headers.append((name.decode(), value))
    return tuple(headers), at


def _write_varint(out: bytearray, value: int) -> None:
    rest = value << 1 if value >= 0 else (-value << 1) - 1  # zigzag
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)


def _write_bytes(out: bytearray, value: bytes | None) -> None:
    if value is None:
        out.append(1)  # zigzag of -1
        return
    _write_varint(out, len(value))
    out += value


def _read_varint(payload: bytes, at: int) -> tuple[int, int]:
    byte = payload[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
    rest = byte & 0x7F
    for shift in range(7, 70, 7):
        at += 1
        byte = payload[at]
        rest |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (rest >> 1) ^ -(rest & 1), at + 1
    raise RecordError("a varint of more than ten bytes")


def _read_bytes(payload: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    size, at = _read_varint(payload, at)
    if size < 0:
        return None, at
    if at + size > end:
        raise RecordError("a field reaches beyond its record")
    return payload[at : at + size], at + size
