"""Record batches, format v2, handled in place.

A batch is the unit of everything: what a producer sends, what one Raft entry is, what lies in a
segment, what a fetch returns. The broker reads its 61-byte header and writes two fields of it
(base offset, leader epoch: the CRC covers neither); the records behind stay as they came.

An *internal entry* is Raft's own (a term began, membership changed, the log's start moved): a
control batch with no record and a last offset delta of -1. It takes an index but no offset, and
Kafka's own readers step over it. Next: `records` for what is inside, `compacted` for what is left
of a batch, `log.log` for where it goes.

    0 base offset   8 length   12 leader epoch   16 magic   17 crc   21 attributes
    23 last offset delta   27 base timestamp   35 max timestamp   43 producer id
    51 producer epoch   53 base sequence   57 count   61 records

Source: https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import crc32c as crc32c_library
import msgspec

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire import compression
from quorate_broker.wire import records as record_codec
from quorate_broker.wire.compression import Codec as Codec
from quorate_broker.wire.limits import LIMITS
from quorate_broker.wire.records import Record as Record
from quorate_broker.wire.schema import Buffer as Buffer

HEADER_SIZE = 61
MAGIC = 2
NO_PRODUCER = -1

CODEC_MASK = 0x07
LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20
DELETE_HORIZON = 0x40
"""The base timestamp is the time from which the batch's tombstones may go (KIP-534)."""

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH_AT = 8
_LENGTH_END = 12  # the length field counts from here
_EPOCH_AT = 12
_CRC_AT = 17
_CRC_FROM = 21  # the first byte that the CRC covers
_MAX_TIMESTAMP_AT = 35
LEAST_LENGTH = HEADER_SIZE - _LENGTH_END
_MAX_SEQUENCE = 2**31 - 1

_INT32 = struct.Struct(">i")
_UINT32 = struct.Struct(">I")
_INT64 = struct.Struct(">q")
_INT16 = struct.Struct(">h")


class BatchError(KafkaError):
    """The bytes are not a record batch (CORRUPT_MESSAGE) or not one we keep (INVALID_RECORD)."""


class BatchHeader(msgspec.Struct, frozen=True):
    """The 61 bytes, as they stand. A struct that is built in C: there is one per produce."""

    base_offset: int
    length: int
    """Bytes behind the length field itself."""
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    count: int

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return _LENGTH_END + self.length

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def is_control(self) -> bool:
        return self.attributes & CONTROL != 0

    @property
    def is_internal(self) -> bool:
        """Raft's own entry: has an index, has no offset."""
        return self.last_offset_delta == -1 and self.count == 0 and self.is_control

    @property
    def is_transactional(self) -> bool:
        return self.attributes & TRANSACTIONAL != 0

    @property
    def codec(self) -> int:
        return self.attributes & CODEC_MASK

    @property
    def delete_horizon_ms(self) -> int | None:
        """When tombstones of this batch may go; None until compaction has met one in it."""
        return self.base_timestamp if self.attributes & DELETE_HORIZON else None

    @property
    def last_sequence(self) -> int:
        """Sequence number of the last record; wraps from 2^31 - 1 to 0. -1: no producer."""
        if self.base_sequence < 0:
            return -1
        return (self.base_sequence + self.last_offset_delta) & _MAX_SEQUENCE


class InternalKind(IntEnum):
    """What an internal entry says."""

    TERM_START = 1
    MEMBERSHIP = 2
    LOG_START = 3


@dataclass(frozen=True, slots=True)
class InternalEntry:
    """The content of an internal entry."""

    kind: InternalKind
    index: int
    """Its own Raft index."""
    internals: int
    """Internal entries in the log up to and including this one."""
    content: bytes


# ---------------------------------------------------------------------------------------- reading


def parse_header(buf: Buffer, at: int = 0) -> BatchHeader:
    """The header that begins at `at`. The records behind it need not be there yet.

    Raises BatchError when it is cut short, is not v2, or says what no header may say.
    """
    try:
        header = BatchHeader(*_HEADER.unpack_from(buf, at))
    except struct.error:
        raise BatchError(ErrorCode.CORRUPT_MESSAGE, "a batch header is cut short") from None
    if header.magic != MAGIC:
        raise BatchError(
            ErrorCode.INVALID_RECORD, f"record format {header.magic}; only version 2 is kept"
        )
    if not LEAST_LENGTH <= header.length <= LIMITS.batch_bytes:
        raise BatchError(ErrorCode.CORRUPT_MESSAGE, f"a batch of {header.length} bytes")
    if header.base_offset < 0 or header.count < 0:
        raise BatchError(ErrorCode.CORRUPT_MESSAGE, "a batch with a negative offset or count")
    if header.last_offset_delta < 0 and not header.is_internal:
        raise BatchError(ErrorCode.INVALID_RECORD, "a batch that ends before it begins")
    return header


