"""Old segments: rolled by size and age, let go by time, size and order, and searched by time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from quorate_broker.log.errors import BelowLogStartError
from quorate_broker.log.log import LogSettings
from quorate_broker.log.told import encode_start
from quorate_broker.wire.batch import InternalKind

Bench = Any
OFF = -1
BY_AGE = LogSettings(
    segment_bytes=1 << 20, index_interval_bytes=1, preallocate_bytes=0, cache_bytes=0, segment_ms=99
)


@pytest.fixture
def aged(new_bench: Callable[..., Bench]) -> Bench:
    """Ten segments of two batches, 100 ms apart: offsets 0..19, times 0, 50, 100, ... 950."""
    bench = new_bench(BY_AGE)
    for number in range(20):
        bench.append(time=50 * number)
    bench.sync()
    assert len(bench.files()) == 10
    return bench


def test_a_segment_ends_before_a_record_that_is_too_much_younger_than_its_first(
    new_bench: Callable[..., Bench],
) -> None:
    bench = new_bench(BY_AGE)
    for time in (1_000, 1_099, 900, 1_100, 1_101, 1_199, 1_200):
        bench.append(time=time)
    bench.sync()
    assert [int(path[-8:-4]) for path in bench.files()] == [0, 3, 6]


def test_the_age_of_the_active_segment_is_known_after_a_restart(
    new_bench: Callable[..., Bench],
) -> None:
    bench = new_bench(BY_AGE)
    bench.append(time=1_000)
    bench.checkpoint()
    bench.crash()
    bench.append(time=1_099)
    bench.append(time=1_100)
    bench.sync()
    assert len(bench.files()) == 2


def test_internal_entries_have_no_age(new_bench: Callable[..., Bench]) -> None:
    bench = new_bench(BY_AGE)
    bench.log.append_internal(InternalKind.TERM_START, 1, b"", 0)
    bench.append(time=5_000)
    bench.log.append_internal(InternalKind.TERM_START, 2, b"", 999_999)
    bench.append(time=5_001, term=2)
    bench.sync()
    assert len(bench.files()) == 1


def test_segments_whose_newest_record_is_too_old_may_go(aged: Bench) -> None:
    def start(wall_ms: int, retention_ms: int, high_watermark: int = 20) -> int:
        return int(aged.log.retention_start(wall_ms, retention_ms, OFF, high_watermark))

    assert start(1_000, OFF) == 0
    assert start(1_000, 950) == 0
    assert start(1_051, 1_000) == 2
    assert start(1_050, 1_000) == 0
    assert start(1_000, 500) == 10
    assert start(1_000, 500, high_watermark=7) == 6
    assert start(99_999, 0) == 20
    assert start(99_999, 0, high_watermark=19) == 18


def test_segments_may_go_while_the_others_are_enough(aged: Bench) -> None:
    log = aged.log
    size = log._layout.segments[0].size

    def start(retention_bytes: int) -> int:
        return int(log.retention_start(0, OFF, retention_bytes, 20))

    assert start(OFF) == 0
    assert start(10 * size) == 0
    assert start(9 * size + 1) == 0
    assert start(9 * size) == 2
    assert start(3 * size) == 14
    assert start(0) == 20


def test_what_retention_says_moves_the_start_and_the_files_go(aged: Bench) -> None:
    aged.start_at(aged.log.retention_start(1_000, 500, OFF, 20))
    assert (aged.log.start_offset, aged.log.first_index) == (10, 10)
    assert len(aged.files()) == 10
    aged.sync()
    assert len(aged.files()) == 5
    assert len(aged.files(".qindex")) <= 5
    log = aged.crash()
    assert (log.start_offset, log.first_index, log.last_index) == (10, 10, 19)
    assert log.retention_start(1_000, 500, OFF, 20) == 10


def test_the_active_segment_goes_when_all_of_it_is_too_old(aged: Bench) -> None:
    index = aged.log.append_internal(InternalKind.LOG_START, 1, encode_start(20), 0)
    aged.sync()
    aged.start_at(20)
    aged.sync()
    log = aged.log
    assert aged.files() == []
    assert (log.start_offset, log.next_offset) == (20, 20)
    assert (log.first_index, log.last_index) == (index + 1, index)
    assert log.term_at(index) == 1
    log = aged.crash()
    assert (log.start_offset, log.first_index, log.last_index) == (20, index + 1, index)
    new = aged.append(term=1)
    aged.sync()
    aged.crash()
    assert aged.entries() == [new]
    assert aged.log.index_of_offset(20) == index + 1


def test_entries_that_may_not_be_committed_do_not_go_with_their_segment(aged: Bench) -> None:
    """An internal entry has no offset, so the start may be behind it while Raft may yet cut it."""
    told = aged.log.append_internal(InternalKind.LOG_START, 1, encode_start(20), 0)
    aged.sync()
    aged.log.append_internal(InternalKind.TERM_START, 2, b"", 0)
    aged.sync()
    aged.log.advance_start(20)
    aged.log.checkpoint(told, b"")
    aged.sync()
    aged.log.truncate_after(told)
    later = aged.log.append_internal(InternalKind.TERM_START, 3, b"", 0)
    aged.sync()
    assert later == told + 1
    assert aged.log.first_index <= told
    aged.log.checkpoint(later, b"")
    aged.sync()
    assert aged.log.first_index == later + 1
    assert aged.files() == []
    log = aged.crash()
    assert (log.first_index, log.last_index, log.last_term) == (later + 1, later, 3)


def test_the_start_may_lie_inside_a_segment(aged: Bench) -> None:
    aged.start_at(5)
    aged.sync()
    log = aged.crash()
    assert (log.start_offset, log.first_index) == (5, 4)
    with pytest.raises(BelowLogStartError):
        log.read(4, 1, 20)
    assert len(log.read(5, 1, 20)) == 1


def test_removed_segments_are_closed(aged: Bench) -> None:
    assert len(aged.entries()) == 20
    aged.start_at(18)
    aged.sync()
    assert len(aged.disk._handles) <= 1


@pytest.mark.parametrize("reopened", [False, True])
def test_times_are_found_across_segments_and_behind_the_start(aged: Bench, reopened: bool) -> None:
    aged.start_at(7)
    aged.sync()
    if reopened:
        aged.crash()
    log = aged.log
    for wanted in range(0, 1_000, 25):
        first = max(7, -(-wanted // 50))
        expected = (first, 50 * first) if first < 20 else None
        assert log.offset_for_time(wanted, 20) == expected, wanted
    assert log.offset_for_time(600, 12) is None
    assert log.offset_for_time(550, 12) == (11, 550)
    assert log.max_timestamp(20) == (19, 950)
    assert log.max_timestamp(10) == (9, 450)
    assert log.max_timestamp(7) is None


def test_the_greatest_time_before_the_start_does_not_count(
    new_bench: Callable[..., Bench],
) -> None:
    bench = new_bench(LogSettings(index_interval_bytes=1, preallocate_bytes=0, cache_bytes=0))
    for time in (900, 100, 300, 200):
        bench.append(time=time)
    bench.sync()
    bench.start_at(1)
    assert bench.log.max_timestamp(4) == (2, 300)
    assert bench.log.offset_for_time(301, 4) is None


def test_a_search_by_time_opens_only_segments_that_can_answer(aged: Bench) -> None:
    aged.log.close()
    aged.open()
    opened: list[str] = []

    def watch(operation: str, path: str) -> None:
        if operation == "open":
            opened.append(path)

    aged.disk.fault = watch
    assert aged.log.offset_for_time(850, 20) == (17, 850)
    assert {path.rsplit("/", 1)[1][:20] for path in opened} == {f"{16:020d}"}


@pytest.mark.parametrize("damage", ["gone", "empty", "rotten time", "rotten offset", "cut short"])
def test_the_index_is_rebuilt_when_absent_or_damaged(aged: Bench, damage: str) -> None:
    aged.checkpoint()
    expected = [aged.log.offset_for_time(wanted, 20) for wanted in range(0, 1_000, 25)]
    entries = aged.entries()
    aged.log.close()
    paths = aged.files(".qindex")
    assert len(paths) == 10
    for path in paths:
        _damage(aged, path, damage)
    log = aged.open()
    assert log.corrupt is None
    assert [log.offset_for_time(wanted, 20) for wanted in range(0, 1_000, 25)] == expected
    assert [len(log.read(offset, 1, 20)) for offset in range(20)] == [1] * 20
    assert aged.entries() == entries
    aged.checkpoint()
    assert aged.files(".qindex") == paths
    aged.crash()
    assert aged.entries() == entries


def _damage(bench: Bench, path: str, damage: str) -> None:
    disk = bench.disk
    if damage == "gone":
        disk.unlink(path)
        disk.sync_dir(path.rsplit("/", 1)[0])
        return
    if damage.startswith("rotten"):
        disk.flip(path, 16 + 7 if damage == "rotten time" else 7)
        return
    handle = disk.open(path)
    disk.truncate(handle, 0 if damage == "empty" else len(disk.content(path)) - 1)
    disk.sync(handle)
    disk.close(handle)


@pytest.mark.parametrize("call", ["read", "slice", "walk", "offset_for_time"])
@pytest.mark.parametrize("place", [70, 23, 45])
def test_no_rotten_batch_leaves_the_disk(aged: Bench, call: str, place: int) -> None:
    """Each read from disk checks the CRC of each batch that it hands out."""
    aged.log.close()
    log = aged.open()
    aged.disk.flip(aged.files()[4], place)
    calls: dict[str, Callable[[], Any]] = {
        "read": lambda: log.read(8, 1, 20),
        "slice": lambda: log.slice(8, 1),
        "walk": lambda: list(log.walk(0, 1 << 20)),
        "offset_for_time": lambda: log.offset_for_time(400, 20),
    }
    with pytest.raises(Exception, match="checksum does not hold"):
        calls[call]()
    assert "checksum" in str(log.corrupt)
