"""What compaction leaves of a batch: fewer records, none, or a gap where many batches stood.

Offsets never move: a batch keeps its first and last offset and each record its own, so there are
holes, as in Kafka's compacted logs. A batch without records stays as an *empty batch* (count 0,
not control), because entries of the Raft log must follow each other without a hole. An empty batch
keeps its producer's numbers if they are the last ones known; else it is nobody's, and neighbours
grow together to a gap. Next: `log.cleaner_filter`, which decides.

Source: KIP-534 for the delete horizon; Kafka's MemoryRecords.filterTo.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from quorate_broker.wire import batch, compression
from quorate_broker.wire import records as record_codec
from quorate_broker.wire.batch import BatchHeader
from quorate_broker.wire.compression import Codec
from quorate_broker.wire.records import Record

NO_TIMESTAMP = -1
MAX_OFFSET_DELTA = 2**31 - 1


def rewritten(
    header: BatchHeader, kept: Sequence[Record], delete_horizon_ms: int | None = None
) -> bytearray:
    """The batch again with only these of its records, their offsets as they were (compaction).

    Codec, producer and sequence numbers stay. A delete horizon takes the place of the base
    timestamp; the records' own times stay.
    """
    assert kept, "a batch without records is `emptied`"
    attributes, base_timestamp = header.attributes, header.base_timestamp
    if delete_horizon_ms is not None:
        shift = base_timestamp - delete_horizon_ms
        kept = [record_codec.later(record, shift) for record in kept]
        attributes, base_timestamp = attributes | batch.DELETE_HORIZON, delete_horizon_ms
    newest = base_timestamp + max(record.timestamp_delta for record in kept)
    plain = record_codec.encode_in_place(kept)
    codec = Codec(header.codec)
    payload = compression.compress(codec, bytes(plain)) if codec else plain
    return batch.assemble(
        msgspec.structs.replace(
            header,
            length=batch.LEAST_LENGTH + len(payload),
            attributes=attributes,
            base_timestamp=base_timestamp,
            max_timestamp=header.max_timestamp if attributes & batch.LOG_APPEND_TIME else newest,
            count=len(kept),
        ),
        payload,
    )


def emptied(header: BatchHeader) -> bytearray:
    """The batch without its records: its offsets, its term and its producer's numbers stay.

    It has no time, so that no search by time ends in it.
    """
    assert not header.is_control, "a marker is no batch of records"
    return batch.assemble(
        msgspec.structs.replace(
            header,
            length=batch.LEAST_LENGTH,
            attributes=header.attributes & batch.TRANSACTIONAL,
            base_timestamp=NO_TIMESTAMP,
            max_timestamp=NO_TIMESTAMP,
            count=0,
        ),
        b"",
    )


def gap(base_offset: int, last_offset: int, leader_epoch: int) -> bytearray:
    """An empty batch of nobody in the place of all of one term's batches from here to there."""
    assert 0 <= last_offset - base_offset <= MAX_OFFSET_DELTA, "fits into a header"
    return batch.assemble(
        BatchHeader(
            base_offset=base_offset,
            length=batch.LEAST_LENGTH,
            leader_epoch=leader_epoch,
            magic=batch.MAGIC,
            crc=0,
            attributes=0,
            last_offset_delta=last_offset - base_offset,
            base_timestamp=NO_TIMESTAMP,
            max_timestamp=NO_TIMESTAMP,
            producer_id=batch.NO_PRODUCER,
            producer_epoch=-1,
            base_sequence=-1,
            count=0,
        ),
        b"",
    )
