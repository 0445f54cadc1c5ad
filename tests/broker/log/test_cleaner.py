"""Compaction, rule by rule: what goes, what stays, and that nothing ever moves."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from quorate_broker.log import cleaner, cleaner_filter
from quorate_broker.log.cleaner import CleanerPolicy
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.log import Log, LogSettings
from quorate_broker.testing.simdisk import SimDisk
from quorate_broker.wire import batch, compacted, compression
from quorate_broker.wire.batch import BatchHeader, Record

PATH = "/data/g"
EVERYTHING = 1 << 62
ALWAYS = CleanerPolicy(min_cleanable_dirty_ratio=0.0, delete_retention_ms=1_000)
DAY = 86_400_000
ABORT, COMMIT = b"\0\0\0\0", b"\0\0\0\1"


class Bench:
    """A log of keys and values; `seal` begins a new segment: the one before may be cleaned."""

    def __init__(self, segment_bytes: int = 100_000) -> None:
        self.disk = SimDisk(random.Random(1))
        self.settings = LogSettings(segment_bytes, 200, 500, 0)
        self.log = Log.open(self.disk, PATH, self.settings, 0, founding=b"")
        self.term = 1

    def put(self, *pairs: tuple[str | None, str | None], time: int = 1_000, **fields: Any) -> int:
        """One batch; its base offset."""
        records = [Record(_bytes(key), _bytes(value)) for key, value in pairs]
        return self.append(batch.build(records, timestamp_ms=time, **fields))

    def append(self, data: bytearray) -> int:
        offset = self.log.next_offset
        batch.stamp(data, offset, self.term)
        self.log.append(data)
        return offset

    def end_transaction(self, producer: int, kind: bytes) -> int:
        marker = Record(kind, b"\0\0\0\0\0\0")
        attributes = batch.CONTROL | batch.TRANSACTIONAL
        return self.append(
            batch.build(
                [marker],
                timestamp_ms=1_000,
                producer_id=producer,
                producer_epoch=0,
                attributes=attributes,
            )
        )

    def sync(self) -> None:
        while (job := self.log.take_job()) is not None:
            job.run()
            self.log.job_done(job)

    def seal(self) -> None:
        """Roll, as a segment that is full would, and checkpoint."""
        segment_bytes, self.log.settings = self.log.settings, _tiny(self.settings)
        self.log.append_internal(batch.InternalKind.TERM_START, self.term, b"", 1_000)
        self.log.settings = segment_bytes
        self.log.checkpoint(self.log.last_index, b"")
        self.sync()

    def clean(
        self, policy: CleanerPolicy = ALWAYS, wall_ms: int = DAY, held: int = EVERYTHING
    ) -> cleaner.Cleaned | None:
        cleaning = cleaner.plan(self.log, policy, wall_ms, EVERYTHING, held)
        if cleaning is None:
            return None
        cleaned = cleaning.run()
        assert cleaned is not None
        self.log.swap(cleaned)
        self.sync()
        return cleaned

    def reopen(self) -> None:
        self.log.close()
        self.log = Log.open(self.disk, PATH, self.settings, 0, founding=b"")
        assert self.log.corrupt is None

    def entries(self) -> list[tuple[int, BatchHeader, bytes]]:
        return [
            (i, header, bytes(data)) for i, header, data in self.log.walk(self.log.first_index, 500)
        ]

    def batches(self) -> list[BatchHeader]:
        return [header for _, header, _ in self.entries() if not header.is_internal]

    def records(self) -> list[tuple[int, str | None, str | None]]:
        return [
            (header.base_offset + record.offset_delta, _text(record.key), _text(record.value))
            for _, header, data in self.entries()
            if not header.is_control
            for record in batch.records(data)
        ]


def _tiny(settings: LogSettings) -> LogSettings:
    return LogSettings(1, settings.index_interval_bytes, settings.preallocate_bytes, 0)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def shape(bench: Bench) -> tuple[int, int, int, list[tuple[int, int]]]:
    log = bench.log
    return log.next_offset, log.last_index, log.first_index, log.terms.ranges


def test_only_the_newest_record_of_each_key_stays_and_no_offset_moves(bench: Bench) -> None:
    bench.put(("a", "1"), ("b", "1"), ("a", "2"))
    bench.put(("c", "1"), ("a", "3"))
    bench.seal()
    bench.put(("b", "of the active segment"))
    before = shape(bench)
    cleaned = bench.clean()
    assert cleaned is not None
    assert bench.records() == [
        (1, "b", "1"),
        (3, "c", "1"),
        (4, "a", "3"),
        (5, "b", "of the active segment"),
    ]
    assert (cleaned.records_removed, cleaned.clean_to) == (2, 5)
    assert shape(bench) == before
    bench.reopen()
    assert shape(bench) == before
    assert len(bench.records()) == 4
    assert bench.log.clean_to == 5


def test_a_batch_that_lost_records_keeps_its_first_and_last_offset(bench: Bench) -> None:
    bench.put(("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("c", "2"))
    bench.put(("c", "3"))
    bench.seal()
    bench.clean()
    first = bench.batches()[0]
    assert (first.base_offset, first.last_offset, first.count) == (0, 4, 2)


def test_what_a_batch_says_of_itself_stays_but_for_its_records(bench: Bench) -> None:
    fields = {"producer_id": 9, "producer_epoch": 3, "base_sequence": 40}
    bench.put(("a", "1"), ("b", "1"), time=5_000, attributes=compression.Codec.ZSTD, **fields)
    bench.put(("a", "2"))
    bench.seal()
    bench.clean()
    header = bench.batches()[0]
    assert header.codec == compression.Codec.ZSTD
    assert (header.producer_id, header.producer_epoch) == (9, 3)
    assert (header.base_sequence, header.last_sequence) == (40, 41)
    assert (header.max_timestamp, header.leader_epoch) == (5_000, 1)
    assert bench.records()[0] == (1, "b", "1")


@pytest.mark.parametrize("codec", compression.Codec)
def test_a_batch_is_written_again_in_its_own_codec(bench: Bench, codec: compression.Codec) -> None:
    bench.put(("a", "x" * 500), ("b", "y" * 500), attributes=codec)
    bench.put(("a", "2"))
    bench.seal()
    bench.clean()
    assert bench.batches()[0].codec == codec
    assert bench.records() == [(1, "b", "y" * 500), (2, "a", "2")]


def test_record_times_survive_a_rewrite(bench: Bench) -> None:
    made = [Record(b"a", b"", (), 5), Record(b"b", b"", (("h", b"v"),), 7), Record(b"c", None)]
    bench.append(batch.build(made, timestamp_ms=1_000))
    bench.put(("a", "2"))
    bench.seal()
    bench.clean()
    _, header, data = bench.entries()[0]
    assert [
        (record.key, header.base_timestamp + record.timestamp_delta, record.headers)
        for record in batch.records(data)
    ] == [(b"b", 1_007, (("h", b"v"),)), (b"c", 1_000, ())]
    assert header.max_timestamp == 1_007


def test_batches_without_records_grow_together_to_one_gap(bench: Bench) -> None:
    for number in range(6):
        bench.put(("a", str(number)))
    bench.seal()
    bench.clean()
    gap, last = bench.batches()
    assert (gap.base_offset, gap.last_offset, gap.count) == (0, 4, 0)
    assert (gap.producer_id, gap.max_timestamp) == (-1, -1)
    assert not gap.is_control
    assert (last.base_offset, last.count) == (5, 1)


def test_gaps_do_not_grow_across_terms_or_internal_entries(bench: Bench) -> None:
    bench.put(("a", "1"))
    bench.term = 2
    bench.put(("a", "2"))
    bench.log.append_internal(batch.InternalKind.MEMBERSHIP, 2, b"members", 0)
    bench.put(("a", "3"))
    bench.put(("a", "4"))
    internals = [data for _, header, data in bench.entries() if header.is_internal]
    bench.seal()
    bench.clean()
    spans = [(header.base_offset, header.last_offset_delta + 1) for header in bench.batches()]
    assert spans == [(0, 1), (1, 1), (2, 1), (3, 1)]
    assert [d for _, header, d in bench.entries() if header.is_internal][:1] == internals


def test_a_gap_never_outgrows_its_header() -> None:
    first = cleaner_filter.Gap(0, compacted.MAX_OFFSET_DELTA - 1, 1)
    longest = cleaner_filter.joined(first, cleaner_filter.Gap(first.last_offset + 1, 2**31 - 1, 1))
    assert longest is not None
    header = batch.parse_header(cleaner_filter.gap_bytes(longest))
    assert header.last_offset_delta == compacted.MAX_OFFSET_DELTA
    assert cleaner_filter.joined(longest, cleaner_filter.Gap(2**31, 2**31, 1)) is None


def test_the_last_batch_of_each_producer_keeps_its_numbers_without_its_records(
    bench: Bench,
) -> None:
    producer = {"producer_id": 7, "producer_epoch": 1}
    bench.put(("a", "1"), base_sequence=0, **producer)
    bench.put(("a", "2"), ("a", "3"), base_sequence=1, **producer)
    bench.put(("a", "4"))
    bench.seal()
    bench.clean()
    gap, kept, _ = bench.batches()
    assert (gap.count, gap.producer_id) == (0, -1)
    assert (kept.count, kept.producer_id, kept.producer_epoch) == (0, 7, 1)
    assert (kept.base_sequence, kept.last_sequence, kept.last_offset) == (1, 2, 2)


def test_a_producer_that_wrote_again_needs_its_old_empty_batch_no_more(bench: Bench) -> None:
    producer = {"producer_id": 7, "producer_epoch": 1}
    bench.put(("a", "1"), base_sequence=0, **producer)
    bench.put(("a", "2"))
    bench.seal()
    bench.clean()
    assert bench.batches()[0].producer_id == 7
    bench.put(("a", "3"), base_sequence=1, **producer)
    bench.seal()
    bench.clean()
    assert [header.producer_id for header in bench.batches()] == [-1, 7]


def test_cleaning_twice_changes_nothing(bench: Bench) -> None:
    for number in range(30):
        bench.put((f"k{number % 4}", str(number)), (f"k{number % 3}", None))
    bench.seal()
    bench.clean()
    once = bench.entries()
    bench.log._layout.clean_to = 0  # all of it again
    again = bench.clean()
    assert again is not None
    assert again.segments == ()
    assert bench.entries() == once


def test_a_tombstone_hides_older_values_at_once_and_leaves_after_its_time(bench: Bench) -> None:
    bench.put(("a", "1"))
    bench.put(("a", None))
    bench.seal()
    bench.clean(wall_ms=DAY)
    assert bench.records() == [(1, "a", None)]
    header = bench.batches()[1]
    assert header.delete_horizon_ms == DAY + 1_000
    bench.put(("b", "1"))
    bench.seal()
    bench.clean(wall_ms=DAY + 999)
    assert (1, "a", None) in bench.records()
    bench.put(("b", "2"))
    bench.seal()
    bench.clean(wall_ms=DAY + 1_000)
    assert bench.records() == [(3, "b", "2")]


def test_a_tombstone_stays_while_a_replica_may_not_have_it(bench: Bench) -> None:
    bench.put(("a", "1"))
    tombstone = bench.put(("a", None))
    bench.seal()
    bench.clean(wall_ms=1_000)
    for held, expected in ((0, True), (tombstone, True), (tombstone + 1, False)):
        bench.put(("b", "1"))
        bench.seal()
        bench.clean(wall_ms=DAY, held=held)
        assert ((tombstone, "a", None) in bench.records()) is expected


def test_a_tombstone_whose_times_leave_no_room_for_a_horizon_stays(bench: Bench) -> None:
    bench.put(("a", None), time=-(1 << 63))
    bench.seal()
    bench.clean()
    assert bench.batches()[0].delete_horizon_ms is None
    assert bench.records() == [(0, "a", None)]


def test_records_without_a_key_go(bench: Bench) -> None:
    bench.put((None, "no key"), ("a", "1"))
    bench.seal()
    bench.clean()
    assert bench.records() == [(1, "a", "1")]


def test_records_before_the_logs_start_go(bench: Bench) -> None:
    bench.put(("a", "1"))
    bench.put(("b", "1"))
    bench.seal()
    bench.log.advance_start(1)
    bench.sync()
    bench.clean()
    assert bench.records() == [(1, "b", "1")]


def test_what_an_aborted_transaction_wrote_never_hides_or_survives(bench: Bench) -> None:
    producer = {"producer_id": 5, "producer_epoch": 0, "attributes": batch.TRANSACTIONAL}
    bench.put(("a", "committed"))
    bench.put(("a", "aborted"), ("b", "aborted"), base_sequence=0, **producer)
    abort = bench.end_transaction(5, ABORT)
    bench.put(("b", "in the next one"), base_sequence=2, **producer)
    commit = bench.end_transaction(5, COMMIT)
    bench.seal()
    bench.clean()
    assert bench.records() == [(0, "a", "committed"), (4, "b", "in the next one")]
    markers = [header.base_offset for header in bench.batches() if header.is_control]
    assert markers == [abort, commit]


def test_an_open_transaction_ends_the_cleaning_before_it(bench: Bench) -> None:
    producer = {"producer_id": 5, "producer_epoch": 0, "attributes": batch.TRANSACTIONAL}
    bench.put(("a", "1"))
    bench.put(("a", "2"))
    bench.put(("a", "open"), base_sequence=0, **producer)
    bench.put(("a", "4"))
    bench.seal()
    cleaned = bench.clean()
    assert cleaned is not None
    assert cleaned.clean_to == 2
    assert [offset for offset, _, _ in bench.records()] == [1, 2, 3]
    again = cleaner.plan(bench.log, ALWAYS, DAY, EVERYTHING, EVERYTHING)
    assert again is not None
    assert again.run() is None, "or its caller would try again and again"
    bench.end_transaction(5, ABORT)
    bench.seal()
    bench.clean()
    assert bench.records() == [(3, "a", "4")]


def test_a_batch_that_nobody_can_read_stays_as_it_is_and_holds_tombstones_back(
    bench: Bench,
) -> None:
    data = batch.build([Record(b"a", b"1")], timestamp_ms=1)
    data[-3] ^= 0x55  # not a record any more, under a checksum that holds
    header = batch.parse_header(data)
    data[17:21] = batch.crc_of(data, header).to_bytes(4, "big")
    bench.append(data)
    bench.put(("a", None))
    bench.seal()
    bench.clean(wall_ms=1_000)
    bench.put(("b", "1"))
    bench.seal()
    bench.clean(wall_ms=DAY)
    kept = bench.entries()
    assert kept[0][2] == bytes(data)
    assert batch.records(kept[1][2])[0].value is None


def test_a_full_map_ends_a_cleaning_early_and_the_next_goes_on_there(bench: Bench) -> None:
    for number in range(10):
        bench.put((f"k{number}", "old"))
    for number in range(10):
        bench.put((f"k{number}", "new"))
    bench.seal()
    policy = CleanerPolicy(min_cleanable_dirty_ratio=0.0, map_keys=4)
    ends = []
    while (cleaned := bench.clean(policy)) is not None:
        ends.append(cleaned.clean_to)
    assert ends == [4, 8, 12, 16, 20]
    assert bench.records() == [(10 + n, f"k{n}", "new") for n in range(10)]


def test_what_lies_behind_a_full_map_is_not_touched(bench: Bench) -> None:
    bench.put(("gone", "old"))
    for number in range(4):
        bench.put((f"k{number}", "v"))
    bench.put(("gone", None))
    bench.seal()
    policy = CleanerPolicy(min_cleanable_dirty_ratio=0.0, map_keys=4, delete_retention_ms=0)
    bench.clean(policy)
    assert bench.batches()[-1].delete_horizon_ms is None
    bench.clean(policy)
    assert [key for _, key, _ in bench.records()] == ["k0", "k1", "k2", "k3", "gone"]
    assert bench.batches()[-1].delete_horizon_ms == DAY


def test_a_batch_with_more_keys_than_the_map_holds_is_cleaned_all_the_same(bench: Bench) -> None:
    bench.put(*((f"k{n}", "old") for n in range(9)))
    bench.put(*((f"k{n}", "new") for n in range(9)))
    bench.seal()
    policy = CleanerPolicy(min_cleanable_dirty_ratio=0.0, map_keys=2)
    while bench.clean(policy) is not None:
        pass
    assert [value for _, _, value in bench.records()] == ["new"] * 9


def test_small_segments_grow_together_up_to_the_size_of_one() -> None:
    bench = Bench(segment_bytes=400)
    for number in range(12):
        bench.put((f"k{number}", "v" * 20))
        bench.seal()
    sealed = len(bench.log.segments) - 1
    bench.clean()
    after = bench.log.segments[:-1]
    assert sealed == 12
    assert 1 < len(after) < sealed
    assert all(segment.size <= 400 for segment in after)
    assert len(bench.records()) == 12
    bench.reopen()
    assert len(bench.records()) == 12


def test_a_run_writes_no_more_than_it_may_and_the_rest_comes_next(bench: Bench) -> None:
    bench = Bench(segment_bytes=300)
    for number in range(20):
        bench.put((f"k{number}", "old" * 10))
    for number in range(20):
        bench.put((f"k{number}", "new" * 10))
    bench.seal()
    policy = CleanerPolicy(min_cleanable_dirty_ratio=0.0, max_bytes=600)
    runs = 0
    while (cleaned := bench.clean(policy)) is not None:
        runs += 1
        assert cleaned.bytes_after <= 600
        assert runs < 50
    assert runs > 2
    assert [value for _, _, value in bench.records()] == ["new" * 10] * 20


def test_a_cleaning_waits_until_enough_is_dirty(bench: Bench) -> None:
    for number in range(10):
        bench.put((f"k{number}", "v"))
    bench.seal()
    half = CleanerPolicy(min_cleanable_dirty_ratio=0.5)
    assert bench.clean(half) is not None
    bench.put(("k1", "v"))
    bench.seal()
    assert cleaner.plan(bench.log, half, DAY, EVERYTHING, 0) is None
    for number in range(12):
        bench.put((f"k{number}", "w"))
    bench.seal()
    assert cleaner.plan(bench.log, half, DAY, EVERYTHING, 0) is not None


def test_a_record_that_waited_too_long_is_cleaned_however_little_is_dirty(bench: Bench) -> None:
    for number in range(10):
        bench.put((f"k{number}", "v"))
    bench.seal()
    bench.clean()
    bench.put(("k1", "v"), time=2_000)
    bench.seal()
    policy = CleanerPolicy(max_compaction_lag_ms=500)
    assert cleaner.plan(bench.log, policy, 2_500, EVERYTHING, 0) is None
    assert cleaner.plan(bench.log, policy, 2_501, EVERYTHING, 0) is not None


def test_records_younger_than_the_lag_stay_readable(bench: Bench) -> None:
    bench.put(("a", "1"), time=1_000)
    bench.put(("a", "2"), time=5_000)
    bench.seal()
    policy = CleanerPolicy(min_cleanable_dirty_ratio=0, min_compaction_lag_ms=3_000)
    assert bench.clean(policy, wall_ms=7_999) is None
    assert bench.clean(policy, wall_ms=8_000) is not None
    assert bench.records() == [(1, "a", "2")]


def test_nothing_is_planned_beyond_what_is_committed_or_checkpointed(bench: Bench) -> None:
    bench.put(("a", "1"), ("a", "2"))
    bench.seal()
    assert cleaner.plan(bench.log, ALWAYS, DAY, 1, 0) is None
    assert cleaner.plan(bench.log, ALWAYS, DAY, 2, 0) is not None
    bench.log.checkpoint(0, b"")
    assert cleaner.plan(bench.log, ALWAYS, DAY, 2, 0) is None


def test_the_active_segment_is_never_cleaned(bench: Bench) -> None:
    bench.put(("a", "1"), ("a", "2"))
    bench.sync()
    bench.log.checkpoint(bench.log.last_index, b"")
    bench.sync()
    assert cleaner.plan(bench.log, ALWAYS, DAY, EVERYTHING, 0) is None


def cleaned_files(bench: Bench) -> Sequence[str]:
    return [name for name in bench.disk.listdir(PATH) if name.endswith(".cleaned")]


def test_a_stopped_cleaning_leaves_nothing_behind(bench: Bench) -> None:
    bench.put(("a", "1"), ("a", "2"))
    bench.seal()
    cleaning = cleaner.plan(bench.log, ALWAYS, DAY, EVERYTHING, 0)
    assert cleaning is not None
    spent = 0

    def stop_late(size: int) -> None:
        nonlocal spent
        spent += size
        if spent > 2 * cleaning.bytes_before:
            cleaning.stop()

    assert cleaning.run(stop_late) is None
    assert spent > 2 * cleaning.bytes_before
    assert cleaned_files(bench) == []


def test_an_error_while_writing_leaves_the_log_as_it_was(bench: Bench) -> None:
    bench.put(("a", "1"), ("a", "2"))
    bench.seal()
    before = bench.entries()
    cleaning = cleaner.plan(bench.log, ALWAYS, DAY, EVERYTHING, 0)
    assert cleaning is not None
    bench.disk.fault = lambda op, path: 28 if op == "pwrite" and "cleaned" in path else None
    with pytest.raises(OSError, match="No space"):
        cleaning.run()
    bench.disk.fault = None
    assert cleaned_files(bench) == []
    assert bench.entries() == before
    assert bench.clean() is not None


def test_rot_in_a_segment_is_told_and_not_copied(bench: Bench) -> None:
    bench.put(("a", "1"), ("a", "2"))
    bench.seal()
    cleaning = cleaner.plan(bench.log, ALWAYS, DAY, EVERYTHING, 0)
    assert cleaning is not None
    assert cleaning.is_current
    bench.disk.flip(f"{PATH}/{0:020d}.log", 70)
    with pytest.raises(CorruptLogError):
        cleaning.run()
    assert cleaned_files(bench) == []


def test_retention_that_takes_a_segment_makes_its_cleaning_void(bench: Bench) -> None:
    bench.put(("a", "1"), ("a", "2"))
    bench.seal()
    cleaning = cleaner.plan(bench.log, ALWAYS, DAY, EVERYTHING, 0)
    assert cleaning is not None
    cleaned = cleaning.run()
    assert cleaned is not None
    bench.put(("b", "1"))
    bench.log.advance_start(2)
    bench.sync()
    assert not cleaning.is_current
    bench.log.swap(cleaned)
    bench.sync()
    assert bench.log.clean_to == 0
    bench.reopen()
    assert bench.records() == [(2, "b", "1")]
    assert cleaned_files(bench) == []


def test_a_search_by_time_never_ends_in_a_gap(bench: Bench) -> None:
    bench.put(("a", "1"), time=9_000)
    bench.put(("b", "1"), time=2_000)
    bench.put(("a", "2"), time=3_000)
    bench.seal()
    bench.clean()
    assert bench.log.offset_for_time(2_500, EVERYTHING) == (2, 3_000)
    assert bench.log.offset_for_time(5_000, EVERYTHING) is None
    assert bench.log.max_timestamp(EVERYTHING) == (2, 3_000)
