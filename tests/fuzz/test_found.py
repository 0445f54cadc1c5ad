"""What fuzzing found, one test each."""

from __future__ import annotations

import random
import struct
from dataclasses import replace

import pytest
from crc32c import crc32c

from quorate_broker import config
from quorate_broker.log import checkpoint as checkpoints
from quorate_broker.log import datadir, journal
from quorate_broker.log.disk import write_whole
from quorate_broker.log.errors import CorruptLogError, DataDirError, JournalError
from quorate_broker.log.index import IndexTail, SparseIndex
from quorate_broker.log.log import Log, LogSettings
from quorate_broker.node import remembered
from quorate_broker.testing.simdisk import SimDisk
from quorate_broker.wire import batch

PATH = "/g"
SETTINGS = LogSettings(segment_bytes=400, index_interval_bytes=100, cache_bytes=0)


def disk_with_a_log() -> SimDisk:
    disk = SimDisk(random.Random(1))
    log = Log.open(disk, PATH, SETTINGS, 0, founding=b"")
    for number in range(9):
        data = batch.build([batch.Record(b"k", b"v" * 60)], timestamp_ms=1)
        batch.stamp(data, number, 1 + number // 3)
        log.append(data)
    log.checkpoint(log.last_index, b"")
    log.close()
    return disk


def reopen(disk: SimDisk) -> Log:
    return Log.open(disk, PATH, SETTINGS, 0)


def index_of(*positions: int) -> bytes:
    """An index file with entries of these positions, each with a checksum that holds."""
    data = b""
    for number, position in enumerate(positions):
        fields = struct.pack(">qqqqI", number, number, -1, position, 0)
        data += fields + struct.pack(">I", crc32c(fields))
    return data


def test_an_index_whose_positions_do_not_rise_is_built_again() -> None:
    """A reader that began at a negative position read nothing, for ever."""
    for positions in ((-5,), (0, 0), (7, 3)):
        data = index_of(*positions)
        assert SparseIndex.decode(data, len(positions), 100, IndexTail()) is None
    assert SparseIndex.decode(index_of(0, 7), 2, 100, IndexTail()) is not None


def test_an_index_that_leads_behind_the_segment_is_corruption_and_no_endless_walk() -> None:
    disk = disk_with_a_log()
    count = len(disk.content(f"{PATH}/{0:020d}.qindex")) // 40
    data = index_of(*(5_000 + n for n in range(count)))
    write_whole(disk, PATH, f"{0:020d}.qindex", data)
    log = reopen(disk)
    with pytest.raises(CorruptLogError, match="leads past"):
        list(log.walk(0, 100))
    assert log.corrupt is not None
    log.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"terms": [(5, 0), (3, 2)]},
        {"internals": [4, 4]},
        {"internals": [1 << 63]},
        {"next_offset": 0},
    ],
)
def test_a_checkpoint_that_contradicts_itself_is_corruption(changes: dict[str, object]) -> None:
    """It ended the process with an assertion, of one replica among many."""
    disk = disk_with_a_log()
    known = checkpoints.load(disk, PATH, None)
    assert known is not None
    changed = replace(known, **changes)  # type: ignore[arg-type]
    write_whole(disk, PATH, checkpoints.NAME, checkpoints.encode(changed))
    log = reopen(disk)
    assert log.corrupt is not None
    assert "checkpoint" in log.corrupt
    log.close()


def test_segments_out_of_order_in_a_checkpoint_are_corruption() -> None:
    disk = disk_with_a_log()
    known = checkpoints.load(disk, PATH, None)
    assert known is not None
    assert len(known.segments) > 1
    changed = replace(known, segments=known.segments[::-1])
    write_whole(disk, PATH, checkpoints.NAME, checkpoints.encode(changed))
    log = reopen(disk)
    assert log.corrupt is not None
    assert "do not follow each other" in log.corrupt
    log.close()


def test_a_journal_whose_text_is_no_text_is_refused_as_one() -> None:
    payload = b"\x81\xa1\x92\xc0"  # {"\x92": nil}, which is no UTF-8
    head = struct.pack(">4sQI", b"QVJ1", 0, len(payload))
    block = head + struct.pack(">I", crc32c(payload, crc32c(head))) + payload
    with pytest.raises(JournalError, match="cannot be read"):
        journal.replay(block + block)


def test_a_node_file_of_ten_thousand_brackets_is_refused_in_words() -> None:
    disk = SimDisk(random.Random(1))
    disk.mkdirs(PATH)
    write_whole(disk, PATH, "node.json", b"[" * 10_000)
    with pytest.raises(DataDirError, match=r"node\.json cannot be read"):
        datadir.read_node(disk, PATH)


def test_settings_of_a_hundred_thousand_brackets_are_as_good_as_none() -> None:
    disk = SimDisk(random.Random(1))
    disk.mkdirs(PATH)
    write_whole(disk, PATH, remembered.NAME, b'{"more":' + b"[" * 100_000)
    assert remembered.read(disk, PATH, "a cluster") == config.Said()
