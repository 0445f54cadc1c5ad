"""Targets that read files: what a log, a journal or a data directory makes of any bytes.

Beside "no exception but the documented one" most have a property: a log whose files rotted serves
what was written or calls itself corrupt, whichever bytes it was; a journal forgets nothing but,
at worst, its last block. Next: `targets`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import random
import struct

from crc32c import crc32c

from quorate_broker.log import checkpoint as checkpoints
from quorate_broker.log import cleaner, datadir, statefile
from quorate_broker.log import journal as journals
from quorate_broker.log.errors import (
    BelowLogStartError,
    CorruptLogError,
    DataDirError,
    JournalError,
)
from quorate_broker.log.index import IndexTail, SparseIndex
from quorate_broker.log.log import Log, LogSettings
from quorate_broker.log.scrub import Scrub
from quorate_broker.node import remembered
from quorate_broker.testing.simdisk import SimDisk
from quorate_broker.wire import batch

_PATH = "/g"
_CLUSTER = "1f0e9b3c-5d6a-4b52-9d0e-0d2a5d7a8c11"
_SETTINGS = LogSettings(segment_bytes=500, index_interval_bytes=150, preallocate_bytes=64)
_FIRST = "00000000000000000000.log"
_STEP = 1 << 20


def _disk(files: dict[str, bytes]) -> SimDisk:
    disk = SimDisk(random.Random(0))
    disk.mkdirs(_PATH)
    for name, content in files.items():
        handle = disk.open(f"{_PATH}/{name}", create=True)
        disk.pwrite(handle, [content], 0)
        disk.sync(handle)
        disk.close(handle)
    disk.sync_dir(_PATH)
    return disk


def _files(disk: SimDisk) -> dict[str, bytes]:
    return {name: disk.content(f"{_PATH}/{name}") for name in disk.listdir(_PATH)}


def _open(disk: SimDisk) -> Log:
    return Log.open(disk, _PATH, _SETTINGS, 0, founding=b"")


def _flush(log: Log) -> None:
    while (job := log.take_job()) is not None:
        job.run()
        log.job_done(job)


@functools.cache
def _sound() -> tuple[dict[str, bytes], list[bytes]]:
    """Files of a log of a few segments with a hosted state, and the entries in it."""
    disk = _disk({})
    log = _open(disk)
    for number in range(12):
        if number % 4 == 0:
            log.append_internal(batch.InternalKind.TERM_START, 1 + number, b"x", 0)
        made = [batch.Record(b"k%d" % (number % 3), b"v" * 40)] * 2
        data = batch.build(made, timestamp_ms=number, attributes=number % 3)
        batch.stamp(data, log.next_offset, 1 + number // 4 * 4)
        log.append(data)
        _flush(log)
    log.put_state(3, b"hosted")
    log.checkpoint(log.last_index, b"extra")
    _flush(log)
    entries = _entries(log)
    log.close()
    return _files(disk), entries


@functools.cache
def _empty() -> dict[str, bytes]:
    disk = _disk({})
    _open(disk).close()
    return _files(disk)


def _entries(log: Log) -> list[bytes]:
    return [bytes(data) for _, _, data in log.walk(log.first_index, _STEP)]


def segment(data: bytes) -> None:
    """A tail behind the checkpoint: the next start keeps what this one kept, byte for byte."""
    disk = _disk(_empty() | {_FIRST: data})
    log = _open(disk)
    if log.corrupt is not None:
        return
    entries = _entries(log)
    log.offset_for_time(0, log.next_offset)
    log.close()
    again = _open(disk)
    assert again.corrupt is None, again.corrupt
    assert again.recovery.torn_bytes == 0, "cut once"
    assert _entries(again) == entries
    again.close()


def rot(data: bytes) -> None:
    """Any bytes of any file of a log are others than were written."""
    files, entries = _sound()
    rotten = dict(files)
    names = sorted(files)
    for at in range(0, len(data) - 3, 4):
        name = names[data[at] % len(names)]
        content = bytearray(rotten[name])
        place = int.from_bytes(data[at + 1 : at + 3], "big")
        if place < len(content):
            content[place] = data[at + 3]
        elif place % 7 == 0:
            del content[data[at + 3] % (len(content) + 1) :]
        rotten[name] = bytes(content)
    if rotten == files:
        return
    log = _open(_disk(rotten))
    if log.corrupt is None:
        with contextlib.suppress(CorruptLogError):
            _serve(log, entries)
    log.close()


def _serve(log: Log, entries: list[bytes]) -> None:
    """Every way to look at old bytes."""
    scrub = Scrub(log)
    while scrub.step(_STEP) is not None:
        pass
    cleaning = cleaner.plan(log, cleaner.CleanerPolicy(0.0), 1 << 40, log.next_offset, 0)
    if cleaning is not None:
        cleaning.run()
    assert _entries(log) == entries, "rot is never served"
    log.offset_for_time(5, log.next_offset)
    log.max_timestamp(log.next_offset)


def checkpoint(data: bytes) -> None:
    """A checkpoint of any content, as it comes and with a checksum that holds."""
    files, _ = _sound()
    known = files[checkpoints.NAME]
    sealed = known[:6] + struct.pack(">I", crc32c(data)) + data
    for content in (data, sealed):
        log = _open(_disk(files | {checkpoints.NAME: content}))
        if log.corrupt is None:
            with contextlib.suppress(CorruptLogError, BelowLogStartError):
                _entries(log)
        log.close()


def state(data: bytes) -> None:
    """The hosted state's file, as it comes and sealed."""
    known = statefile.encode(0, b"")
    for content in (data, known[:6] + struct.pack(">I", crc32c(data)) + data):
        with contextlib.suppress(CorruptLogError):
            statefile.decode(content)


