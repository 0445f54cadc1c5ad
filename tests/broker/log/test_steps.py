"""The power goes at every single step of every kind of job, and at every step of the recovery.

Each scenario makes a log, makes one thing pending and runs the job; the machine stops before its
n-th change to the disk, for every n. What is found afterwards is the old state or the new one,
never a third, and the log goes on from there.
"""

from __future__ import annotations

import errno
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from quorate_broker.log import cleaner
from quorate_broker.log.cleaner import CleanerPolicy
from quorate_broker.log.layout import Prefix
from quorate_broker.log.log import Log, LogSettings
from quorate_broker.log.told import encode_start
from quorate_broker.testing.simdisk import PowerCutError
from quorate_broker.wire import batch
from quorate_broker.wire.batch import InternalKind, Record

Bench = Any
Make = Callable[[int], Bench]
SIZES = LogSettings(
    segment_bytes=700, index_interval_bytes=200, preallocate_bytes=500, cache_bytes=0
)
SEEDS = (1, 2)


@dataclass(frozen=True)
class Signature:
    """All that a log says of itself."""

    range: tuple[int, int, int, int]
    entries: tuple[bytes, ...]
    told: tuple[object, ...]
    extra: bytes
    state: tuple[int, bytes] | None


def signature(log: Log) -> Signature:
    return Signature(
        (log.start_offset, log.next_offset, log.first_index, log.last_index),
        tuple(bytes(data) for _, _, data in log.walk(log.first_index, 500)),
        (log.membership, tuple(log.starts), log.hollow, log.terms.ranges, log.clean_to),
        log.checkpoint_extra,
        log.state,
    )


def fill(bench: Bench) -> None:
    """Some ten small segments, all synced and in a checkpoint but for the last few entries."""
    bench.begin_term(1)
    for number in range(30):
        made = [Record(b"k%d" % (number % 3), b"v" * 20)]
        data = batch.build(made, timestamp_ms=1_000 + number)
        batch.stamp(data, bench.log.next_offset, 1)
        bench.log.append(data)
        if number == 10:
            bench.log.append_internal(InternalKind.MEMBERSHIP, 1, b"eleven", 1)
    bench.log.append_internal(InternalKind.LOG_START, 1, encode_start(20), 1)
    bench.checkpoint()
    bench.append(time=2_000)
    bench.sync()


AHEAD = Prefix(index=500, term=4, offset=450, internals=51, start_offset=450, membership=b"new")
AMID = Prefix(index=21, term=1, offset=20, internals=2, start_offset=20, membership=b"eleven")


def reset_ahead(bench: Bench) -> None:
    bench.log.put_state(480, b"machine")
    bench.log.reset(AHEAD, b"producers")


def reset_onto_names_that_are_taken(bench: Bench) -> None:
    """The new log's first segment has the name of an old one, with other bytes."""
    base = bench.log._layout.segments[4]
    before = Prefix(base.base_index - 1, 1, base.base_offset, 2, 0, b"new")
    bench.log.reset(before, b"producers")
    for _ in range(12):
        bench.append(term=3, size=30)


def reset_twice(bench: Bench) -> None:
    bench.log.reset(AMID)
    bench.append(term=2)
    bench.log.reset(AHEAD, b"producers")
    bench.append(term=5)


def retention(bench: Bench) -> None:
    bench.log.put_state(22, b"machine")
    bench.start_at(20)
    bench.log.checkpoint(25, b"producers")


def retention_of_everything(bench: Bench) -> None:
    bench.start_at(bench.log.next_offset)


def truncation(bench: Bench) -> None:
    bench.log.truncate_after(15)


def truncation_below_the_checkpoint_with_new_entries(bench: Bench) -> None:
    bench.log.truncate_after(11)
    for _ in range(12):
        bench.append(term=2, size=30)


def compaction(bench: Bench) -> None:
    policy = CleanerPolicy(min_cleanable_dirty_ratio=0.0)
    cleaning = cleaner.plan(bench.log, policy, 10_000, 1 << 60, 1 << 60)
    assert cleaning is not None
    cleaned = cleaning.run()
    assert cleaned is not None
    assert cleaned.segments
    bench.log.swap(cleaned)


