"""One node: the real replica, log and journal on a simulated disk, driven as the shell drives them.

A process run has a number; whatever was scheduled for an earlier run no longer happens. A kill
ends the process and leaves the disk's cache, a power cut takes what was not synced with it, and
may come in the middle of a job. The order in which a drain's effects are carried out is that of
`partition.shell`: commits before the loss of leadership.
"""

from __future__ import annotations

import contextlib
import errno
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.jobs import Job
from quorate_broker.log.journal import JournalJob, StateJournal, TermAndVote, Vote
from quorate_broker.log.log import Log, LogSettings
from quorate_broker.partition.replica import Appended, Effects, Replica, Seat
from quorate_broker.raft.core import Role
from quorate_broker.raft.messages import AppendReply, Buffer, HardState, Message, Peer
from quorate_broker.raft.settings import RaftSettings
from quorate_broker.testing.simdisk import PowerCutError, SimDisk
from quorate_broker.testing.simulation.checkers import Checkers, Known, known, must
from quorate_broker.testing.simulation.clock import Event, Scheduler
from quorate_broker.testing.simulation.network import Network
from quorate_broker.testing.simulation.options import Options
from quorate_broker.wire import batch
from quorate_broker.wire.batch import BatchHeader

GROUP = "group"
_LOG_PATH = "/data/groups/topic-0"
_JOURNAL_PATH = "/data/raft/state.log"
_WALK_STEP = 1 << 20

Answer = Callable[[Appended | KafkaError | None], None]
"""Called with what became of a produce; None: it may or may not have been appended."""


@dataclass(frozen=True, slots=True)
class World:
    """What hosts share."""

    scheduler: Scheduler
    dice: random.Random
    options: Options
    network: Network
    checkers: Checkers
    seen: Counter[str]
    peers: tuple[Peer, ...]
    trace: Callable[[str], None]
    hosts: list[Host]


class ObservedLog(Log):
    """The real log; it tells a checker of every entry that is appended."""

    observer: Callable[[int, int, BatchHeader], None]
    seen: Counter[str]

    def _append(self, buf: Buffer, header: BatchHeader) -> None:
        first_index, before = self.last_index + 1, self.last_term
        super()._append(buf, header)
        self.observer(first_index, before, batch.parse_header(buf))

    def truncate_after(self, index: int) -> None:
        self.seen["truncation"] += index < self.last_index
        super().truncate_after(index)