def index(data: bytes) -> None:
    """An index file, as it comes and with checksums that hold."""
    count = len(data) // 40 + 1
    SparseIndex.decode(data, count, 100, IndexTail())
    sealed = bytearray()
    for at in range(0, len(data) - 35, 36):
        fields = data[at : at + 36]
        sealed += fields + struct.pack(">I", crc32c(fields))
    found = SparseIndex.decode(bytes(sealed), len(sealed) // 40, 100, IndexTail())
    assert found is None or found.encode(0, len(found)) == sealed
    files, _ = _sound()
    name = next(name for name in files if name.endswith(".qindex"))
    log = _open(_disk(files | {name: bytes(sealed)}))
    if log.corrupt is None:
        with contextlib.suppress(CorruptLogError):
            _entries(log)
    log.close()


@functools.cache
def _votes() -> tuple[bytes, list[dict[str, journals.TermAndVote]]]:
    """A journal of some blocks, and the states behind each of them."""
    disk = _disk({})
    known = journals.StateJournal.open(disk, f"{_PATH}/state.log")
    history = [dict(known.states)]
    for term in range(1, 5):
        known.put(f"group-{term % 2}", term, journals.Vote(term, "x"))
        job = known.take_job()
        assert job is not None
        job.run()
        known.job_done(job)
        history.append(dict(known.states))
    known.close()
    return disk.content(f"{_PATH}/state.log").rstrip(b"\0"), history


def journal(data: bytes) -> None:
    """The votes: any bytes, any block with a checksum that holds, and rot in a sound one."""
    head = struct.pack(">4sQI", b"QVJ1", 0, len(data))
    block = head + struct.pack(">I", crc32c(data, crc32c(head))) + data
    for content in (data, block + block):
        with contextlib.suppress(JournalError):
            journals.replay(content)
    sound, history = _votes()
    rotten = bytearray(sound)
    for at in range(0, min(len(data) - 2, 9), 3):  # four bytes could spoil two blocks
        rotten[int.from_bytes(data[at : at + 2], "big") % len(rotten)] = data[at + 2]
    with contextlib.suppress(JournalError):
        assert journals.replay(bytes(rotten)) in history[-2:], "no vote is forgotten"


def node(data: bytes) -> None:
    """node.json, any text; and, with a checksum that holds, any fields."""
    for content in (data, data.replace(b"CHECKSUM", _checksum_for(data))):
        with contextlib.suppress(DataDirError):
            datadir.read_node(_disk({"node.json": content}), _PATH)


def settings(data: bytes) -> None:
    """settings.json: what it says, or nothing said; a start never fails by it."""
    said = remembered.read(_disk({remembered.NAME: data}), _PATH, _CLUSTER)
    if said.version:
        written = remembered.encode(said, _CLUSTER)
        assert remembered.read(_disk({remembered.NAME: written}), _PATH, _CLUSTER) == said


def _checksum_for(data: bytes) -> bytes:
    """What stands for CHECKSUM in a document that has it as its checksum."""
    try:
        fields = json.loads(data)
        fields.pop("checksum")
        return datadir.checksum(fields).encode()
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return b""
