"""Opening a log: torn tails are cut, rot is told from them, and nothing is believed unsynced."""

from __future__ import annotations

import contextlib
import errno
import random
from collections.abc import Callable
from typing import Any

import pytest

from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.log import LogSettings
from quorate_broker.testing.simdisk import PowerCutError, SimDisk
from quorate_broker.wire import batch

Bench = Any
ONE_SEGMENT = LogSettings(
    segment_bytes=100_000, index_interval_bytes=250, preallocate_bytes=8_000, cache_bytes=0
)


@pytest.fixture
def bench(new_bench: Callable[..., Bench]) -> Bench:
    return new_bench(ONE_SEGMENT)


def segment(bench: Bench) -> str:
    return bench.files()[-1]


def test_a_new_log_is_empty_and_has_no_file(bench: Bench) -> None:
    assert (bench.log.last_index, bench.log.last_term, bench.log.next_offset) == (-1, 0, 0)
    assert bench.log.term_at(-1) == 0
    assert bench.log.take_job() is None
    assert bench.files() == []


def test_the_preallocated_zero_tail_of_a_killed_process_is_not_torn(bench: Bench) -> None:
    kept = bench.append()
    bench.sync()
    assert len(bench.disk.content(segment(bench))) > bench.log.size_bytes
    log = bench.crash()
    assert log.recovery.torn_bytes == 0
    assert log.recovery.corrupt is None
    assert bench.entries() == [kept]


def test_a_torn_last_batch_is_cut(bench: Bench) -> None:
    kept = bench.append()
    bench.checkpoint()
    torn = bench.append(size=500)
    bench.overwrite(segment(bench), len(kept), torn[:300])
    log = bench.open()
    assert bench.entries() == [kept]
    assert log.recovery.torn_bytes == 300
    assert log.recovery.corrupt is None


def test_after_a_torn_tail_was_cut_the_log_goes_on_from_there(bench: Bench) -> None:
    kept = bench.append()
    bench.checkpoint()
    bench.overwrite(segment(bench), len(kept), bench.append(size=500)[:300])
    bench.open()
    more = bench.append(size=10)
    bench.sync()
    assert bench.crash().recovery.torn_bytes == 0
    assert bench.entries() == [kept, more]


def test_a_torn_header_is_cut(bench: Bench) -> None:
    kept = bench.append()
    bench.checkpoint()
    bench.overwrite(segment(bench), len(kept), bench.append()[:20])
    assert bench.open().recovery.torn_bytes == 20
    assert bench.entries() == [kept]


@pytest.mark.parametrize("place", [0, 3, 10, 14, 16, 20, 23, 70])
def test_bad_bytes_followed_by_a_valid_batch_are_corruption(bench: Bench, place: int) -> None:
    bench.append()
    bench.checkpoint()
    at = bench.log.size_bytes
    bench.append()
    bench.append()
    bench.sync()
    bench.disk.flip(segment(bench), at + place)
    log = bench.open()
    assert log.corrupt is not None
    assert "valid batch behind" in log.corrupt


def test_a_valid_batch_far_behind_bad_bytes_is_found(new_bench: Callable[..., Bench]) -> None:
    bench = new_bench(
        LogSettings(segment_bytes=10_000_000, preallocate_bytes=8_000_000, cache_bytes=0)
    )
    bench.append()
    bench.checkpoint()
    begin = bench.log.size_bytes
    last = bench.append()
    bench.overwrite(segment(bench), begin, b"\xff" * (3_000_001 - begin) + last)
    assert "at 3000001" in str(bench.open().corrupt)


def test_old_batches_behind_a_cut_are_not_taken_for_valid(bench: Bench) -> None:
    stale = bench.append()
    bench.append()
    bench.checkpoint()
    bench.overwrite(segment(bench), bench.log.size_bytes, stale)
    log = bench.open()
    assert log.corrupt is None
    assert log.recovery.torn_bytes > 0


def test_a_log_shorter_than_its_checkpoint_is_corrupt(bench: Bench) -> None:
    bench.append()
    bench.append()
    bench.checkpoint()
    handle = bench.disk.open(segment(bench))
    bench.disk.truncate(handle, bench.log.size_bytes - 1)
    bench.disk.close(handle)
    assert "shorter than what was synced" in str(bench.open().corrupt)


def test_a_lost_segment_is_corruption(bench: Bench) -> None:
    bench.append()
    bench.checkpoint()
    bench.disk.unlink(segment(bench))
    assert "is gone" in str(bench.open().corrupt)


