"""One run of one node's process: the real replica, log and journal, driven as the shell does it.

Nothing that was scheduled for a process happens once it is over; a paused one gets to it when it
wakes. The order in which a drain's effects are carried out is that of `partition.shell`: commits
before the loss of leadership. Every effect is looked at by the checkers first. Next: `host`, the
machine that outlives its processes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.jobs import Job
from quorate_broker.log.journal import JournalJob, StateJournal, Vote
from quorate_broker.log.log import Log
from quorate_broker.log.scrub import Scrub
from quorate_broker.partition.replica import Appended, CorruptReplica, Effects, Replica, Seat
from quorate_broker.raft import quorum
from quorate_broker.raft.core import Role
from quorate_broker.raft.membership import Membership
from quorate_broker.raft.messages import AppendReply, HardState, Message, Peer
from quorate_broker.raft.settings import RaftSettings
from quorate_broker.testing.simulation.checkers import Known, known, must
from quorate_broker.testing.simulation.clock import Event
from quorate_broker.testing.simulation.observed import (
    GROUP,
    ObservedLog,
    hard_state,
    to_hard_state,
)
from quorate_broker.testing.simulation.world import Answer, World
from quorate_broker.wire import batch
from quorate_broker.wire.batch import BatchHeader

if TYPE_CHECKING:
    from quorate_broker.testing.simulation.host import Host

_SCRUB_BYTES = 1 << 20


class Process:
    """From `begin` to the host's `end`. Its disk's faults are the host's."""

    def __init__(self, world: World, host: Host, journal: StateJournal, log: ObservedLog) -> None:
        self.is_over = False
        self.is_closing = False
        self.doom: Event | None = None
        """To happen when the next disk job is under way."""
        self.log = log
        self.journal = journal
        self.jobs: list[Job | JournalJob] = []
        """Under way, the journal's first."""
        self._world = world
        self._host = host
        self._node = host.node
        self._waiters: list[tuple[int, Appended, Answer]] = []
        self._wake_us = -1
        log.observer, log.appended = self._appended, {}
        log.seen = world.seen
        hard = hard_state(journal)
        options = world.options
        settings = RaftSettings(
            append_bytes=options.append_bytes,
            inflight_messages=options.inflight,
            checkpoint_ms=options.checkpoint_ms,
            eager_commit=options.eager_commit,
        )
        seat = Seat(GROUP, host.peer)
        self.replica = Replica(seat, log, hard, settings, world.dice)
        self._term = hard.term
        self._served_term = -1
        self._is_resting = False
        self._members = self.replica.members
        self._commit_index = self.replica.commit_index

    @property
    def is_failed(self) -> bool:
        """Fenced: its disk failed or lied."""
        return self.replica.error is not None

    @property
    def is_corrupt(self) -> bool:
        """Its bytes are not what they were: it is to be filled anew."""
        return isinstance(self.replica.error, CorruptReplica | CorruptLogError)

    @property
    def is_filled(self) -> bool:
        """What it lost is on its disk again, for good."""
        return not self.log.hollow

    @property
    def is_busy(self) -> bool:
        return bool(self.jobs)

    def later(self, delay_us: int, event: Event) -> None:
        """Schedule something of this process; a paused one gets to it when it wakes."""
        scheduler = self._world.scheduler

        def happen() -> None:
            if self.is_over:
                return
            if scheduler.now_us < self._host.paused_until_us:
                scheduler.at(self._host.paused_until_us, happen)
                return
            event()

        scheduler.after(delay_us, happen)

    def end(self) -> None:
        self.is_over = True
        self._fail_waiters()

    # -------------------------------------------------------------------------------------- inputs

    def receive(self, sender: Peer, message: Message) -> None:
        try:
            self.replica.receive(sender, message, self._host.clock.monotonic_ms())
        except (OSError, CorruptLogError) as error:
            self.failed(error)
        self.drive()

    def peer_lost(self, node: int) -> None:
        self.replica.peer_lost(node, self._host.clock.monotonic_ms())
        self.drive()

    def want(self, target: frozenset[Peer]) -> bool:
        """What the controller says to a leader; whether it is so."""
        replica = self.replica
        if replica.role is not Role.LEADER:
            return False
        replica.want_members(target, self._host.clock.monotonic_ms())
        self.drive()
        return replica.membership_settled and replica.serving

    def trim(self, dice: random.Random) -> None:
        """Retention, or DeleteRecords: the log begins later from now on."""
        replica = self.replica
        if replica.serving:
            offset = dice.randint(0, replica.high_watermark)
            replica.move_start(offset, self._host.clock.monotonic_ms())
            self._world.seen["log start moved"] += 1
            self._world.trace(f"{self._node} lets the log begin at {offset}")
            self.drive()

    def pause_writes(self, is_paused: bool) -> None:
        """There is little room on the disk: internal entries only."""
        self.replica.paused = is_paused
        self.drive()

    def wake(self) -> None:
        if self.replica.resting:
            self._world.seen["woken by gossip"] += 1
            self.replica.wake(self._host.clock.monotonic_ms())
            self.drive()

    def transfer(self) -> None:
        if self.replica.role is not Role.LEADER:
            return
        try:
            self.replica.transfer_leadership(None, self._host.clock.monotonic_ms())
            self._world.seen["transfer begun"] += 1
        except KafkaError:
            self._world.seen["transfer refused"] += 1
        self.drive()

    def produce(self, content: bytes, answer: Answer) -> None:
        """A client's batch; acks=all."""
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
        self.drive()

    def read(self, dice: random.Random) -> None:
        """A reader's fetch; a leader that serves shows only what is committed."""
        replica, log = self.replica, self.log
        if not replica.serving:
            return
        end = replica.high_watermark
        offset = dice.randint(min(log.start_offset, end), end)
        try:
            data = log.read(offset, dice.choice((1, 1_000, 1 << 20)), end)
        except (OSError, CorruptLogError) as error:
            self.failed(error)
            self.drive()
            return
        self._world.checkers.was_read(self._node, offset, end, data)
        self._world.seen["read"] += 1

    def scrub(self) -> None:
        """As `node.housekeeping` does: all that was sealed is read, and not believed."""
        if self.is_failed:
            return
        self._world.seen["scrubbed"] += 1
        round_ = Scrub(self.log)
        try:
            while not self.is_failed and (damage := round_.step(_SCRUB_BYTES)) is not None:
                for one in damage:
                    if not one.harmless and round_.is_current(one):
                        self._world.seen["rot found by scrubbing"] += self._host.is_rotten
                        self._host.doubt(one.what)
                        self.failed(CorruptLogError(one.what))
                        break
        except OSError as error:
            self.failed(error)
        self.drive()

    # ------------------------------------------------------------------------------------- driving

    def drive(self) -> None:
        effects = self.replica.drain(self._host.clock.monotonic_ms())
        self._check()
        for to, message in effects.messages:
            self._world.checkers.said(self._host.peer, to, message, self.log.hollow)
            self._world.seen[type(message).__name__] += 1
            if isinstance(message, AppendReply) and message.rejected >= 0:
                self._world.seen["append refused"] += 1
            self._world.network.send(self._host.peer, to, message)
        if effects.hard_state is not None:
            self._put(effects.hard_state)
        if effects.job is not None:
            job = effects.job
            assert isinstance(job, Job)
            self.jobs.append(job)
            self.later(self._host.sync_us(), lambda: self._run_job(job))
        self._tell(effects)
        self._schedule_wake()

    def _tell(self, effects: Effects) -> None:
        if effects.committed is not None:
            reached, self._waiters = _split(self._waiters, effects.committed)
            for _, appended, answer in reached:
                answer(appended)
        if effects.leader is not None:
            change = effects.leader
            leader = 0 if change.leader is None else change.leader.node_id
            self._world.trace(
                f"{self._node} in term {change.term} follows {leader}"
                if leader != self._node
                else f"{self._node} leads term {change.term}{' and serves' * change.serving}"
            )
            if not change.serving:
                self._fail_waiters()

    def _fail_waiters(self) -> None:
        waiters, self._waiters = self._waiters, []
        for _, _, answer in waiters:
            answer(None)

    def _schedule_wake(self) -> None:
        wake_us = self._host.clock.due_us(self.replica.deadline_ms)
        if wake_us is not None and (self._wake_us < 0 or wake_us < self._wake_us):
            self._wake_us = wake_us
            self.later(wake_us - self._world.scheduler.now_us, lambda: self._wake(wake_us))

    def _wake(self, wake_us: int) -> None:
        if wake_us == self._wake_us:
            self._wake_us = -1
            self.replica.tick(self._host.clock.monotonic_ms())
            self.drive()

    # ---------------------------------------------------------------------------------------- disk

    def _put(self, hard: HardState) -> None:
        vote = hard.vote
        self.journal.put(
            GROUP, hard.term, None if vote is None else Vote(vote.node_id, vote.incarnation)
        )
        self._take_journal_job()

    def _take_journal_job(self) -> None:
        job = self.journal.take_job()
        if job is not None:
            hard = to_hard_state(self.journal.states[GROUP])
            self.jobs.insert(0, job)
            self.later(self._host.sync_us(), lambda: self._run_journal(job, hard))

    def _run_journal(self, job: JournalJob, hard: HardState) -> None:
        if self._runs(job):
            self.journal.job_done(job)
            self._host.durable_term = hard.term
            self.replica.hard_state_synced(hard)
            self._take_journal_job()
            self.drive()
            self._host.close_if_asked()

    def _run_job(self, job: Job) -> None:
        if self._runs(job):
            self.replica.job_done(job)
            self.drive()
            self._host.close_if_asked()

    def _runs(self, job: Job | JournalJob) -> bool:
        """Whether the job was done and the process lives."""
        if self.doom is not None:
            self.doom()
            return False
        try:
            job.run()
        except OSError as error:
            self.failed(error)
            self.drive()
            return False
        self.jobs.remove(job)
        return True

    def failed(self, error: OSError | CorruptLogError) -> None:
        """As `partition.shell` does: fenced, and whoever waits is told."""
        self._world.seen["disk failed"] += 1
        self._world.trace(f"{self._node} is fenced: {error}")
        self.replica.failed(error)
        self._fail_waiters()

    # -------------------------------------------------------------------------------------- checks

    def _appended(self, first_index: int, before_term: int, header: BatchHeader) -> None:
        self._world.checkers.appended(self._node, known(first_index, before_term, header))

    def _check(self) -> None:
        checkers, replica, log = self._world.checkers, self.replica, self.log
        must(replica.term >= self._term, f"E: node {self._node} went back in terms")
        self._term = replica.term
        if replica.role is Role.LEADER and checkers.leads(self._node, replica.term):
            self._world.seen["election"] += 1
            checkers.leads_with(self._node, replica.term, log.term_at)
            self.check_producers()
        if log.was_cut:
            log.was_cut = False
            self.check_producers()
        if replica.serving and replica.term > self._served_term:
            self._served_term = replica.term
            checkers.serves(self._node, replica.term, replica.commit_index)
        if replica.commit_index != self._commit_index:
            must(replica.commit_index > self._commit_index, "E: a commit index went back")
            self._check_commits()
            self._commit_index = replica.commit_index
        self._members = replica.members
        is_told = log.hollow or replica.members.voters != ()
        must(is_told, f"J: node {self._node} is filled, and does not know its group")
        if replica.resting != self._is_resting:
            self._is_resting = replica.resting
            self._world.seen["rest"] += replica.resting

    def check_producers(self) -> None:
        """Against the log, as far as that is known to be the history of all, and from there on."""
        if self.is_failed:
            return
        commit_index = self.replica.commit_index
        begin = max(commit_index + 1, self.log.first_index)
        rest = list(self._entries(begin, self.log.last_index))
        table = self.replica._producers
        self._world.checkers.knows_producers(self._node, table, commit_index, rest)
        self._world.seen["producers compared"] += len(table) > 0

    def _check_commits(self) -> None:
        checkers, replica, log = self._world.checkers, self.replica, self.log
        committed = list(self._gone_at_once())
        behind = log.first_index - 1
        if behind > (committed[-1].last_index if committed else self._commit_index):
            self._world.seen["begins behind a snapshot"] += behind > -1
            checkers.begins_behind(self._node, behind, log.term_at(behind))
        committed += self._commits()
        for seen in [index for index in log.appended if index <= replica.commit_index]:
            del log.appended[seen]
        if not committed:
            return
        if replica.role is Role.LEADER:
            checkers.leader_committed(self._node, replica.term, committed[-1])
        checkers.committed(self._node, replica.term, committed, self._is_safe)

    def _gone_at_once(self) -> Iterator[Known]:
        """Own entries of which only the commit is new: the log begins behind them already."""
        index = self._commit_index + 1
        while index < self.log.first_index and index in self.log.appended:
            entry = self._world.checkers.begun[index, self.log.appended[index]]
            yield entry
            index = entry.last_index + 1

    def _commits(self) -> Iterator[Known]:
        """From memory: what was appended is known, and the disk may lie."""
        begin = max(self._commit_index + 1, self.log.first_index)
        return self._entries(begin, self.replica.commit_index)

    def _entries(self, index: int, last_index: int) -> Iterator[Known]:
        while index <= last_index:
            term = self.log.term_at(index)
            assert term is not None
            entry = self._world.checkers.begun[index, term]
            yield entry
            index = entry.last_index + 1

    def _is_safe(self, entry: Known) -> bool:
        """On the disks of a majority, of each half of a joint membership: of the one in effect when
        it was counted. The next may have been appended at once."""
        return any(
            self._has_majority(entry, each) for each in (self._members, self.replica.members)
        )

    def _has_majority(self, entry: Known, members: Membership) -> bool:
        for half in members.halves:
            disks = [peer for peer in half if self._world.host_of(peer).holds(peer, entry)]
            if len(disks) < quorum.majority(len(half)):
                self._world.trace(f"{self._node} counts {sorted(disks)} of {sorted(half)}")
                return False
        return True


def holds(log: Log, entry: Known) -> bool:
    """Whether this log has the entry on disk for good."""
    return log.synced_index >= entry.last_index and log.term_at(entry.last_index) == entry.term


_Waiter = tuple[int, Appended, Answer]


def _split(waiters: list[_Waiter], index: int) -> tuple[list[_Waiter], list[_Waiter]]:
    return [w for w in waiters if w[0] <= index], [w for w in waiters if w[0] > index]


def refuse(answer: Answer) -> None:
    """There is no process to answer."""
    answer(KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, "nobody listens"))


Input = Callable[[Process], None]
