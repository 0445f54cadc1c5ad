"""What a log answers: terms, offsets and indexes, slices, jobs and their order."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quorate_broker.log.disk import OsDisk
from quorate_broker.log.errors import BelowLogStartError
from quorate_broker.log.log import Log, LogSettings
from quorate_broker.wire import batch

Bench = Any


def test_an_append_is_readable_before_it_is_synced(bench: Bench) -> None:
    data = bench.append(records=3)
    assert [bytes(part) for part in bench.log.read(1, 100, 3)] == [data]
    assert bench.log.synced_index == -1
    assert bench.log.last_index == 2
    bench.sync()
    assert bench.log.synced_index == 2


def test_an_internal_entry_takes_an_index_but_no_offset(bench: Bench) -> None:
    assert bench.begin_term(1) == 0
    bench.append(records=2)
    assert bench.begin_term(2) == 3
    bench.append(term=2)
    log = bench.log
    assert (log.last_index, log.next_offset) == (4, 3)
    assert [log.index_of_offset(offset) for offset in range(4)] == [1, 2, 4, 5]
    assert [log.high_watermark(index) for index in range(-1, 5)] == [0, 0, 1, 2, 2, 3]
    assert len(log.read(0, 10_000, 3)) == 2
    assert len(log.slice(0, 10_000).batches) == 4


def test_the_entries_say_their_own_index_and_how_many_internals_there_are(bench: Bench) -> None:
    bench.begin_term(1)
    bench.append(records=2)
    bench.begin_term(2)
    entry = batch.parse_internal(bench.log.slice(3, 1).batches[0])
    assert (entry.index, entry.internals, entry.content) == (3, 2, b"leader")


def test_terms_are_told_by_index(bench: Bench) -> None:
    for term in (1, 3, 3, 7):
        bench.append(term=term)
    log = bench.log
    assert [log.term_at(index) for index in range(-1, 5)] == [0, 1, 3, 3, 7, None]
    assert log.end_of_term(3) == (3, 2)
    assert log.end_of_term(5) == (3, 2)
    assert log.end_of_term(9) == (7, 3)
    assert log.end_of_term(0) == (0, -1)


def test_end_offsets_of_terms_are_kafkas(bench: Bench) -> None:
    for term in (1, 3, 7):
        bench.begin_term(term)
        bench.append(term=term, records=2)
    log = bench.log
    assert log.end_offset_of_term(7) == (7, 6)
    assert log.end_offset_of_term(3) == (3, 4)
    assert log.end_offset_of_term(5) == (3, 4)
    assert log.end_offset_of_term(0) == (0, 0)
    assert log.end_offset_of_term(8) == (-1, -1)


def test_terms_never_decrease(bench: Bench) -> None:
    bench.append(term=3)
    with pytest.raises(AssertionError):
        bench.append(term=2)


def test_offsets_are_contiguous(bench: Bench) -> None:
    bench.append()
    data = batch.build([batch.Record(None, b"")], timestamp_ms=1)
    batch.stamp(data, 5, 1)
    with pytest.raises(AssertionError):
        bench.log.append(data)


def test_a_slice_behind_the_end_is_empty(bench: Bench) -> None:
    bench.append()
    found = bench.log.slice(1, 100)
    assert (found.batches, found.last_index) == ([], 0)


def test_a_slice_holds_at_least_one_entry(bench: Bench) -> None:
    bench.append(size=400)
    bench.append(size=400)
    assert bench.log.slice(0, 1).last_index == 0
    assert bench.log.slice(0, 10_000).last_index == 1


@pytest.mark.parametrize("cached", [True, False])
def test_a_slice_begins_with_the_entry_that_holds_the_index(
    new_bench: Callable[..., Bench], cached: bool
) -> None:
    bench = new_bench(LogSettings(cache_bytes=1 << 20 if cached else 0))
    bench.append()
    bench.append(records=3)
    bench.sync()
    found = bench.log.slice(2, 10_000)
    assert (found.first_index, found.last_index, len(found.batches)) == (1, 3, 1)


def test_a_read_ends_before_the_high_watermark(bench: Bench) -> None:
    first = bench.append(records=2)
    bench.append(records=2)
    assert [bytes(part) for part in bench.log.read(0, 10_000, 3)] == [first]
    assert bench.log.read(2, 10_000, 3) == []


def test_old_batches_are_read_from_disk_across_segments(bench: Bench) -> None:
    wanted = [bench.append(records=1 + n % 3) for n in range(60)]
    bench.sync()
    assert len(bench.files()) > 2
    found = []
    offset = 0
    while batches := bench.log.read(offset, 500, bench.log.next_offset):
        found += [bytes(part) for part in batches]
        offset = batch.parse_header(batches[-1]).next_offset
    assert found == wanted


def test_one_sync_covers_all_appends_since_the_last_job(bench: Bench) -> None:
    bench.append()
    bench.sync()
    syncs = bench.disk.seen["sync"]
    for _ in range(5):
        bench.append()
    bench.sync()
    assert bench.disk.seen["sync"] == syncs + 1
    assert bench.disk.seen["pwrite"] == 3  # the first checkpoint, and one for each job


def test_one_job_at_a_time(bench: Bench) -> None:
    bench.append()
    job = bench.log.take_job()
    bench.append()
    assert bench.log.take_job() is None
    job.run()
    bench.log.job_done(job)
    assert bench.log.synced_index == 0
    assert bench.log.take_job() is not None


def test_a_segment_is_synced_before_the_next_one_is_begun(bench: Bench) -> None:
    order: list[tuple[str, str]] = []
    bench.disk.fault = lambda operation, path: order.append((operation, path[-5:]))
    for _ in range(30):
        bench.append()
    bench.sync()
    changes = [(op, path) for op, path in order if op in ("pwrite", "sync") and path == "0.log"]
    later = [place for place, (op, path) in enumerate(order) if op == "pwrite" and ".log" in path]
    assert changes == [("pwrite", "0.log"), ("sync", "0.log")]
    assert later[1] > order.index(("sync", "0.log"))


def test_a_segment_rolls_only_when_it_holds_an_offset(bench: Bench) -> None:
    for _ in range(40):
        bench.begin_term(1)
    bench.append()
    bench.append()
    bench.sync()
    assert [path[-8:] for path in bench.files()] == ["0000.log", "0001.log"]


@pytest.mark.parametrize("operation", ["pwrite", "sync", "open", "sync_dir", "rename"])
def test_a_failed_job_is_final(bench: Bench, operation: str) -> None:
    bench.append()
    bench.log.checkpoint(0, b"")
    job = bench.log.take_job()
    bench.disk.fault = lambda op, _: errno.EIO if op == operation else None
    with pytest.raises(OSError, match="Input/output"):
        job.run()
    bench.disk.fault = None
    assert bench.log.failed is not None
    assert bench.log.take_job() is None
    assert bench.log.synced_index == -1
    with pytest.raises(AssertionError):
        job.run()
    syncs = bench.disk.seen["sync"]
    bench.log.close()
    assert bench.disk.seen["sync"] == syncs


def test_no_room_to_preallocate_is_no_error(bench: Bench) -> None:
    bench.disk.fault = lambda op, _: errno.ENOSPC if op == "preallocate" else None
    bench.append()
    bench.sync()
    assert bench.log.synced_index == 0


def test_truncation_takes_back_terms_internals_and_offsets(bench: Bench) -> None:
    bench.begin_term(1)
    bench.append(records=2)
    bench.sync()
    bench.begin_term(2)
    bench.append(term=2)
    bench.log.truncate_after(2)
    log = bench.log
    assert (log.last_index, log.next_offset, log.last_term) == (2, 2, 1)
    assert log.index_of_offset(2) == 3
    bench.append(term=3)
    bench.sync()
    assert bench.crash().terms.ranges == [(1, 0), (3, 3)]


def test_truncation_while_a_job_is_in_flight_wins(bench: Bench) -> None:
    kept = bench.append()
    bench.append()
    job = bench.log.take_job()
    bench.log.truncate_after(0)
    new = bench.append(size=90)
    job.run()
    bench.log.job_done(job)
    assert bench.log.synced_index == 0
    bench.sync()
    assert bench.log.synced_index == 1
    bench.crash()
    assert bench.entries() == [kept, new]


def test_two_truncations_before_a_job_remove_the_files_of_both(bench: Bench) -> None:
    wanted = [bench.append() for _ in range(80)]
    bench.sync()
    assert len(bench.files()) >= 4
    bench.log.truncate_after(50)
    bench.log.truncate_after(10)
    bench.sync()
    assert len(bench.files()) == 1
    assert bench.crash().corrupt is None
    assert bench.entries() == wanted[:11]


def test_truncation_to_nothing(bench: Bench) -> None:
    for _ in range(40):
        bench.append()
    bench.checkpoint()
    bench.log.truncate_after(-1)
    assert (bench.log.last_index, bench.log.next_offset, bench.log.last_term) == (-1, 0, 0)
    bench.sync()
    assert bench.crash().last_index == -1
    assert len(bench.files()) <= 1


def test_the_start_moves_by_whole_segments(bench: Bench) -> None:
    for _ in range(60):
        bench.append()
    bench.sync()
    names = bench.files()
    bench.start_at(45)
    bench.sync()
    log = bench.crash()
    assert log.start_offset == 45
    assert bench.files()[0] > names[0]
    assert log.first_index <= 45
    assert log.term_at(log.first_index - 1) == 1
    with pytest.raises(BelowLogStartError):
        log.read(44, 100, 60)
    with pytest.raises(BelowLogStartError):
        log.slice(log.first_index - 1, 100)
    assert len(log.read(45, 1, 60)) == 1


def test_the_cache_is_bounded_but_keeps_what_is_not_written(
    new_bench: Callable[..., Bench],
) -> None:
    bench = new_bench(LogSettings(preallocate_bytes=0, cache_bytes=2_000))
    for _ in range(100):
        bench.append()
    assert bench.log.pending_bytes == bench.log.size_bytes
    bench.sync()
    assert bench.log.pending_bytes == 0
    assert bench.log._tail.bytes <= 2_500
    assert len(bench.log.read(0, 1 << 20, 100)) == 100


def test_a_thread_reads_old_data_before_the_loop_does(bench: Bench) -> None:
    wanted = [bench.append() for _ in range(60)]
    bench.checkpoint()
    bench.log.close()
    log = bench.open()
    cold = log.cold(5, 300)
    assert cold is not None
    opened: list[str] = []
    bench.disk.fault = lambda operation, path: opened.append(path) if operation == "open" else None
    cold.run()
    assert [path[-10:] for path in opened] == ["000.qindex", "000000.log"]
    assert cold.index is not None
    log.warmed(cold)
    opened.clear()
    assert bytes(log.read(5, 1, 60)[0]) == wanted[5]
    assert not any("qindex" in path for path in opened)
    again = log.cold(7, 300)
    assert again is not None
    assert again.begin is not None
    again.run()
    assert again.index is None


def test_nothing_is_read_ahead_that_is_in_memory_or_not_there(
    new_bench: Callable[..., Bench],
) -> None:
    bench = new_bench(LogSettings(2_000, 250, 1_000, cache_bytes=3_000))
    assert bench.log.cold(0, 100) is None
    for _ in range(60):
        bench.append()
    bench.sync()
    assert bench.log.cold(59, 100) is None
    assert bench.log.cold(60, 100) is None
    assert bench.log.cold(0, 100) is not None
    bench.start_at(30)
    assert bench.log.cold(29, 100) is None


def test_what_was_read_ahead_in_vain_changes_nothing(bench: Bench) -> None:
    for _ in range(60):
        bench.append()
    bench.checkpoint()
    bench.log.close()
    log = bench.open()
    late, gone = log.cold(0, 100), log.cold(0, 100)
    assert late is not None
    assert gone is not None
    late.run()
    bench.start_at(50)
    bench.sync()
    log.warmed(late)
    assert late.segment.index is None
    with pytest.raises(FileNotFoundError):
        gone.run()


def test_times_are_found_by_the_first_record_not_older(bench: Bench) -> None:
    for time in (1_000, 5_000, 3_000, 9_000):
        bench.append(records=3, time=time)
    log = bench.log
    assert log.offset_for_time(0, 12) == (0, 1_000)
    assert log.offset_for_time(1_002, 12) == (2, 1_002)
    assert log.offset_for_time(5_001, 12) == (4, 5_001)
    assert log.offset_for_time(9_003, 12) is None
    assert log.offset_for_time(9_000, 9) is None
    assert log.max_timestamp(12) == (11, 9_002)
    assert log.max_timestamp(9) == (5, 5_002)
    assert log.max_timestamp(0) is None


def test_a_log_on_a_real_disk_survives_being_closed_and_opened(tmp_path: Path) -> None:
    disk = OsDisk()
    path = str(tmp_path / "groups" / "g")
    settings = LogSettings(segment_bytes=50_000, preallocate_bytes=1 << 20, cache_bytes=0)
    log = Log.open(disk, path, settings, 0)
    wanted = []
    for number in range(100):
        data = batch.build([batch.Record(b"k", b"v" * 2_000)], timestamp_ms=number)
        batch.stamp(data, number, 1)
        log.append(data)
        wanted.append(bytes(data))
        if number % 7 == 0 and (job := log.take_job()) is not None:
            thread = threading.Thread(target=job.run)
            thread.start()
            thread.join()
            log.job_done(job)
    log.close()
    assert sum(file.stat().st_size for file in Path(path).glob("*.log")) == log.size_bytes
    log = Log.open(disk, path, settings, 0)
    assert log.recovery.copied_bytes == 0
    assert [bytes(data) for _, _, data in log.walk(0, 10_000)] == wanted
    log.close()


def test_a_log_on_a_real_disk_survives_not_being_closed(tmp_path: Path) -> None:
    disk = OsDisk()
    path = str(tmp_path / "g")
    log = Log.open(disk, path, LogSettings(), 0)
    data = batch.build([batch.Record(b"k", b"v" * 2_000)], timestamp_ms=1)
    batch.stamp(data, 0, 1)
    log.append(data)
    job = log.take_job()
    assert job is not None
    job.run()
    log.job_done(job)
    log._files.close()
    file = Path(path) / "00000000000000000000.log"
    assert file.stat().st_size > len(data)  # the reserve
    log = Log.open(disk, path, LogSettings(), 0)
    assert (log.last_index, log.recovery.torn_bytes, log.corrupt) == (0, 0, None)
    log.close()
    assert file.stat().st_size == len(data)