def compaction_and_retention(bench: Bench) -> None:
    compaction(bench)
    bench.start_at(15)


def compaction_and_truncation(bench: Bench) -> None:
    compaction(bench)
    bench.log.truncate_after(bench.log.last_index - 1)


def filling(bench: Bench) -> None:
    bench.log.fill()


SCENARIOS = [
    reset_ahead,
    reset_onto_names_that_are_taken,
    reset_twice,
    retention,
    retention_of_everything,
    truncation,
    truncation_below_the_checkpoint_with_new_entries,
    compaction,
    compaction_and_retention,
    compaction_and_truncation,
    filling,
]


def prepared(make: Make, seed: int, act: Callable[[Bench], None]) -> Bench:
    bench = make(seed)
    bench.log._layout.hollow = act is filling
    fill(bench)
    return bench


def cuts(make: Make, act: Callable[[Bench], None], seed: int) -> Iterator[Bench]:
    """A bench whose machine just stopped, for every step of the jobs."""
    for step in range(1_000):
        bench = prepared(make, seed, act)
        act(bench)
        bench.disk.cut_power_after = step
        try:
            bench.sync()
        except PowerCutError:
            yield bench
        else:
            assert step > 2, "the job did something"
            return
    raise AssertionError("the job has no end")


@pytest.fixture
def make(new_bench: Callable[..., Bench]) -> Make:
    return lambda seed: new_bench(SIZES, seed)


LOOSE = {
    reset_onto_names_that_are_taken: 0,
    reset_twice: 0,
    truncation: 16,
    truncation_below_the_checkpoint_with_new_entries: 11,
    compaction_and_truncation: 20,
}
"""What appends or cuts may be found half done: this many entries must be there."""


def stages(make: Make, act: Callable[[Bench], None]) -> list[Signature]:
    """What is found after each of the jobs, the old state first."""
    found = []
    for jobs in range(10):
        bench = prepared(make, 1, act)
        if jobs:
            act(bench)
        for _ in range(jobs):
            job = bench.log.take_job()
            if job is None:
                return found
            job.run()
            bench.log.job_done(job)
        found.append(signature(bench.crash()))
    raise AssertionError("the jobs have no end")


def must_be_one_of(log: Log, known: list[Signature], least: int | None) -> None:
    """One of these states; the hosted state alone may be ahead of it, never behind."""
    assert log.corrupt is None
    found = signature(log)
    if found in known or replace(found, state=None) == known[0]:
        return
    assert least is not None, "wholly or not at all"
    like = [
        stage
        for stage in known
        if stage.range[2] == found.range[2]
        and stage.entries[: len(found.entries)] == found.entries
        and stage.state == found.state
    ]
    assert like
    assert len(found.entries) >= least
    assert found.told[0] in [stage.told[0] for stage in like]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("act", SCENARIOS)
def test_a_power_cut_at_any_step_of_a_job_leaves_the_old_state_or_the_new(
    make: Make, act: Callable[[Bench], None], seed: int
) -> None:
    known = stages(make, act)
    for bench in cuts(make, act, seed):
        must_be_one_of(bench.crash(), known, LOOSE.get(act))
        bench.append(term=9)
        bench.checkpoint()
        entries = bench.entries()
        assert bench.crash().corrupt is None
        assert bench.entries() == entries


@pytest.mark.parametrize("act", SCENARIOS)
def test_a_power_cut_at_any_step_of_the_recovery_that_follows_changes_nothing(
    make: Make, act: Callable[[Bench], None]
) -> None:
    known = stages(make, act)
    for number, bench in itertools.islice(enumerate(cuts(make, act, 1)), 0, None, 2):
        for step in range(60):
            bench.disk.crash()
            bench.disk.cut_power_after = (step + number) % 17
            try:
                bench.open()
            except PowerCutError:
                continue
            break
        must_be_one_of(bench.crash(), known, LOOSE.get(act))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("act", SCENARIOS)