def headers(buf: Buffer, partial_ok: bool = False) -> Iterator[tuple[int, BatchHeader]]:
    """Position and header of each batch in `buf`, one after the other.

    A batch cut short at the end raises BatchError, or ends the walk when `partial_ok`.
    """
    at = 0
    end = len(buf)
    while at < end:
        if partial_ok and end - at < HEADER_SIZE:
            return
        header = parse_header(buf, at)
        if at + header.size > end:
            if partial_ok:
                return
            raise BatchError(ErrorCode.CORRUPT_MESSAGE, "a batch is cut short")
        yield at, header
        at += header.size


def crc_of(buf: Buffer, header: BatchHeader, at: int = 0) -> int:
    """CRC-32C of what the batch's own CRC covers: attributes to the last record."""
    with memoryview(buf) as view, view[at + _CRC_FROM : at + header.size] as covered:
        return crc32c_library.crc32c(covered)


def verify_crc(buf: Buffer, header: BatchHeader, at: int = 0) -> bool:
    """Whether the whole batch is there and its CRC holds."""
    return at + header.size <= len(buf) and crc_of(buf, header, at) == header.crc


def validate_produced(buf: Buffer) -> BatchHeader:
    """The header of what a producer sent for one partition; raises KafkaError.

    Exactly one batch of format v2 (as Kafka since 4.0), its counts agree, its CRC holds. Records
    are not walked.
    """
    if len(buf) == 0:
        raise BatchError(ErrorCode.INVALID_RECORD, "no record batch")
    header = parse_header(buf)
    if header.size > len(buf):
        raise BatchError(ErrorCode.CORRUPT_MESSAGE, "the batch is cut short")
    if header.size < len(buf):
        raise BatchError(ErrorCode.INVALID_RECORD, "more than one record batch")
    if not verify_crc(buf, header):
        raise BatchError(ErrorCode.CORRUPT_MESSAGE, "the checksum of the batch does not hold")
    reason = _why_not_producible(header)
    if reason is not None:
        raise BatchError(ErrorCode.INVALID_RECORD, reason)
    return header


def _why_not_producible(header: BatchHeader) -> str | None:
    if header.is_control:
        return "clients do not write control batches"
    if header.base_offset != 0:
        return "the base offset of a produced batch is 0"
    if header.count < 1 or header.count != header.last_offset_delta + 1:
        return "the number of records is not what the offsets say"
    if header.codec > Codec.ZSTD:
        return f"unknown codec {header.codec}"
    has_producer = header.producer_id >= 0
    if has_producer and (header.base_sequence < 0 or header.producer_epoch < 0):
        return "a producer id without an epoch and a sequence number"
    if header.is_transactional and not has_producer:
        return "a transactional batch without a producer id"
    return None


def records(buf: Buffer, at: int = 0) -> list[Record]:
    """The records of the batch at `at`, decompressed up to a cap; raises BatchError."""
    header = parse_header(buf, at)
    if at + header.size > len(buf):
        raise BatchError(ErrorCode.CORRUPT_MESSAGE, "the batch is cut short")
    if header.is_internal:
        return []
    with memoryview(buf) as view, view[at + HEADER_SIZE : at + header.size] as payload:
        try:
            plain = compression.decompress(header.codec, payload, LIMITS.decompressed_bytes)
            return record_codec.decode(plain, header.count)
        except compression.CompressionError as error:
            raise BatchError(ErrorCode.CORRUPT_MESSAGE, str(error)) from error
        except record_codec.RecordError as error:
            raise BatchError(ErrorCode.INVALID_RECORD, str(error)) from error


# ---------------------------------------------------------------------------------------- writing


def stamp(buf: bytearray | memoryview, base_offset: int, leader_epoch: int) -> None:
    """Write the two fields that are the leader's, in place. The CRC covers neither."""
    _INT64.pack_into(buf, 0, base_offset)
    _INT32.pack_into(buf, _EPOCH_AT, leader_epoch)