def test_a_lost_checkpoint_is_corruption(bench: Bench) -> None:
    bench.append()
    bench.checkpoint()
    bench.disk.unlink(bench.files("checkpoint")[0])
    assert "no checkpoint" in str(bench.open().corrupt)


@pytest.mark.parametrize("at", [0, 5, 8, 40])
def test_a_rotten_checkpoint_is_corruption(bench: Bench, at: int) -> None:
    bench.append()
    bench.checkpoint()
    bench.disk.flip(bench.files("checkpoint")[0], at)
    assert "checkpoint" in str(bench.open().corrupt)


def test_a_corrupt_log_hands_out_no_job_and_changes_nothing(bench: Bench) -> None:
    bench.append()
    bench.checkpoint()
    at = bench.log.size_bytes
    bench.append()
    bench.append()
    bench.sync()
    bench.disk.flip(segment(bench), at + 70)
    before = {path: bench.disk.content(path) for path in bench.files("")}
    log = bench.open()
    assert log.take_job() is None
    with pytest.raises(CorruptLogError):
        log.slice(0, 100)
    log.close()
    assert {path: bench.disk.content(path) for path in bench.files("")} == before


def test_rot_below_the_checkpoint_is_never_served(bench: Bench) -> None:
    for _ in range(20):
        bench.append()
    bench.checkpoint()
    bench.disk.flip(segment(bench), 5 * 110 + 70)
    log = bench.open()
    assert log.corrupt is None  # nobody has looked yet
    with pytest.raises(CorruptLogError):
        log.read(0, 10_000, 20)
    assert "checksum" in str(log.corrupt)
    assert log.take_job() is None


@pytest.mark.parametrize("place", [0, 7, 9, 12, 15])
def test_rot_in_what_the_batch_crc_leaves_out_is_found(bench: Bench, place: int) -> None:
    """Offset, length and epoch (decision 11)."""
    size = len(bench.append())
    for _ in range(19):
        bench.append()
    bench.checkpoint()
    bench.disk.flip(segment(bench), 7 * size + place)
    log = bench.open()
    with pytest.raises(CorruptLogError):
        log.read(0, 10_000, 20)


def test_a_rotten_epoch_behind_the_last_index_entry_is_found(bench: Bench) -> None:
    size = len(bench.append())
    for _ in range(19):
        bench.append()
    bench.checkpoint()
    bench.disk.flip(segment(bench), 19 * size + 15)
    bench.open()
    with pytest.raises(CorruptLogError, match="term"):
        bench.log.read(19, 10_000, 20)


def test_rot_in_a_skipped_header_is_found_at_the_next_index_entry(bench: Bench) -> None:
    size = len(bench.append())
    for _ in range(19):
        bench.append()
    bench.checkpoint()
    bench.disk.flip(segment(bench), 12)  # the epoch of a batch that the read below only steps over
    log = bench.open()
    with pytest.raises(CorruptLogError, match="headers"):
        log.slice(1, 4 * size)


@pytest.mark.parametrize("at", [0, 35, 39])
def test_a_rotten_index_is_rebuilt(bench: Bench, at: int) -> None:
    wanted = [bench.append() for _ in range(20)]
    bench.checkpoint()
    bench.disk.flip(bench.files(".qindex")[0], at)
    log = bench.open()
    assert log.corrupt is None
    assert bench.entries() == wanted
    bench.append()
    bench.checkpoint()
    assert bench.open().corrupt is None
    assert len(bench.entries()) == 21


def test_rebuilt_indexes_of_many_sealed_segments_are_written_again(
    new_bench: Callable[..., Bench],
) -> None:
    bench = new_bench()
    wanted = [bench.append() for _ in range(140)]
    bench.checkpoint()
    paths = bench.files(".qindex")
    sound = [bench.disk.content(path) for path in paths]
    assert len(paths) > 6
    for path in paths:
        bench.disk.flip(path, 1)
    bench.open()
    assert bench.entries() == wanted
    bench.checkpoint()
    assert [bench.disk.content(path) for path in paths] == sound


def test_what_lies_beyond_the_checkpoint_is_copied_synced_and_renamed(bench: Bench) -> None:
    first = bench.append()
    bench.checkpoint()
    second = bench.append()
    bench.sync()
    synced: list[str] = []
    renamed: list[str] = []

    def watch(operation: str, path: str) -> None:
        if operation == "sync":
            synced.append(path)
        if operation == "rename":
            renamed.append(path)
            assert any(path.rsplit("/", 1)[1] in name for name in synced)

    bench.disk.fault = watch
    log = bench.crash()
    assert log.recovery.copied_bytes == len(second)
    assert [path.rsplit("/", 1)[1] for path in renamed] == ["00000000000000000001.log"]
    assert bench.entries() == [first, second]