def test_an_error_at_any_step_of_a_job_is_final_and_loses_nothing(
    make: Make, act: Callable[[Bench], None], number: int
) -> None:
    known = stages(make, act)
    spared: Counter[str] = Counter()
    for step in range(1_000):
        bench = prepared(make, 1, act)
        act(bench)
        at = bench.disk.seen.total() + step
        failed: list[str] = []

        def fault(operation: str, _: str, at: int = at, failed: list[str] = failed) -> int | None:
            if bench.disk.seen.total() > at and not failed:  # noqa: B023
                failed.append(operation)
                return number
            return None

        bench.disk.fault = fault
        try:
            bench.sync()
        except OSError:
            must_be_fenced(bench)
        else:
            if not failed:
                break
            spared[failed[0]] += 1
            bench.log.close()
        bench.disk.fault = None
        assert bench.disk._handles == {} or failed == ["close"]
        must_be_one_of(bench.open(), known, LOOSE.get(act))
        found = signature(bench.log)
        assert signature(bench.crash()) == found
    assert step > 5
    assert not set(spared) - ({"close", "preallocate"} if number == errno.ENOSPC else {"close"})


def must_be_fenced(bench: Bench) -> None:
    """No further job, no further sync, and no file left open."""
    log, seen = bench.log, bench.disk.seen
    assert log.failed is not None
    assert log.take_job() is None
    syncs = seen["sync"] + seen["sync_dir"]
    log.close()
    assert seen["sync"] + seen["sync_dir"] == syncs


@pytest.mark.parametrize("act", SCENARIOS)
def test_an_error_at_any_step_of_an_opening_is_told_and_the_next_one_succeeds(
    make: Make, act: Callable[[Bench], None]
) -> None:
    known = stages(make, act)
    for bench in itertools.islice(cuts(make, act, 1), 0, None, 3):
        bench.disk.crash()
        for step in range(1_000):
            at = bench.disk.seen.total() + step
            failed: list[str] = []

            def fault(operation: str, _: str, at: int = at, failed: list[str] = failed) -> Any:
                is_due = bench.disk.seen.total() > at and not failed  # noqa: B023
                if is_due and operation != "close":
                    failed.append(operation)
                    return errno.EIO
                return None

            bench.disk.fault = fault
            try:
                bench.open()
            except OSError:
                assert bench.disk._handles == {}
            else:
                break
        assert step > 3
        bench.disk.fault = None
        must_be_one_of(bench.crash(), known, LOOSE.get(act))


def test_a_read_that_fails_is_an_error_of_its_caller_alone(make: Make) -> None:
    bench = make(1)
    fill(bench)
    wanted = bench.entries()
    bench.log._files.close()
    bench.disk.fault = lambda operation, _: errno.EIO if operation == "pread" else None
    with pytest.raises(OSError, match="Input/output"):
        bench.log.read(0, 100, 30)
    bench.disk.fault = None
    assert (bench.log.corrupt, bench.log.failed) == (None, None)
    assert bench.entries() == wanted
    assert len(bench.disk._handles) <= 5


def test_a_reset_counts_for_nothing_until_its_job_is_done(make: Make) -> None:
    bench = make(1)
    fill(bench)
    bench.log.reset(AHEAD, b"producers")
    log = bench.log
    assert (log.first_index, log.last_index, log.last_term) == (501, 500, 4)
    assert (log.start_offset, log.next_offset) == (450, 450)
    assert log.membership == (500, b"new")
    assert log.term_at(500) == 4
    assert log.synced_index == -1
    bench.sync()
    assert log.synced_index == 500
    assert (log.checkpoint_index, log.checkpoint_extra) == (500, b"producers")
    assert bench.files() == []


