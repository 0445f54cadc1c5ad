"""Compaction of two replicas against a plain list, by Hypothesis.

One replica leads and is appended to, the other is fed whatever stands in the leader's log; each
cleans when it likes, the power goes at any operation, and they change roles when they are level.
Whatever happens: nothing is made up (each record that is read is the one that was written at that
offset), nothing moves (offsets, indexes, terms, internal entries), each producer's last numbers are
there, and whoever holds all of the log finds the same newest value for every key as if nothing had
been cleaned.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from quorate_broker.log import cleaner
from quorate_broker.log.cleaner import CleanerPolicy
from quorate_broker.log.log import Log, LogSettings
from quorate_broker.testing.simdisk import PowerCutError, SimDisk
from quorate_broker.wire import batch, compacted, compression
from quorate_broker.wire.batch import Record

PATH = "/data/g"
KEYS = (*(b"k%d" % n for n in range(10)), b"a key of more than sixteen bytes")
PRODUCERS = (3, 4)
EVENTS = (
    "cleaned",
    "records removed",
    "tombstones removed",
    "ended early",
    "cut a gap",
    "failed",
    "lost power in the run",
    "lost power in the swap",
)


@dataclass
class Model:
    """What was ever written, in order."""

    records: dict[int, Record] = field(default_factory=dict)  # by offset
    owners: dict[int, int | None] = field(default_factory=dict)  # offset -> transaction, or None
    internals: dict[int, bytes] = field(default_factory=dict)  # by index
    terms: list[int] = field(default_factory=list)  # by index
    numbers: dict[int, int] = field(default_factory=dict)  # producer -> last sequence
    open: dict[int, int] = field(default_factory=dict)  # producer -> its transaction: first offset
    aborted: set[int] = field(default_factory=set)

    def newest(self) -> dict[bytes, bytes]:
        """Of decided records."""
        values: dict[bytes, bytes | None] = {}
        for offset, record in self.records.items():
            owner = self.owners[offset]
            if owner is not None and (owner in self.aborted or owner in self.open.values()):
                continue
            assert record.key is not None
            values[record.key] = record.value
        return {key: value for key, value in values.items() if value is not None}


class Replica:
    def __init__(self, seed: int, log_settings: LogSettings) -> None:
        self.disk = SimDisk(random.Random(seed))
        self.settings = log_settings
        self.open()

    def open(self) -> None:
        self.log = Log.open(self.disk, PATH, self.settings, 0, founding=b"")
        assert self.log.corrupt is None, self.log.corrupt

    def sync(self) -> None:
        while (job := self.log.take_job()) is not None:
            job.run()
            self.log.job_done(job)

    def crash(self) -> None:
        self.disk.crash()
        self.open()


class TwoReplicas:
    """Everything is drawn from `source`, so that a seed replays it."""

    def __init__(self, source: random.Random) -> None:
        self.source = source
        segment, interval = source.choice([150, 300, 700]), source.choice([1, 300])
        log_settings = LogSettings(segment, interval, 500, 0)
        self.leader = Replica(source.getrandbits(30), log_settings)
        self.follower = Replica(source.getrandbits(30), log_settings)
        self.keys = source.sample(KEYS, source.choice([2, len(KEYS)]))
        self.model = Model()
        self.term = 1
        self.wall_ms = 1_000_000
        self.seen: Counter[str] = Counter()

    def step(self) -> None:
        """One thing happens."""
        self.wall_ms += 300
        ways = {
            self.write: 6,
            self.end_transactions: 2,
            self.feed: 4,
            self.feed_all: 2,
            self.change_roles: 2,
            self.crash: 1,
            self.clean: 8,
            self.clean_on_a_bad_disk: 1,
        }
        (way,) = self.source.choices(list(ways), list(ways.values()))
        way()

    # ------------------------------------------------------------------------------- writing

    def write(self) -> None:
        for _ in range(self.source.randint(1, 12)):
            match self.source.randint(0, 9):
                case 0:
                    self.begin_term()
                case 1 | 2 | 3 if self.model.open:
                    self._end_transaction(self.source.choice([*self.model.open]))
                case _:
                    self._put(self.source)
        if self.source.random() < 0.7:
            self.end_transactions()

    def _record(self) -> Record:
        source = self.source
        value = None if source.random() < 0.3 else source.randbytes(source.randint(0, 30))
        return Record(source.choice(self.keys), value, timestamp_delta=source.randint(-5, 5))

    def _put(self, source: random.Random) -> None:
        base = self.leader.log.next_offset
        made = [self._record() for _ in range(source.randint(1, 3))]
        attributes = int(source.choice(list(compression.Codec)))
        producer = source.choice((None, None, *PRODUCERS))
        owner, fields = None, {}
        if producer is not None:
            if producer in self.model.open or source.random() < 0.3:
                attributes |= batch.TRANSACTIONAL
                owner = self.model.open.setdefault(producer, base)
            sequence = self.model.numbers.get(producer, -1) + 1
            fields = {"producer_id": producer, "producer_epoch": 0, "base_sequence": sequence}
            self.model.numbers[producer] = sequence + len(made) - 1
        data = batch.build(made, timestamp_ms=self.wall_ms, attributes=attributes, **fields)
        for delta, record in enumerate(made):
            self.model.records[base + delta] = record
            self.model.owners[base + delta] = owner
        self._append(data, len(made))

    def end_transactions(self) -> None:
        for producer in [*self.model.open]:
            self._end_transaction(producer)

    def _end_transaction(self, producer: int) -> None:
        abort = self.source.random() < 0.5
        transaction = self.model.open.pop(producer)
        if abort:
            self.model.aborted.add(transaction)
        marker = batch.build(
            [Record(b"\0\0\0\0" if abort else b"\0\0\0\1", b"\0\0\0\0\0\0")],
            timestamp_ms=self.wall_ms,
            producer_id=producer,
            producer_epoch=0,
            attributes=batch.CONTROL | batch.TRANSACTIONAL,
        )
        self._append(marker, 1)

    def _append(self, data: bytearray, count: int) -> None:
        batch.stamp(data, self.leader.log.next_offset, self.term)
        self.leader.log.append(data)
        self.leader.sync()
        self.model.terms += [self.term] * count

    def begin_term(self) -> None:
        self.term += 1
        log = self.leader.log
        index = log.append_internal(batch.InternalKind.TERM_START, self.term, b"x", self.wall_ms)
        self.leader.sync()
        self.model.internals[index] = bytes(next(log.walk(index, 1))[2])
        self.model.terms.append(self.term)

    # ------------------------------------------------------------------------------- replicas

    def feed(self) -> None:
        """One message from the leader; the follower cuts the front off a gap it has half of."""
        size = self.source.choice([1, 200, 5_000])
        mine, theirs = self.follower.log, self.leader.log
        if mine.last_index == theirs.last_index:
            return
        for data in theirs.slice(mine.last_index + 1, size).batches:
            header = batch.parse_header(data)
            if header.base_offset < mine.next_offset:
                assert header.count == 0, "only gaps grow together"
                self.seen["cut a gap"] += 1
                cut = compacted.gap(mine.next_offset, header.last_offset, header.leader_epoch)
                mine.append(cut)
            else:
                mine.append(bytes(data))
        self.follower.sync()

    def feed_all(self) -> None:
        while self.follower.log.last_index < self.leader.log.last_index:
            self.feed()

    def change_roles(self) -> None:
        if self.follower.log.last_index == self.leader.log.last_index:
            self.leader, self.follower = self.follower, self.leader

    def crash(self) -> None:
        self.source.choice((self.leader, self.follower)).crash()

    # ------------------------------------------------------------------------------- cleaning

    def clean(self) -> None:
        source = self.source
        leads = source.random() < 0.6
        replica = self.leader if leads else self.follower
        log = replica.log
        log.checkpoint(log.last_index, b"")
        replica.sync()
        held = self.follower.log.next_offset if leads else 0
        keys, max_bytes = source.choice([1_000, 1_000, 4]), source.choice([1 << 30, 1 << 30, 500])
        policy = CleanerPolicy(0.0, 1_000, map_keys=keys, max_bytes=max_bytes)
        below = min(self.model.open.values(), default=log.next_offset)
        cleaning = cleaner.plan(log, policy, self.wall_ms, below, held)
        if cleaning is None:
            return
        cut_in_run = source.choice([None, None, None, source.randint(0, 30)])
        cut_in_swap = source.choice([None, None, source.randint(0, 30)])
        cleaned = None
        try:
            replica.disk.cut_power_after = cut_in_run
            cleaned = cleaning.run()
            replica.disk.cut_power_after = cut_in_swap
            if cleaned is None:  # nothing that it could do
                replica.disk.cut_power_after = None
                return
            log.swap(cleaned)
            replica.sync()
            replica.disk.cut_power_after = None
            self.seen["cleaned"] += 1
            self.seen["records removed"] += cleaned.records_removed
            self.seen["tombstones removed"] += cleaned.tombstones_removed
            self.seen["ended early"] += cleaned.clean_to < min(below, log.segments[-1].base_offset)
        except PowerCutError:
            self.seen["lost power in the swap" if cleaned else "lost power in the run"] += 1
            replica.crash()

    def clean_on_a_bad_disk(self) -> None:
        operation = self.source.choice(["open", "pwrite", "sync", "truncate"])
        log = self.leader.log
        log.checkpoint(log.last_index, b"")
        self.leader.sync()
        cleaning = cleaner.plan(log, CleanerPolicy(0.0), self.wall_ms, log.next_offset, 0)
        if cleaning is None:
            return
        disk = self.leader.disk
        disk.fault = lambda seen, path: 5 if seen == operation and "cleaned" in path else None
        try:
            cleaned = cleaning.run()
        except OSError:
            self.seen["failed"] += 1
            cleaned = None
        finally:
            disk.fault = None
        if cleaned is None:
            left = [name for name in disk.listdir(PATH) if name.endswith(".cleaned")]
            assert left == []
        else:
            log.swap(cleaned)
            self.leader.sync()

    # ------------------------------------------------------------------------------- what holds

    def check(self) -> None:
        """What holds at any time."""
        assert self.leader.log.last_index + 1 == len(self.model.terms)
        for replica in (self.leader, self.follower):
            self._nothing_moved_or_was_made_up(replica.log)
            if replica.log.last_index == len(self.model.terms) - 1:
                assert self._newest(replica.log) == self.model.newest()
                assert self._numbers(replica.log) == self.model.numbers

    def _nothing_moved_or_was_made_up(self, log: Log) -> None:
        model = self.model
        index = offset = 0
        for first, header, data in log.walk(0, 400):
            assert (first, header.base_offset) == (index, offset)
            assert batch.verify_crc(data, header)
            span = max(1, header.last_offset_delta + 1)
            assert model.terms[index : index + span] == [header.leader_epoch] * span
            if header.is_internal:
                assert bytes(data) == model.internals[index]
            else:
                offset += span
            if not header.is_control:
                for record in batch.records(data):
                    written = model.records[header.base_offset + record.offset_delta]
                    assert (record.key, record.value) == (written.key, written.value)
            index += span
        assert (index, offset) == (log.last_index + 1, log.next_offset)

    def _newest(self, log: Log) -> dict[bytes, bytes]:
        """As a consumer that reads committed records finds it, by the markers in the log alone."""
        pending: dict[int, list[tuple[int, Record]]] = {}
        seen: list[tuple[int, Record]] = []
        for _, header, data in log.walk(0, 400):
            if header.is_internal:
                continue
            found = [(header.base_offset + r.offset_delta, r) for r in batch.records(data)]
            if header.is_control:
                if found[0][1].key == b"\0\0\0\1":
                    seen += pending.get(header.producer_id, [])
                pending.pop(header.producer_id, None)
            elif header.is_transactional:
                pending.setdefault(header.producer_id, []).extend(found)
            else:
                seen += found
        values: dict[bytes, bytes | None] = {}
        for _, record in sorted(seen, key=lambda pair: pair[0]):
            assert record.key is not None
            values[record.key] = record.value
        return {key: value for key, value in values.items() if value is not None}

    def _numbers(self, log: Log) -> dict[int, int]:
        return {
            header.producer_id: header.last_sequence
            for _, header in log.replay_headers(0)
            if header.producer_id >= 0 and not header.is_control
        }

    def close(self) -> None:
        for replica in (self.leader, self.follower):
            replica.log.close()


def test_cleaning_takes_nothing_that_counts_and_moves_nothing() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=30, derandomize=True)
    @given(seed=st.integers(0, 1 << 32))
    def run(seed: int) -> None:
        replicas = TwoReplicas(random.Random(seed))
        for _ in range(20):
            for _ in range(3):
                replicas.step()
            replicas.check()
        replicas.close()
        seen.update(replicas.seen)

    run()
    assert not [what for what in EVENTS if not seen[what]], seen