def steps_of_opening(bench: Bench) -> list[tuple[str, str]]:
    """What an opening does to make things durable: (operation, name)."""
    steps: list[tuple[str, str]] = []

    def watch(operation: str, path: str) -> None:
        if operation in ("sync", "rename", "sync_dir", "truncate"):
            steps.append((operation, path.rsplit("/", 1)[1]))

    bench.disk.crash()
    bench.disk.fault = watch
    assert bench.open().corrupt is None
    bench.disk.fault = None
    return steps


def test_a_whole_tail_costs_three_syncs_in_their_order(bench: Bench) -> None:
    """The copy, its name, and only then the end of the old file."""
    bench.append()
    bench.checkpoint()
    bench.append()
    bench.sync()
    listed = bench.disk.seen["listdir"]
    old, new = "00000000000000000000.log", "00000000000000000001.log"
    assert steps_of_opening(bench) == [
        ("truncate", new + ".copy"),
        ("sync", new + ".copy"),
        ("rename", new),
        ("sync_dir", "g"),
        ("truncate", old),
        ("sync", old),
    ]
    assert bench.disk.seen["listdir"] == listed + 1


def test_a_log_without_a_tail_costs_two_syncs(bench: Bench) -> None:
    """A failed job may have left names, or bytes behind the end, that only seem to be there."""
    bench.append()
    bench.checkpoint()
    name = "00000000000000000000.log"
    assert steps_of_opening(bench) == [("sync_dir", "g"), ("truncate", name), ("sync", name)]


def test_pages_that_a_failed_sync_left_behind_are_made_durable_by_the_copy(bench: Bench) -> None:
    """Fsyncgate: the kernel shows the bytes, the disk does not have them."""
    kept = bench.append()
    bench.checkpoint()
    shown = bench.append()
    bench.disk.fault = lambda operation, _: errno.EIO if operation == "sync" else None
    job = bench.log.take_job()
    with pytest.raises(OSError, match="Input/output"):
        job.run()
    bench.disk.fault = None
    assert bench.open().recovery.copied_bytes == len(shown)  # the process alone died
    bench.crash()  # then the machine
    assert bench.entries() == [kept, shown]


def test_nothing_is_copied_after_a_clean_stop(bench: Bench) -> None:
    bench.append()
    bench.log.close()
    bench.disk.crash()
    log = bench.open()
    assert log.recovery.copied_bytes == 0
    assert log.recovery.scanned_batches == 0
    assert len(bench.disk.content(segment(bench))) == log.size_bytes


def test_an_index_beyond_the_checkpoint_is_not_trusted(bench: Bench) -> None:
    wanted = [bench.append() for _ in range(10)]
    bench.checkpoint()
    path = bench.files(".qindex")[0]
    bench.overwrite(path, len(bench.disk.content(path)), b"\xff" * 400)
    bench.open()
    assert bench.entries() == wanted


def test_a_batch_larger_than_one_read_is_recovered(new_bench: Callable[..., Bench]) -> None:
    bench = new_bench(LogSettings(segment_bytes=1 << 30, preallocate_bytes=0, cache_bytes=0))
    bench.append()
    bench.checkpoint()
    bench.append(size=3_000_000)
    bench.append()
    bench.sync()
    bench.crash()
    assert [len(entry) > 3_000_000 for entry in bench.entries()] == [False, True, False]


def test_the_producers_state_comes_back_with_the_headers_since(bench: Bench) -> None:
    bench.append(records=3)
    bench.log.checkpoint(2, b"producers")
    bench.sync()
    bench.append(records=2)
    bench.begin_term(2)
    bench.sync()
    log = bench.crash()
    assert (log.checkpoint_index, log.checkpoint_extra) == (2, b"producers")
    found = list(log.replay_headers(log.checkpoint_index + 1))
    assert [(index, header.is_internal) for index, header in found] == [(4, False), (5, True)]


def test_a_truncation_below_the_checkpoint_drops_its_extra(bench: Bench) -> None:
    bench.append()
    bench.append()
    bench.checkpoint()
    bench.log.truncate_after(0)
    assert bench.log.checkpoint_extra == b""
    bench.sync()
    log = bench.crash()
    assert (log.checkpoint_extra, log.last_index) == (b"", 0)


