"""Memberships and log starts: kept by index, rolled back with the log, in every checkpoint."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from crc32c import crc32c

from quorate_broker.log import checkpoint as checkpoints
from quorate_broker.log.log import Log
from quorate_broker.log.told import decode_start, encode_start
from quorate_broker.testing.simdisk import PowerCutError
from quorate_broker.wire.batch import InternalKind

Bench = Any


def change(bench: Bench, content: bytes, term: int = 1) -> int:
    index: int = bench.log.append_internal(InternalKind.MEMBERSHIP, term, content, 1_000)
    return index


def move_start(bench: Bench, offset: int) -> int:
    kind = InternalKind.LOG_START
    index: int = bench.log.append_internal(kind, 1, encode_start(offset), 1_000)
    return index


def test_a_new_log_has_the_founding_membership_and_is_not_hollow(bench: Bench) -> None:
    assert bench.log.membership == (-1, b"founders")
    assert not bench.log.hollow


def test_a_log_without_founders_is_hollow_until_it_is_filled(bench: Bench) -> None:
    def opened(founding: bytes | None) -> Log:
        return Log.open(bench.disk, "/data/groups/h", bench.settings, 0, founding=founding)

    log = opened(None)
    assert log.hollow
    assert log.membership == (-1, b"")
    bench.disk.crash()
    assert opened(b"late").hollow
    log = opened(b"late")
    assert log.membership == (-1, b"")
    log.fill()
    assert log.hollow, "whoever was told already would count on it after a crash"
    bench.disk.crash()
    log = opened(None)
    log.fill()
    job = log.take_job()
    assert job is not None
    job.run()
    assert log.hollow
    log.job_done(job)
    assert not log.hollow
    assert log.take_job() is None
    bench.disk.crash()
    assert not opened(None).hollow


@pytest.mark.parametrize("operations", range(12))
def test_a_log_is_begun_wholly_or_not_at_all(bench: Bench, operations: int) -> None:
    path = "/data/groups/h"
    bench.disk.cut_power_after = operations
    begun = False
    try:
        Log.open(bench.disk, path, bench.settings, 0, founding=b"first")
        begun = True
    except PowerCutError:
        pass
    bench.disk.crash()
    log = Log.open(bench.disk, path, bench.settings, 0, founding=b"second")
    assert log.corrupt is None
    assert log.membership[1] in ((b"first",) if begun else (b"first", b"second"))


def test_a_membership_is_in_effect_when_it_is_appended(bench: Bench) -> None:
    bench.append()
    assert change(bench, b"four") == 1
    assert bench.log.membership == (1, b"four")
    change(bench, b"five")
    assert bench.log.membership == (2, b"five")


def test_a_truncation_brings_the_membership_before_back(bench: Bench) -> None:
    change(bench, b"four")
    bench.append()
    change(bench, b"five")
    bench.checkpoint()
    bench.log.truncate_after(1)
    assert bench.log.membership == (0, b"four")
    bench.log.truncate_after(-1)
    assert bench.log.membership == (-1, b"founders")
    bench.sync()
    assert bench.crash().membership == (-1, b"founders")


@pytest.mark.parametrize("checkpoint_after", [0, 1, 2, 3])
def test_memberships_survive_on_both_sides_of_the_checkpoint(
    bench: Bench, checkpoint_after: int
) -> None:
    for number in range(3):
        if number == checkpoint_after:
            bench.checkpoint()
        change(bench, b"m%d" % number)
        bench.append()
    bench.sync()
    log = bench.crash()
    assert log.membership == (4, b"m2")
    log.truncate_after(3)
    assert log.membership == (2, b"m1")


def test_the_membership_outlives_the_entry_that_told_it(bench: Bench) -> None:
    bench.append()
    change(bench, b"four")
    for _ in range(60):
        bench.append()
    bench.sync()
    bench.start_at(50)
    assert bench.log.first_index > 1
    assert bench.log.membership == (1, b"four")
    bench.sync()
    log = bench.crash()
    assert log.membership == (1, b"four")
    log.truncate_after(log.first_index - 1)
    assert log.membership == (1, b"four")


def test_log_starts_are_told_until_they_are_carried_out(bench: Bench) -> None:
    for _ in range(6):
        bench.append()
    first, second = move_start(bench, 2), move_start(bench, 4)
    assert bench.log.starts == [(first, 2), (second, 4)]
    bench.checkpoint()
    assert bench.crash().starts == [(first, 2), (second, 4)]
    bench.start_at(2)
    assert bench.log.starts == [(second, 4)]
    bench.log.truncate_after(first)
    assert bench.log.starts == []
    bench.sync()
    log = bench.crash()
    assert (log.start_offset, log.starts) == (2, [])


def test_log_starts_behind_the_checkpoint_are_found_again(bench: Bench) -> None:
    bench.append()
    bench.checkpoint()
    bench.append()
    index = move_start(bench, 1)
    bench.sync()
    assert bench.crash().starts == [(index, 1)]


def test_a_log_start_is_read_as_it_was_written() -> None:
    assert decode_start(encode_start(1 << 40)) == 1 << 40


def rewrite_as_version_1(bench: Bench) -> None:
    """The checkpoint as the version before memberships wrote it."""
    name = bench.files("checkpoint")[0]
    fields = msgspec.msgpack.decode(bench.disk.content(name)[checkpoints._HEAD.size :])
    for later in ("founding", "memberships", "starts", "hollow"):
        del fields[later]
    body = msgspec.msgpack.encode(fields)
    content = checkpoints._HEAD.pack(b"QCKP", 1, crc32c(body)) + body
    bench.overwrite(name, 0, content)
    handle = bench.disk.open(name)
    bench.disk.truncate(handle, len(content))
    bench.disk.sync(handle)
    bench.disk.close(handle)


def test_a_checkpoint_of_version_1_takes_the_founding_membership(bench: Bench) -> None:
    bench.append()
    bench.checkpoint()
    rewrite_as_version_1(bench)
    log = bench.open()
    assert (log.corrupt, log.last_index) == (None, 0)
    assert (log.membership, log.hollow) == ((-1, b"founders"), False)


def test_a_checkpoint_of_version_1_without_a_founding_membership_is_hollow(bench: Bench) -> None:
    bench.append()
    bench.checkpoint()
    rewrite_as_version_1(bench)
    assert Log.open(bench.disk, "/data/groups/g", bench.settings, 0).hollow