def test_a_job_in_flight_is_overtaken_by_a_reset(make: Make) -> None:
    bench = make(1)
    fill(bench)
    for _ in range(20):
        bench.append()
    bench.log.checkpoint(bench.log.last_index, b"old")
    job = bench.log.take_job()
    bench.log.reset(AHEAD)
    new = bench.append(term=5)
    job.run()
    bench.log.job_done(job)
    assert bench.log.synced_index == -1
    bench.sync()
    assert bench.log.synced_index == 501
    assert len(bench.disk._handles) == 1
    bench.crash()
    assert bench.entries() == [new]
    assert bench.log.index_of_offset(450) == 501


def test_a_prefix_begins_the_same_log_elsewhere(make: Make) -> None:
    """What a follower needs who is behind the leader's first segment."""
    leader, follower = make(1), make(2)
    fill(leader)
    leader.start_at(20)
    leader.sync()
    prefix = leader.log.prefix()
    assert prefix.index == leader.log.first_index - 1 > 0
    follower.log.reset(prefix)
    for data in leader.entries():
        follower.log.append(data)
    follower.sync()
    log = follower.crash()
    assert log.prefix() == Prefix(**{**_fields(prefix), "start_offset": prefix.offset})
    assert follower.entries() == leader.entries()
    assert [log.index_of_offset(n) for n in range(20, 31)] == [
        leader.log.index_of_offset(n) for n in range(20, 31)
    ]
    assert log.membership[1] == leader.log.membership[1]


def _fields(prefix: Prefix) -> dict[str, Any]:
    return {name: getattr(prefix, name) for name in prefix.__slots__}


def test_a_hosted_state_comes_back(make: Make) -> None:
    bench = make(1)
    assert bench.log.state is None
    bench.log.put_state(7, b"machine" * 1_000)
    assert bench.log.state == (7, b"machine" * 1_000)
    bench.sync()
    assert bench.crash().state == (7, b"machine" * 1_000)


@pytest.mark.parametrize("at", [0, 5, 7, 12, 30])
def test_a_rotten_hosted_state_is_corruption(make: Make, at: int) -> None:
    bench = make(1)
    bench.log.put_state(7, b"machine" * 10)
    bench.sync()
    bench.disk.flip(bench.files("state")[0], at)
    assert "state file" in str(bench.open().corrupt)


def test_readers_of_a_segment_are_served_while_another_takes_its_place(make: Make) -> None:
    bench = make(1)
    fill(bench)
    first = bench.log.read(0, 1, 31)
    compaction(bench)
    assert bench.log.swapping
    cleaned = bench.entries()
    assert bench.log.read(0, 1, 31) != first  # the record went, its batch stayed
    job = bench.log.take_job()
    assert bench.entries() == cleaned
    job.run()
    assert bench.entries() == cleaned
    bench.log.job_done(job)
    assert not bench.log.swapping
    assert bench.entries() == cleaned
    bench.crash()
    assert bench.entries() == cleaned


def cleaned_beside(bench: Bench) -> Any:
    policy = CleanerPolicy(min_cleanable_dirty_ratio=0.0)
    cleaning = cleaner.plan(bench.log, policy, 10_000, 1 << 60, 1 << 60)
    assert cleaning is not None
    cleaned = cleaning.run()
    assert cleaned is not None
    assert len(cleaned.segments) > 0
    return cleaned


@pytest.mark.parametrize("why", ["retention", "reset", "no handle"])
def test_a_cleaning_that_came_too_late_leaves_nothing(make: Make, why: str) -> None:
    bench = make(1)
    fill(bench)
    cleaned = cleaned_beside(bench)
    if why == "retention":
        bench.start_at(20)
    elif why == "reset":
        bench.log.reset(AHEAD)
    entries = bench.entries()
    is_in_open = {"open"} if why == "no handle" else set()
    bench.disk.fault = lambda operation, _: errno.EMFILE if operation in is_in_open else None
    assert not bench.log.swap(cleaned)
    bench.disk.fault = None
    assert bench.log.swapping
    bench.sync()
    assert not bench.log.swapping
    assert bench.files(".cleaned") == []
    assert bench.entries() == entries
    assert bench.crash().corrupt is None
    assert bench.entries() == entries