def test_a_term_that_goes_down_is_not_in_line(bench: Bench) -> None:
    bench.append(term=5)
    bench.checkpoint()
    at = bench.log.size_bytes
    made = batch.build([batch.Record(None, b"x")], timestamp_ms=1)
    batch.stamp(made, 1, 4)
    bench.overwrite(segment(bench), at, bytes(made))
    assert bench.open().corrupt is not None


@pytest.mark.parametrize("seed", range(12))
def test_internal_entries_before_a_torn_next_segment_are_kept(
    new_bench: Callable[..., Bench], seed: int
) -> None:
    """Their copy takes the name of the next segment, whose torn bytes must not take it back."""
    bench = new_bench(
        LogSettings(
            segment_bytes=400, index_interval_bytes=1, preallocate_bytes=500, cache_bytes=0
        ),
        seed,
    )
    kept = [bench.append(), bench.append()]
    bench.checkpoint()
    bench.begin_term(1)
    bench.begin_term(1)
    bench.append(size=80)
    files: list[str] = []

    def cut(operation: str, path: str) -> None:
        if operation == "sync" and path not in files:
            files.append(path)
            if len(files) == 2:
                raise PowerCutError

    bench.disk.fault = cut
    job = bench.log.take_job()
    with pytest.raises(PowerCutError):
        job.run()
    bench.disk.fault = None
    assert bench.crash().corrupt is None
    assert bench.entries()[:2] == kept
    assert bench.log.last_index >= 3


# A hole: some sectors of one write are on disk, and others, before them, are not.


def holed(bench: Bench, *sectors: int) -> list[bytes]:
    """Two batches of a synced and one unsynced write, which lacks some sectors; the batches."""
    wanted = [bench.append(size=300)]
    bench.checkpoint()
    wanted.append(bench.append(size=700))
    bench.sync()
    begin = bench.log.size_bytes
    written = b"".join(bench.append(size=700) for _ in range(4))
    before = bench.disk.content(segment(bench))[: begin + 1]
    content = bytearray(before[:begin] + written)
    for sector in sectors:
        start = max(begin, sector * 512)
        content[start : (sector + 1) * 512] = bytes((sector + 1) * 512 - start)
    bench.overwrite(segment(bench), begin, bytes(content[begin:]))
    return wanted


@pytest.mark.parametrize("sectors", [(2,), (3,), (2, 3), (4,), (2, 5), (3, 4, 5)])
def test_a_hole_inside_one_unsynced_write_is_a_torn_tail(
    bench: Bench, sectors: tuple[int, ...]
) -> None:
    wanted = holed(bench, *sectors)
    log = bench.open()
    assert log.corrupt is None
    assert log.recovery.torn_bytes > 0
    entries = bench.entries()
    assert entries[:2] == wanted
    assert len(entries) < 6
    more = bench.append(size=10)
    bench.sync()
    bench.crash()
    assert bench.entries() == [*entries, more]


def test_a_flipped_bit_before_a_valid_batch_is_no_hole(bench: Bench) -> None:
    holed(bench)
    bench.disk.flip(segment(bench), 1_300)
    assert "valid batch behind" in str(bench.open().corrupt)


def test_a_hole_before_a_later_segment_is_corruption(new_bench: Callable[..., Bench]) -> None:
    """A segment is begun when the one before it is synced, so this hole was on disk once."""
    bench = new_bench(LogSettings(segment_bytes=3_000, preallocate_bytes=0, cache_bytes=0))
    bench.append(size=300)
    bench.checkpoint()
    for _ in range(6):
        bench.append(size=700)
    bench.sync()
    assert len(bench.files()) == 2
    bench.overwrite(bench.files()[0], 1_024, bytes(512))
    assert "valid batch behind" in str(bench.open().corrupt)


@pytest.mark.parametrize(("left", "is_hole"), [(300, True), (12, True), (8, True), (7, False)])
def test_the_rest_of_a_sector_with_older_bytes_may_be_the_hole(
    bench: Bench, left: int, is_hole: bool
) -> None:
    """A sector is half old and half new: of a batch that begins there only zeros are left."""
    sizes = len(bench.append(size=100)) - 100
    bench.append(size=1_024 - left - 100 - 2 * sizes)
    bench.checkpoint()
    begin = bench.log.size_bytes
    assert -begin % 512 == left
    bench.append(size=700)
    bench.append(size=700)
    bench.sync()
    bench.overwrite(segment(bench), begin, bytes(left))
    bench.overwrite(segment(bench), begin + left + 5, b"rot")  # only the header's rest is there
    log = bench.open()
    assert (log.corrupt is None) == is_hole