class Host:
    """One node, up or down."""

    def __init__(self, world: World, peer: Peer) -> None:
        self.peer = peer
        self.node = peer.node_id
        self.disk = SimDisk(world.dice)
        self.replica: Replica | None = None
        self.log: ObservedLog | None = None
        """Of the last run, also while the node is down: what its disk had synced."""
        self.paused_until_us = 0
        self.has_faults = True
        self.is_rotten = False
        """A byte that was on disk for good has changed: it must not vote, acknowledge or serve."""
        self._world = world
        self._run = 0
        self._journal: StateJournal | None = None
        self._journal_job: JournalJob | None = None
        self._job: Job | None = None
        self._waiters: list[tuple[int, Appended, Answer]] = []
        self._wake_us = -1
        self._commit_index = -1
        self._term = 0
        self._durable_term = 0
        self._ended: tuple[int, int] = (-1, 0)
        self._is_closing = False
        self._doom: Event | None = None

    @property
    def is_up(self) -> bool:
        return self.replica is not None

    # ------------------------------------------------------------------------- starting, stopping

    def start(self) -> None:
        """Recover from the disk and take part. The power may fail meanwhile: then it is down."""
        world, options, disk = self._world, self._world.options, self.disk
        assert not self.is_up
        disk.fault = None
        if self.has_faults and world.dice.random() < 0.05:
            disk.cut_power_after = world.dice.randint(0, 12)
        sizes = LogSettings(options.segment_bytes, 256, 4_096, options.cache_bytes)
        try:
            self._journal = StateJournal.open(disk, _JOURNAL_PATH)
            disk.mkdirs(_LOG_PATH)
            log = ObservedLog.open(disk, _LOG_PATH, sizes, 0)
        except PowerCutError:
            world.seen["power cut during recovery"] += 1
            disk.crash()
            return
        disk.cut_power_after = None
        assert isinstance(log, ObservedLog)
        log.observer = self._appended
        log.seen = world.seen
        self.log = log
        self._begin(log)

    def _begin(self, log: ObservedLog) -> None:
        world, options = self._world, self._world.options
        assert self._journal is not None
        hard_state = _hard_state(self._journal)
        if self.is_rotten:
            self._must_find_rot(log)
        else:
            must(
                log.corrupt is None, f"H: node {self.node} takes sound bytes for rot: {log.corrupt}"
            )
            world.checkers.recovered(self.node, _entries(log, 0), self._ended, hard_state)
        world.seen["torn tail cut"] += log.recovery.torn_bytes > 0
        settings = RaftSettings(
            append_bytes=options.append_bytes,
            inflight_messages=options.inflight,
            checkpoint_ms=options.checkpoint_ms,
            eager_commit=options.eager_commit,
        )
        seat = Seat(GROUP, self.peer, frozenset(world.peers))
        self.replica = Replica(seat, log, hard_state, settings, world.dice)
        must(hard_state.term >= self._durable_term, f"E: node {self.node} forgot its term")
        self._term = hard_state.term
        self._commit_index = self.replica.commit_index
        self.disk.fault = self._fault
        self._drive()

    def _must_find_rot(self, log: Log) -> None:
        if log.corrupt is None:
            with contextlib.suppress(CorruptLogError):
                for _ in log.walk(0, _WALK_STEP):
                    pass
        must(log.corrupt is not None, f"H: node {self.node} does not see its rot")
        self._world.seen["rot found"] += 1

    def rot(self) -> bool:
        """Change a byte of a full segment, so one that was synced; False if there is none."""
        assert not self.is_up
        if not self.disk.exists(_LOG_PATH):
            return False
        segments = [name for name in self.disk.listdir(_LOG_PATH) if name.endswith(".log")]
        if len(segments) < 2:
            return False
        path = f"{_LOG_PATH}/{self._world.dice.choice(segments[:-1])}"
        at = self._world.dice.randrange(len(self.disk.content(path)))
        self.disk.flip(path, at)
        self.is_rotten = True
        return True

    def power_cut(self) -> None:
        """Everything that was not synced may be gone; a job may be cut in two."""
        dice = self._world.dice
        for job in (self._journal_job, self._job):
            if job is None or job.error is not None or dice.random() < 0.3:
                continue
            self.disk.fault = None
            self.disk.cut_power_after = dice.choice((0, 1, 1, 1, 2, 2, 2, 3, 4, 6, 9))
            try:
                job.run()
                self._world.seen["power cut behind a job"] += 1
            except PowerCutError:
                self._world.seen["power cut within a job"] += 1
                break
        self._end()
        self.disk.crash()

    def doom(self, end: Event) -> None:
        """Let `end` happen when the next disk job is under way."""
        if self.is_up:
            self._doom = end

    def kill(self) -> None:
        """The process is gone, its writes are in the machine's cache."""
        self.disk.fault = None
        for job in (self._journal_job, self._job):
            if job is not None and job.error is None and self._world.dice.random() < 0.5:
                job.run()
        self._end()

    def stop(self) -> None:
        """A clean stop, once no job is under way."""
        if self.replica is None or not self.has_faults:
            return
        self._is_closing = True
        if self.replica.error is None and self._job is None and self._journal_job is None:
            assert self.log is not None
            assert self._journal is not None
            self.disk.fault = None
            self.log.close()
            self._journal.close()
            self._world.seen["clean stop"] += 1
            self._end()

    def heal(self) -> None:
        """No more faults, and no stop that was asked for and not done."""
        self.has_faults = False
        self._is_closing = False
        self._doom = None

    def _end(self) -> None:
        log = self.log
        if log is not None and not self.is_rotten:
            index = log.synced_index
            self._ended = (index, log.term_at(index) or 0)
        self._run += 1
        self.replica = None
        self._job = self._journal_job = self._journal = None
        self._wake_us = -1
        self._is_closing = False
        self._doom = None
        self.paused_until_us = 0
        self._fail_waiters()

    @property
    def run(self) -> int:
        """Number of the process run."""
        return self._run

    def unpaused(self, event: Event) -> None:
        """Let something happen now, or when the node wakes."""
        if self._world.scheduler.now_us < self.paused_until_us:
            self.later(0, event)
        else:
            event()

    def later(self, delay_us: int, event: Event) -> None:
        """Schedule something of this run; a paused node gets to it when it wakes."""
        run = self._run
        scheduler = self._world.scheduler

        def happen() -> None:
            if run != self._run:
                return
            if scheduler.now_us < self.paused_until_us:
                scheduler.at(self.paused_until_us, happen)
                return
            event()

        scheduler.after(delay_us, happen)

    # -------------------------------------------------------------------------------------- inputs

    def receive(self, sender: Peer, message: Message) -> None:
        if self.replica is not None:
            self.replica.receive(sender, message, self._world.scheduler.now_ms)
            self._drive()

    def peer_lost(self, node: int) -> None:
        if self.replica is not None:
            self.replica.peer_lost(node, self._world.scheduler.now_ms)
            self._drive()

    def transfer(self) -> None:
        if self.replica is not None and self.replica.role is Role.LEADER:
            try:
                self.replica.transfer_leadership(None, self._world.scheduler.now_ms)
                self._world.seen["transfer"] += 1
            except KafkaError:
                self._world.seen["transfer refused"] += 1
            self._drive()

    def produce(self, content: bytes, answer: Answer) -> None:
        """A client's batch; acks=all."""
        if self.replica is None:
            answer(KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, "nobody listens"))
            return
        buf = bytearray(content)
        try:
            appended = self.replica.propose(buf, batch.parse_header(buf))
        except KafkaError as error:
            answer(error)
            return
        self._world.seen["duplicate batch"] += appended.duplicate
        if appended.last_index <= self.replica.commit_index:
            answer(appended)  # a duplicate of what is committed already: nothing will come to wake
            return
        self._waiters.append((appended.last_index, appended, answer))
        self._drive()

    def read(self, dice: random.Random) -> None:
        """A reader's fetch; a leader that serves shows only what is committed."""
        replica, log = self.replica, self.log
        if replica is None or log is None or not replica.serving:
            return
        end = replica.high_watermark
        offset = dice.randint(0, end)
        data = log.read(offset, dice.choice((1, 1_000, 1 << 20)), end)
        self._world.checkers.was_read(self.node, offset, end, data)
        self._world.seen["read"] += 1

    # ------------------------------------------------------------------------------------- driving

    def _drive(self) -> None:
        replica = self.replica
        assert replica is not None
        effects = replica.drain(self._world.scheduler.now_ms)
        self._check(replica)
        for to, message in effects.messages:
            self._world.checkers.said(self.node, to.node_id, message)
            self._world.seen[type(message).__name__] += 1
            if isinstance(message, AppendReply) and message.rejected >= 0:
                self._world.seen["append refused"] += 1
            self._world.network.send(self.node, to.node_id, message)
        if effects.hard_state is not None:
            self._put(effects.hard_state)
        if effects.job is not None:
            assert isinstance(effects.job, Job)
            self._job = effects.job
            self.later(self._sync_us(), self._run_job)
        self._tell(effects)
        self._schedule_wake(replica)

    def _tell(self, effects: Effects) -> None:
        if effects.committed is not None:
            reached, self._waiters = _split(self._waiters, effects.committed)
            for _, appended, answer in reached:
                answer(appended)
        if effects.leader is not None:
            change = effects.leader
            leader = 0 if change.leader is None else change.leader.node_id
            self._world.trace(f"{self.node}:{change.term}:{leader}:{change.serving}")
            if not change.serving:
                self._fail_waiters()

    def _fail_waiters(self) -> None:
        waiters, self._waiters = self._waiters, []
        for _, _, answer in waiters:
            answer(None)

    def _schedule_wake(self, replica: Replica) -> None:
        scheduler = self._world.scheduler
        wake_us = max(replica.deadline_ms * 1_000, scheduler.now_us)
        if self._wake_us < 0 or wake_us < self._wake_us:
            self._wake_us = wake_us
            self.later(wake_us - scheduler.now_us, lambda: self._wake(wake_us))

    def _wake(self, wake_us: int) -> None:
        if wake_us != self._wake_us or self.replica is None:
            return
        self._wake_us = -1
        self.replica.tick(self._world.scheduler.now_ms)
        self._drive()

    # ---------------------------------------------------------------------------------------- disk

    def _put(self, hard_state: HardState) -> None:
        assert self._journal is not None
        vote = hard_state.vote
        self._journal.put(
            GROUP, hard_state.term, None if vote is None else Vote(vote.node_id, vote.incarnation)
        )
        self._take_journal_job()

    def _take_journal_job(self) -> None:
        assert self._journal is not None
        job = self._journal.take_job()
        if job is not None:
            state = self._journal.states[GROUP]
            self._journal_job = job
            self.later(self._sync_us(), lambda: self._run_journal(job, _to_hard_state(state)))

    def _run_journal(self, job: JournalJob, hard_state: HardState) -> None:
        replica, journal = self.replica, self._journal
        assert replica is not None
        assert journal is not None
        if self._doom is not None:
            self._doom()
            return
        try:
            job.run()
        except OSError as error:
            self._failed(replica, error)
            return
        self._journal_job = None
        journal.job_done(job)
        self._durable_term = hard_state.term
        replica.hard_state_synced(hard_state)
        self._take_journal_job()
        self._drive()
        self._close_if_asked()

    def _run_job(self) -> None:
        replica, job = self.replica, self._job
        assert replica is not None
        assert job is not None
        if self._doom is not None:
            self._doom()
            return
        try:
            job.run()
        except OSError as error:
            self._failed(replica, error)
            return
        self._job = None
        replica.job_done(job)
        self._drive()
        self._close_if_asked()

    def _close_if_asked(self) -> None:
        if self._is_closing:
            self.stop()

    def _failed(self, replica: Replica, error: OSError) -> None:
        self._world.seen["disk failed"] += 1
        replica.failed(error)
        self._fail_waiters()
        self._drive()

    def _sync_us(self) -> int:
        options, dice = self._world.options, self._world.dice
        if self.has_faults and dice.random() < options.slow_sync:
            self._world.seen["slow sync"] += 1
            return 1_000_000
        return dice.randint(options.sync_low_us, options.sync_high_us)

    def _fault(self, operation: str, path: str) -> int | None:
        rate = self._world.options.sync_error if self.has_faults else 0.0
        if rate and operation in ("sync", "pwrite") and self._world.dice.random() < rate:
            return errno.EIO
        return None

    # -------------------------------------------------------------------------------------- checks

    def _appended(self, first_index: int, before_term: int, header: BatchHeader) -> None:
        self._world.checkers.appended(self.node, known(first_index, before_term, header))

    def _check(self, replica: Replica) -> None:
        checkers, log = self._world.checkers, self.log
        assert log is not None
        must(replica.term >= self._term, f"E: node {self.node} went back in terms")
        self._term = replica.term
        if replica.role is Role.LEADER and checkers.leads(self.node, replica.term):
            self._world.seen["election"] += 1
            checkers.leads_with(self.node, replica.term, log.term_at)
        if replica.commit_index != self._commit_index:
            must(replica.commit_index > self._commit_index, "E: a commit index went back")
            entries = list(self._commits(replica, log))
            if replica.role is Role.LEADER:
                checkers.leader_committed(self.node, replica.term, entries[-1])
            checkers.committed(self.node, replica.term, entries, self._disks_with)
            self._commit_index = replica.commit_index

    def _commits(self, replica: Replica, log: Log) -> Iterator[Known]:
        for entry in _entries(log, self._commit_index + 1):
            if entry.last_index > replica.commit_index:
                return
            yield entry

    def _disks_with(self, entry: Known) -> int:
        return sum(1 for host in self._world.hosts if host.holds(entry))

    def holds(self, entry: Known) -> bool:
        """Whether its disk has the entry for good."""
        log = self.log
        if self.is_rotten:  # what it acknowledged while it was sound counted rightly
            return entry.last_index <= self._ended[0]
        if log is None or log.synced_index < entry.last_index:
            return False
        return log.term_at(entry.last_index) == entry.term

    def must_agree(self) -> None:
        """At the end: the whole log, read back, is the one history."""
        log, canon = self.log, self._world.checkers.canon
        assert log is not None
        must(list(_entries(log, 0)) == canon, f"B: node {self.node} has another history")


def _split(
    waiters: list[tuple[int, Appended, Answer]], index: int
) -> tuple[list[tuple[int, Appended, Answer]], list[tuple[int, Appended, Answer]]]:
    return [w for w in waiters if w[0] <= index], [w for w in waiters if w[0] > index]


def _entries(log: Log, first_index: int) -> Iterator[Known]:
    for index, header, _ in log.walk(first_index, _WALK_STEP):
        before = log.term_at(index - 1)
        assert before is not None
        yield known(index, before, header)


def _to_hard_state(state: TermAndVote) -> HardState:
    return HardState(state.term, None if state.vote is None else Peer(*state.vote))


def _hard_state(journal: StateJournal) -> HardState:
    state = journal.states.get(GROUP)
    return HardState() if state is None else _to_hard_state(state)
