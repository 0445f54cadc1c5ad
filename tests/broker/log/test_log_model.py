"""The log against a plain list, by Hypothesis: whatever happens, nothing synced is ever lost.

The model is a list of entries. Jobs are taken, run and published in separate steps, so that
appends and truncations come while one is in flight; the power goes at any operation of a job.
After a crash the log must begin with everything that was synced and not truncated since; behind
that may stand only entries that once were appended there (an old one whose truncation was not on
disk yet is fine: Raft truncates it again).
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from quorate_broker.log.jobs import Job
from quorate_broker.log.layout import Prefix
from quorate_broker.log.log import Log, LogSettings
from quorate_broker.testing.simdisk import PowerCutError, SimDisk
from quorate_broker.wire import batch

PATH = "/data/g"


@dataclass(frozen=True)
class Entry:
    first_index: int
    last_index: int
    offset: int
    next_offset: int
    term: int
    data: bytes


class LogAgainstList(RuleBasedStateMachine):
    @initialize(
        seed=st.integers(0, 1 << 30),
        segment=st.sampled_from([400, 1_000, 5_000]),
        interval=st.sampled_from([1, 200, 1_000]),
        cache=st.sampled_from([0, 300, 100_000]),
    )
    def begin(self, seed: int, segment: int, interval: int, cache: int) -> None:
        self.random = random.Random(seed)
        self.disk = SimDisk(self.random)
        self.settings = LogSettings(segment, interval, 500, cache)
        self.log = Log.open(self.disk, PATH, self.settings, 0, founding=b"founders")
        self.base_membership = b"founders"
        self.model: list[Entry] = []
        self.base = (0, 0, 0)  # first index, offset there, term before it
        self.ever: set[tuple[int, bytes]] = set()
        self.extras: dict[bytes, int] = {b"": -1}
        self.job: Job | None = None
        self.job_covers = -1
        self.synced = -1
        self.start = 0
        self.before_reset: tuple[Any, ...] | None = None
        """What may be found again while a reset is not on disk."""
        self.resets = 0
        self.is_overtaken = False

    # ------------------------------------------------------------------------------ changes

    def _note(self, first_index: int, data: bytes) -> None:
        header = batch.parse_header(data)
        last_index = first_index + max(0, header.last_offset_delta)
        entry = Entry(
            first_index,
            last_index,
            header.base_offset,
            header.next_offset,
            header.leader_epoch,
            data,
        )
        self.model.append(entry)
        self.ever.add((first_index, data))

    @property
    def term(self) -> int:
        return self.model[-1].term if self.model else self.base[2]

    @property
    def last_index(self) -> int:
        return self.model[-1].last_index if self.model else self.base[0] - 1

    @property
    def next_offset(self) -> int:
        return self.model[-1].next_offset if self.model else self.base[1]

    @rule(batches=st.integers(1, 8), data=st.data())
    def append_many(self, batches: int, data: st.DataObject) -> None:
        for _ in range(batches):
            self._append(data.draw(st.integers(1, 5)), data.draw(st.integers(0, 200)), 0)

    @rule(records=st.integers(1, 5), size=st.integers(0, 200), newer=st.integers(0, 1))
    def append(self, records: int, size: int, newer: int) -> None:
        self._append(records, size, newer)

    def _append(self, records: int, size: int, newer: int) -> None:
        value = self.random.randbytes(size)
        made = [batch.Record(None, value, timestamp_delta=n) for n in range(records)]
        data = batch.build(made, timestamp_ms=1_000 + self.random.randrange(100))
        batch.stamp(data, self.next_offset, self.term + newer)
        first_index = self.last_index + 1
        self.log.append(data)
        self._note(first_index, bytes(data))

    @rule(newer=st.integers(0, 1), content=st.binary(max_size=50))
    def append_internal(self, newer: int, content: bytes) -> None:
        first_index = self.last_index + 1
        kind = self.random.choice([batch.InternalKind.TERM_START, batch.InternalKind.MEMBERSHIP])
        assert self.log.append_internal(kind, self.term + newer, content, 5) == first_index
        self._note(first_index, bytes(self.log.slice(first_index, 1).batches[0]))

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        keep = data.draw(st.integers(0, len(self.model)))
        while keep < len(self.model) and self._offset_behind(keep) < self.start:
            keep += 1  # Raft never truncates what is committed, and the start is
        index = self.model[keep - 1].last_index if keep else self.base[0] - 1
        self.log.truncate_after(index)
        del self.model[keep:]
        self.synced = min(self.synced, index)
        self.job_covers = min(self.job_covers, index)

    def _offset_behind(self, keep: int) -> int:
        return self.model[keep - 1].next_offset if keep else self.base[1]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def checkpoint(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.model))
        extra = f"{len(self.extras)}".encode()
        self.extras[extra] = entry.last_index
        self.log.checkpoint(entry.last_index, extra)
        self._forget(self.log.first_index)  # a start that was moved earlier may take more now

    @precondition(lambda self: self.synced >= 0 and self.job is None)
    @rule(data=st.data())
    def advance_start(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(self.start, self.log.high_watermark(self.synced)))
        self.start = offset
        self.log.advance_start(offset)
        extra = f"{len(self.extras)}".encode()
        self.extras[extra] = self.synced
        self.log.checkpoint(self.synced, extra)
        self._forget(self.log.first_index)

    @rule()
    def roll(self) -> None:
        self.log.roll()

    @precondition(lambda self: self.before_reset is None)
    @rule(records=st.integers(0, 5), internals=st.integers(0, 3), newer=st.integers(0, 1))
    def reset(self, records: int, internals: int, newer: int) -> None:
        """To a place at or behind the end, as a follower does that is too far behind."""
        old = (self.model, self.base, self.base_membership, self.synced, self.start)
        self.before_reset = old
        self.resets += 1
        offset = self.next_offset + records
        index = self.last_index + records + internals
        term = max(1, self.term + newer) if index >= 0 else 0
        content = b"reset %d" % self.resets
        self.log.reset(Prefix(index, term, offset, index + 1 - offset, offset, content))
        self.model, self.base = [], (index + 1, offset, term)
        self.base_membership, self.synced, self.start = content, -1, offset
        self.job_covers = -1
        self.is_overtaken = self.job is not None

    def _forget(self, first_index: int) -> None:
        gone = [entry for entry in self.model if entry.last_index < first_index]
        self.base_membership = self._membership(gone)
        if gone:
            last = gone[-1]
            self.base = (first_index, last.next_offset, last.term)
            del self.model[: len(gone)]

    def _membership(self, entries: list[Entry]) -> bytes:
        """The newest that these entries tell."""
        for entry in reversed(entries):
            if entry.next_offset == entry.offset:
                told = batch.parse_internal(entry.data)
                if told.kind is batch.InternalKind.MEMBERSHIP:
                    return told.content
        return self.base_membership

    # --------------------------------------------------------------------------------- jobs

    @precondition(lambda self: self.job is None)
    @rule()
    def take_job(self) -> None:
        self.job = self.log.take_job()
        self.job_covers = self.last_index

    @precondition(lambda self: self.job is not None)
    @rule()
    def finish_job(self) -> None:
        assert self.job is not None
        assert self.log.take_job() is None
        self.job.run()
        self.log.job_done(self.job)
        self.job = None
        if self.is_overtaken:
            self.is_overtaken = False
            assert self.log.synced_index == -1
            return
        self.before_reset = None
        assert self.log.synced_index == self.job_covers
        self.synced = self.job_covers
        self._forget(self.log.first_index)

    @precondition(lambda self: self.job is None)
    @rule()
    def sync(self) -> None:
        self.take_job()
        if self.job is not None:
            self.finish_job()

    @precondition(lambda self: self.job is not None)
    @rule(operations=st.integers(0, 12))
    def power_goes_in_a_job(self, operations: int) -> None:
        assert self.job is not None
        self.disk.cut_power_after = operations
        with contextlib.suppress(PowerCutError):
            self.job.run()
        self.disk.crash()
        self._reopen()

    @precondition(lambda self: self.job is None and self.last_index > self.synced)
    @rule(nth=st.sampled_from([0, 0, 0, 1, 2, 3]))
    def power_goes_before_a_sync(self, nth: int) -> None:
        job = self.log.take_job()
        assert job is not None
        left = iter(range(nth))

        def fault(operation: str, _: str) -> None:
            if operation == "sync" and next(left, None) is None:
                raise PowerCutError

        self.disk.fault = fault
        with contextlib.suppress(PowerCutError):
            job.run()
        self.disk.fault = None
        self.disk.crash()
        self._reopen()

    @precondition(lambda self: self.last_index > self.synced)
    @rule()
    def crash(self) -> None:
        self.disk.crash()
        self._reopen()

    @precondition(lambda self: self.last_index > self.synced)
    @rule(operations=st.integers(0, 25))
    def power_goes_in_recovery(self, operations: int) -> None:
        self.disk.crash()
        self.disk.cut_power_after = operations
        with contextlib.suppress(PowerCutError):
            Log.open(self.disk, PATH, self.settings, 0)
        self.disk.crash()
        self._reopen()

    def _reopen(self) -> None:
        self.job = None
        self.is_overtaken = False
        self.log = Log.open(self.disk, PATH, self.settings, 0)
        assert self.log.corrupt is None
        old, self.before_reset = self.before_reset, None
        if old is not None and self.log.prefix().membership != self.base_membership:
            self.model, self.base, self.base_membership, self.synced, self.start = old
        before = self.model
        if self.log.first_index != self.base[0]:
            # The start moved by a checkpoint, or its move was not on disk yet: either is right.
            assert self.log.start_offset <= self.start
        self._load(before)

    def _forget_membership(self, before: list[Entry], first_index: int) -> None:
        """Of entries that recovery found gone from the front; they were synced, so in `before`."""
        if first_index >= self.base[0]:
            gone = [entry for entry in before if entry.last_index < first_index]
            self.base_membership = self._membership(gone)
        else:
            self.base_membership = self.log.prefix().membership

    def _load(self, before: list[Entry]) -> None:
        found = [(index, bytes(data)) for index, _, data in self.log.walk(self.log.first_index, 99)]
        must = [(e.first_index, e.data) for e in before if e.last_index <= self.synced]
        kept = [(index, data) for index, data in found if index >= self.base[0]]
        assert kept[: len(must)] == must
        assert set(found) <= self.ever
        first = self.log.first_index
        self._forget_membership(before, first)
        self.model = []
        self.base = (first, self.log.high_watermark(first - 1), self.log.term_at(first - 1) or 0)
        for index, data in found:
            self._note(index, data)
        self.start = self.log.start_offset
        self.synced = self.last_index
        assert self.log.synced_index == self.last_index
        extra = self.log.checkpoint_extra
        assert self.log.checkpoint_index <= self.last_index
        if extra:
            assert self.log.checkpoint_index == self.extras[extra]

    @precondition(lambda self: self.job is None)
    @rule()
    def close_and_open(self) -> None:
        self.log.close()
        self.before_reset = None
        self._forget(self.log.first_index)
        size = self.log.size_bytes
        self.log = Log.open(self.disk, PATH, self.settings, 0)
        assert self.log.recovery.copied_bytes == 0
        assert self.log.recovery.torn_bytes == 0
        assert self.log.size_bytes == size
        assert [bytes(d) for _, _, d in self.log.walk(self.log.first_index, 99)] == [
            entry.data for entry in self.model
        ]
        self.synced = self.last_index

    # ------------------------------------------------------------------------------- reading

    @precondition(lambda self: self.model)
    @rule(data=st.data(), max_bytes=st.integers(0, 2_000))
    def slice_is_a_run_of_entries(self, data: st.DataObject, max_bytes: int) -> None:
        number = data.draw(st.integers(0, len(self.model) - 1))
        found = self.log.slice(self.model[number].first_index, max_bytes)
        wanted = self.model[number : number + len(found.batches)]
        assert found.batches
        assert [bytes(part) for part in found.batches] == [entry.data for entry in wanted]
        assert found.last_index == wanted[-1].last_index
        assert len(wanted) == 1 or sum(len(entry.data) for entry in wanted) <= max_bytes

    @rule(data=st.data(), max_bytes=st.integers(0, 2_000))
    def read_skips_internals(self, data: st.DataObject, max_bytes: int) -> None:
        offset = data.draw(st.integers(self.start, self.next_offset))
        end = data.draw(st.integers(offset, self.next_offset + 3))
        found = [bytes(part) for part in self.log.read(offset, max_bytes, end)]
        wanted = [
            entry.data
            for entry in self.model
            if entry.next_offset > max(offset, entry.offset) and entry.next_offset <= end
        ]
        assert found == wanted[: len(found)]
        assert bool(found) == bool(wanted)

    @rule(data=st.data())
    def time_is_found(self, data: st.DataObject) -> None:
        times = [
            (entry.offset + delta, batch.parse_header(entry.data).base_timestamp + delta)
            for entry in self.model
            for delta in range(entry.next_offset - entry.offset)
            if entry.offset + delta >= self.start
        ]
        wanted = data.draw(st.integers(999, 1_110))
        end = data.draw(st.integers(0, self.next_offset))
        below = [(offset, time) for offset, time in times if offset < end]
        first = next(((offset, time) for offset, time in below if time >= wanted), None)
        assert self.log.offset_for_time(wanted, end) == first

    @invariant()
    def shape_agrees(self) -> None:
        if not hasattr(self, "log"):
            return
        log = self.log
        assert (log.last_index, log.next_offset) == (self.last_index, self.next_offset)
        assert log.last_term == self.term
        assert log.membership[1] == self._membership(self.model)
        assert log.synced_index == self.synced
        for entry in self.model:
            assert log.term_at(entry.last_index) == entry.term
            assert log.high_watermark(entry.last_index) == entry.next_offset
            if entry.next_offset > entry.offset:
                assert log.index_of_offset(entry.offset) == entry.first_index
        for term in {entry.term for entry in self.model}:
            ends = [entry.last_index for entry in self.model if entry.term == term]
            assert log.end_of_term(term) == (term, ends[-1])


TestLogAgainstList = LogAgainstList.TestCase
TestLogAgainstList.settings = settings(max_examples=50, stateful_step_count=40)


@pytest.mark.full
def test_many_lives_of_a_log_against_a_list() -> None:
    many = settings(max_examples=3_000, stateful_step_count=60)
    run_state_machine_as_test(LogAgainstList, settings=many)
