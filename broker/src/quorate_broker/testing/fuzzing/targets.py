"""One function per reader of foreign bytes. It returns, or the reader is wrong.

Checksums would turn nearly every input away, so most formats are fuzzed twice: as they come, and
with a checksum that holds (a bug of ours, or of an older version, writes such files). `disks` has
the targets that need a log.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable

from crc32c import crc32c

from quorate_broker.cluster import image
from quorate_broker.cluster import records as metadata_records
from quorate_broker.errors import KafkaError
from quorate_broker.net import rpc
from quorate_broker.partition.producers import ProducerTable
from quorate_broker.raft import encoding, membership
from quorate_broker.testing.fuzzing import disks
from quorate_broker.wire import apis, batch, codec, compression, frames, records
from quorate_broker.wire.messages import consumer_protocol, group_records

Target = Callable[[bytes], None]
_CAP = 1 << 20


def requests(data: bytes) -> None:
    """What clients send."""
    with contextlib.suppress(codec.WireError, frames.UnsupportedVersion):
        frames.decode_request(memoryview(data))


_ALL = sorted(apis.APIS)


def responses(data: bytes) -> None:
    """What brokers answer: flanking nodes and tests read it."""
    if len(data) < 2:
        return
    api = apis.APIS[_ALL[data[0] % len(_ALL)]]
    version = api.first_read + data[1] % (api.max_version - api.first_read + 1)
    with contextlib.suppress(codec.WireError):
        frames.decode_response(api.key, version, memoryview(data)[2:])


_VERSIONED = (
    group_records.OffsetCommitValue,
    group_records.GroupMetadataValue,
    consumer_protocol.ConsumerProtocolSubscription,
    consumer_protocol.ConsumerProtocolAssignment,
)


def groups(data: bytes) -> None:
    """Keys and values of __consumer_offsets, and what members say of themselves."""
    if not data:
        return
    with contextlib.suppress(codec.WireError):
        if data[0] % 5 == 4:
            group_records.decode_key(data[1:])
        else:
            codec.decode_versioned(_VERSIONED[data[0] % 5], data[1:])


def batches(data: bytes) -> None:
    """Record batches, as they come and with a checksum that holds."""
    for buf in (data, with_crc(data)):
        with contextlib.suppress(KafkaError):
            batch.validate_produced(buf)
        with contextlib.suppress(KafkaError):
            batch.records(buf)
        with contextlib.suppress(KafkaError):
            batch.parse_internal(buf)
        with contextlib.suppress(KafkaError):
            list(batch.headers(buf, partial_ok=True))


def with_crc(data: bytes) -> bytes:
    """The same with the checksum and the length that the first batch needs."""
    if len(data) < batch.HEADER_SIZE:
        return data
    made = bytearray(data)
    made[8:12] = struct.pack(">i", len(data) - 12)
    made[16] = batch.MAGIC
    made[17:21] = struct.pack(">I", crc32c(bytes(made[21:])))
    return bytes(made)


def plain_records(data: bytes) -> None:
    """The records inside a batch; what can be read is written again as it was, but for varints."""
    if not data:
        return
    try:
        found = records.decode(data[1:], data[0])
    except records.RecordError:
        return
    again = bytes(records.encode_in_place(found))
    assert records.decode(again, len(found)) == found, "what was read can be written"


def codecs(data: bytes) -> None:
    """Each codec, under a cap."""
    if not data:
        return
    with contextlib.suppress(compression.CompressionError):
        plain = compression.decompress(data[0] % 6, memoryview(data)[1:], _CAP)
        assert len(plain) <= _CAP, "capped"


def raft(data: bytes) -> None:
    """What brokers send each other about their logs: heads, memberships, snapshots."""
    if len(data) < 2:
        return
    size, rest = data[0], data[1:]
    with contextlib.suppress(ValueError, KafkaError):
        encoding.decode(rest[:size], memoryview(rest)[size:])
    with contextlib.suppress(ValueError):
        membership.decode(rest)
    with contextlib.suppress(ValueError):
        ProducerTable(0, rest)


def metadata(data: bytes) -> None:
    """Records and snapshots of the metadata group."""
    with contextlib.suppress(ValueError):
        image.Image.decode(data)
    with contextlib.suppress(ValueError):
        metadata_records.from_batch_record(batch.Record(None, data))


def lines(data: bytes) -> None:
    """The stream between two brokers, in pieces."""
    reader = rpc.FrameReader()
    reader.limit = _CAP
    step = 1 + (data[0] if data else 0)
    try:
        for at in range(1, len(data), step):
            piece = data[at : at + step]
            while piece:
                room = reader.buffer()
                part, piece = piece[: len(room)], piece[len(room) :]
                room[: len(part)] = part
                reader.filled(len(part))
    except rpc.FrameError:
        return


TARGETS: dict[str, Target] = {
    "batches": batches,
    "checkpoint": disks.checkpoint,
    "codecs": codecs,
    "groups": groups,
    "index": disks.index,
    "journal": disks.journal,
    "lines": lines,
    "metadata": metadata,
    "node": disks.node,
    "settings": disks.settings,
    "plain_records": plain_records,
    "raft": raft,
    "requests": requests,
    "responses": responses,
    "rot": disks.rot,
    "segment": disks.segment,
    "state": disks.state,
}