def stamp_append_time(buf: bytearray | memoryview, timestamp_ms: int) -> None:
    """Make `timestamp_ms` the time of every record (LogAppendTime), in place, with a new CRC."""
    header = parse_header(buf)
    _INT16.pack_into(buf, _CRC_FROM, header.attributes | LOG_APPEND_TIME)
    _INT64.pack_into(buf, _MAX_TIMESTAMP_AT, timestamp_ms)
    _UINT32.pack_into(buf, _CRC_AT, crc_of(buf, header))


def build(  # noqa: PLR0913 - the fields of a header, by name
    records: Sequence[Record],
    *,
    base_offset: int = 0,
    leader_epoch: int = -1,
    timestamp_ms: int,
    producer_id: int = NO_PRODUCER,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    attributes: int = 0,
) -> bytearray:
    """A whole batch of at least one record, with its CRC.

    Offset deltas are counted from 0; timestamp deltas are the records' own. The codec is that of
    `attributes`.
    """
    assert records, "a batch of ours has a record"
    plain = record_codec.encode(records)
    codec = Codec(attributes & CODEC_MASK)
    payload = compression.compress(codec, bytes(plain)) if codec else plain
    deltas = [record.timestamp_delta for record in records]
    return assemble(
        BatchHeader(
            base_offset=base_offset,
            length=LEAST_LENGTH + len(payload),
            leader_epoch=leader_epoch,
            magic=MAGIC,
            crc=0,
            attributes=attributes,
            last_offset_delta=len(records) - 1,
            base_timestamp=timestamp_ms,
            max_timestamp=timestamp_ms + max(deltas),
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            base_sequence=base_sequence,
            count=len(records),
        ),
        payload,
    )


def assemble(header: BatchHeader, payload: bytes | bytearray) -> bytearray:
    """The bytes of a batch of this header, which knows its length, with their CRC."""
    out = bytearray(header.size)
    _HEADER.pack_into(
        out,
        0,
        header.base_offset,
        header.length,
        header.leader_epoch,
        header.magic,
        header.crc,
        header.attributes,
        header.last_offset_delta,
        header.base_timestamp,
        header.max_timestamp,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.count,
    )
    out[HEADER_SIZE:] = payload
    _UINT32.pack_into(out, _CRC_AT, crc_of(out, header))
    return out


# ------------------------------------------------------------------------------- internal entries

_INTERNAL = struct.Struct(">BBqq")  # layout version, kind, index, internal entries so far
_INTERNAL_VERSION = 1


def build_internal(  # noqa: PLR0913 - the fields of an entry, by name
    *,
    base_offset: int,
    leader_epoch: int,
    index: int,
    internals: int,
    kind: InternalKind,
    content: bytes,
    timestamp_ms: int,
) -> bytearray:
    """An internal entry at Raft index `index`; the next real record still gets `base_offset`."""
    assert index >= 0, "an entry has an index"
    assert internals >= 1, "an internal entry counts itself"
    assert base_offset == index - (internals - 1), "index = offset + internal entries before it"
    payload = _INTERNAL.pack(_INTERNAL_VERSION, kind, index, internals) + content
    return assemble(
        BatchHeader(
            base_offset=base_offset,
            length=LEAST_LENGTH + len(payload),
            leader_epoch=leader_epoch,
            magic=MAGIC,
            crc=0,
            attributes=CONTROL,
            last_offset_delta=-1,
            base_timestamp=timestamp_ms,
            max_timestamp=timestamp_ms,
            producer_id=NO_PRODUCER,
            producer_epoch=-1,
            base_sequence=-1,
            count=0,
        ),
        payload,
    )


def parse_internal(buf: Buffer, at: int = 0) -> InternalEntry:
    """What the internal entry at `at` says; raises BatchError."""
    header = parse_header(buf, at)
    if not header.is_internal:
        raise BatchError(ErrorCode.INVALID_RECORD, "not an internal entry")
    end = at + header.size
    content_at = at + HEADER_SIZE + _INTERNAL.size
    if content_at > end or end > len(buf):
        raise BatchError(ErrorCode.CORRUPT_MESSAGE, "an internal entry is cut short")
    version, kind, index, internals = _INTERNAL.unpack_from(buf, at + HEADER_SIZE)
    if version != _INTERNAL_VERSION or kind not in _KINDS:
        raise BatchError(
            ErrorCode.CORRUPT_MESSAGE, f"an internal entry of kind {kind}, layout {version}"
        )
    return InternalEntry(InternalKind(kind), index, internals, bytes(buf[content_at:end]))


_KINDS = frozenset(InternalKind)
