"""Scrubbing: whatever byte of a sealed segment rots is named, and sound logs are left in peace."""

from __future__ import annotations

import random

import pytest

from quorate_broker.log.log import Log, LogSettings
from quorate_broker.log.scrub import Damage, Scrub
from quorate_broker.testing.simdisk import SimDisk
from quorate_broker.wire import batch

PATH = "/data/g"


def log_of(segments: int) -> Log:
    disk = SimDisk(random.Random(1))
    log = Log.open(disk, PATH, LogSettings(600, 150, 100, 0), 0, founding=b"")
    number = 0
    while len(log.segments) <= segments:
        if number % 5 == 0:
            log.append_internal(batch.InternalKind.TERM_START, number + 1, b"x", 0)
        data = batch.build([batch.Record(b"k", b"v" * 30)] * 2, timestamp_ms=number)
        batch.stamp(data, log.next_offset, number // 5 * 5 + 1)
        log.append(data)
        number += 1
        if number % 2:
            job = log.take_job()
            assert job is not None
            job.run()
            log.job_done(job)
    log.checkpoint(log.last_index, b"")
    while (job := log.take_job()) is not None:
        job.run()
        log.job_done(job)
    return log


def round_of(log: Log, budget: int = 1 << 20) -> list[Damage]:
    scrub, found = Scrub(log), []
    while (step := scrub.step(budget)) is not None:
        found += step
    return found


@pytest.fixture
def log() -> Log:
    return log_of(3)


def disk_of(log: Log) -> SimDisk:
    assert isinstance(log.disk, SimDisk)
    return log.disk


def test_a_sound_log_has_no_damage_and_every_sealed_byte_is_read(log: Log) -> None:
    scrub = Scrub(log)
    assert scrub.step(1 << 20) is None
    sealed = [segment for segment in log.segments if segment.sealed]
    assert len(sealed) == 3
    assert scrub.bytes_read == scrub.bytes_total == sum(segment.size for segment in sealed)


def test_a_step_reads_about_as_much_as_it_may(log: Log) -> None:
    scrub = Scrub(log)
    last, steps = 0, 0
    while scrub.step(300) is not None:
        assert 300 <= scrub.bytes_read - last < 600
        last, steps = scrub.bytes_read, steps + 1
    assert steps > 3


def test_whatever_byte_rots_is_found_in_its_segment(log: Log) -> None:
    disk = disk_of(log)
    segment = log.segments[1]
    name = f"{PATH}/{segment.name}"
    for at in range(segment.size):
        disk.flip(name, at, 0x10)
        found = round_of(log)
        assert [damage.segment for damage in found] == [segment], at
        assert segment.name in found[0].what
        assert not found[0].harmless
        disk.flip(name, at, 0x10)
    assert round_of(log) == []


def test_a_rotten_index_is_told_but_harms_nobody(log: Log) -> None:
    disk = disk_of(log)
    segment = log.segments[0]
    name = f"{PATH}/{segment.base_offset:020d}.qindex"
    size = len(disk.content(name))
    assert size >= 80
    for at in range(0, size, 7):
        disk.flip(name, at)
        (damage,) = round_of(log)
        assert damage.harmless
        assert damage.what.startswith(segment.name.replace(".log", ".qindex"))
        disk.flip(name, at)


def test_an_index_that_was_built_again_and_not_yet_written_is_not_taken_for_rot(log: Log) -> None:
    """Seed 1412 of the simulator's core layer: a sound replica was set aside."""
    segment = log.segments[1]
    disk_of(log).flip(f"{PATH}/{segment.base_offset:020d}.qindex", 3)
    again = Log.open(disk_of(log), PATH, log.settings, 0)
    segment = again.segments[1]
    assert again.read(segment.base_offset + 2, 1, again.next_offset)
    assert segment.index is not None
    assert len(segment.index) > segment.index_entries == 0
    (damage,) = round_of(again)
    assert damage.harmless


def test_an_index_of_another_segment_is_told(log: Log) -> None:
    segment = log.segments[0]
    handle = log.disk.open(f"{PATH}/{log.segments[1].base_offset:020d}.qindex")
    other = log.disk.pread(handle, 40, 0)
    log.disk.close(handle)
    handle = log.disk.open(f"{PATH}/{segment.base_offset:020d}.qindex")
    log.disk.pwrite(handle, [other], 0)
    log.disk.close(handle)
    (damage,) = round_of(log)
    assert "as indexed" in damage.what or "not what the index says" in damage.what


def test_a_segment_that_is_cut_short_or_gone_is_told(log: Log) -> None:
    segment = log.segments[1]
    handle = log.disk.open(f"{PATH}/{segment.name}")
    log.disk.truncate(handle, segment.size - 1)
    log.disk.close(handle)
    assert [damage.segment for damage in round_of(log)] == [segment]
    log.disk.unlink(f"{PATH}/{segment.name}")
    assert [damage.what for damage in round_of(log)] == [f"{segment.name} is gone"]


def test_damage_in_a_segment_that_retention_took_is_no_longer_current(log: Log) -> None:
    segment = log.segments[0]
    scrub = Scrub(log)
    disk_of(log).flip(f"{PATH}/{segment.name}", 100)
    (damage,) = scrub.step(1 << 20) or []
    assert scrub.is_current(damage)
    log.advance_start(log.segments[1].base_offset)
    job = log.take_job()
    assert job is not None
    job.run()
    log.job_done(job)
    assert not scrub.is_current(damage)


def test_a_disk_error_flies(log: Log) -> None:
    disk_of(log).fault = lambda operation, path: 5 if operation == "pread" else None
    with pytest.raises(OSError, match="Input/output"):
        Scrub(log).step(1 << 20)