def test_fewer_zeros_than_a_sector_are_no_hole(bench: Bench) -> None:
    holed(bench)
    bench.overwrite(segment(bench), 1_536, bytes(511))
    assert "valid batch behind" in str(bench.open().corrupt)


# A disk that reads wrong once.


def misreading(bench: Bench, name: str, least: int) -> list[str]:
    """One byte of one read of a file is wrong, of reads of at least so many bytes."""
    reads: list[str] = []
    pread = bench.disk.pread

    def wrong(handle: int, size: int, at: int) -> bytes:
        data = pread(handle, size, at)
        path = bench.disk._handles[handle][0]
        if path.endswith(name) and len(data.rstrip(b"\0")) >= least and not reads:
            reads.append(path)
            middle = len(data.rstrip(b"\0")) // 2
            return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        return bytes(data)

    bench.disk.pread = wrong
    return reads


def test_a_read_that_was_wrong_once_does_not_cut_what_was_synced(bench: Bench) -> None:
    first = bench.append()
    bench.checkpoint()
    second = bench.append()
    bench.sync()
    bench.disk.crash()
    reads = misreading(bench, "0.log", len(second) // 2)
    with pytest.raises(OSError, match="reads differ"):
        bench.open()
    assert len(reads) == 1
    bench.open()
    assert bench.entries() == [first, second]


def test_a_copy_that_was_misread_does_not_take_the_place_of_the_original(bench: Bench) -> None:
    first = bench.append()
    bench.checkpoint()
    second = bench.append()
    bench.sync()
    bench.disk.crash()
    place = {"reads": 0}
    pread = bench.disk.pread

    def wrong(handle: int, size: int, at: int) -> bytes:
        data = bytes(pread(handle, size, at))
        if size == len(second) and bench.disk._handles[handle][0].endswith("0.log"):
            place["reads"] += 1
            return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
        return data

    bench.disk.pread = wrong
    with pytest.raises(OSError, match="a copy is not what was read"):
        bench.open()
    assert place["reads"] == 1
    bench.disk.pread = pread
    bench.open()
    assert bench.entries() == [first, second]


def test_rot_below_the_checkpoint_that_a_copy_meets_is_corruption(bench: Bench) -> None:
    """Not an error for which the log cannot be opened, today, and tomorrow, and for ever."""
    bench.begin_term(1)
    bench.checkpoint()
    bench.append()
    bench.sync()
    bench.disk.flip(segment(bench), 16)
    assert "that was synced" in str(bench.open().corrupt)


class SectoredDisk(SimDisk):
    """A power cut keeps any sectors of the write that it meets, as real disks have them."""

    def _leave_holes(self, file: Any, at: int, data: bytes) -> None:
        begin = 0
        while begin < len(data):
            end = begin + 512 - (at + begin) % 512
            if self._random.random() < 0.7:
                file.durable.extend(bytes(max(0, at + begin - len(file.durable))))
                file.durable[at + begin : at + end] = data[begin:end]
            begin = end


@pytest.mark.parametrize("seed", range(40))
def test_no_hole_of_a_power_cut_is_taken_for_rot_and_nothing_synced_is_lost(
    new_bench: Callable[..., Bench], seed: int
) -> None:
    dice = random.Random(seed)
    bench = new_bench(LogSettings(20_000, 500, dice.choice([0, 4_000, 30_000]), cache_bytes=0))
    bench.disk = SectoredDisk(dice)
    bench.disk.hole_rate = 1.0
    bench.open()
    synced: list[bytes] = []
    for _ in range(6):
        for _ in range(dice.randint(0, 4)):
            synced.append(bench.append(size=dice.randint(0, 1_500)))
        bench.checkpoint() if dice.random() < 0.3 else bench.sync()
        for _ in range(dice.randint(1, 6)):
            bench.append(size=dice.randint(0, 1_500))
        bench.disk.fault = _cut_at_sync
        with pytest.raises(PowerCutError):
            bench.sync()
        bench.disk.fault = None
        bench.disk.crash()
        if dice.random() < 0.5:
            bench.disk.cut_power_after = dice.randint(0, 20)
            with contextlib.suppress(PowerCutError):
                bench.open()
            bench.disk.crash()
        assert bench.open().corrupt is None
        found = bench.entries()
        assert found[: len(synced)] == synced
        synced = found


def _cut_at_sync(operation: str, path: str) -> None:
    if operation == "sync" and path.endswith(".log"):
        raise PowerCutError
