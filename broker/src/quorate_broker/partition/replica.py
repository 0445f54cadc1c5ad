"""One replica of one partition: a Raft member, its log, and what is derived from the log.

Sans-I/O. The asyncio shell (`partition.shell`) and the simulator (`testing.simulate`) drive the
same class by the same loop:

    feed it     receive, tick, propose, hard_state_synced, job_done, failed, ...
    drain it    send `messages`; journal `hard_state`, then call hard_state_synced;
                run `job` on a disk thread, then call job_done; drain again after each of these

A drain costs little when nothing happened, and one drain serves any number of proposals made
before it. Messages come out only when all they depend on is on disk, and a job only when the term
of the entries that it writes is. Next: `producers`, `raft.core`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from crc32c import crc32c

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.log import told
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.log import Job, Log
from quorate_broker.partition.followed import FollowedLog, is_of_producer
from quorate_broker.partition.producers import ProducerTable, SequenceGapError, Written
from quorate_broker.raft.core import NEVER_MS, Raft, Role
from quorate_broker.raft.core import Seat as Seat
from quorate_broker.raft.membership import Membership
from quorate_broker.raft.messages import HardState, Message, Peer
from quorate_broker.raft.ports import Dice
from quorate_broker.raft.settings import RaftSettings
from quorate_broker.wire import batch
from quorate_broker.wire.batch import BatchHeader, InternalKind

_CHECKPOINT_PAUSE_MS = 250
_SETTLING_MS = 5_000
"""So long after a refusal, what its producer had under way behind that batch may still come."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a proposed batch came to lie. It is committed once commit_index >= last_index.

    A duplicate may be committed already: look before waiting for `Effects.committed`.
    """

    base_offset: int
    last_offset: int
    last_index: int
    duplicate: bool = False
    """The producer sent it before: these are the places of the first one."""


@dataclass(frozen=True, slots=True)
class LeaderChange:
    """What this replica now believes. `serving`: it leads and an entry of its term is committed."""

    term: int
    leader: Peer | None
    serving: bool


@dataclass(frozen=True, slots=True)
class Effects:
    """What the driver must do now, in any order (what had to wait was held back)."""

    messages: Sequence[tuple[Peer, Message]] = ()
    hard_state: HardState | None = None
    """To the journal; then `hard_state_synced` with the same value."""
    job: Job | None = None
    """run() it on a disk thread; then `job_done(job)` on the loop, or `failed(error)`."""
    committed: int | None = None
    """The commit index, when it moved."""
    leader: LeaderChange | None = None
    """When term, leader or serving changed."""
    began_anew: bool = False
    """A snapshot was taken: the log begins elsewhere. What was built from its records has to be
    built again, from `log.state` if it is a hosted one, and from `log.start_offset`."""


class Replica:
    """See the module's head. Times are monotonic milliseconds and never go back."""

    def __init__(
        self, seat: Seat, log: Log, hard_state: HardState, settings: RaftSettings, dice: Dice
    ) -> None:
        """Reads the headers behind the checkpoint from disk: call it off the event loop."""
        self.seat = seat
        self.log = log
        self.error: BaseException | None = None
        """Why this replica is fenced, else None."""
        doubt = _why_not_trusted(log, hard_state)
        self._producers = ProducerTable(log.checkpoint_index)
        if doubt is None:
            try:
                self._producers = _restore(log)
            except CorruptLogError as error:  # rot between the producers' checkpoint and the end
                doubt = str(error)
        if doubt is not None:
            hard_state = HardState(max(hard_state.term, log.last_term), hard_state.vote)
        self._settings = settings
        self._followed = FollowedLog(log, self._producers)
        self._raft = Raft(seat, self._followed, hard_state, settings, dice)
        self._raft.restore_commit(log.checkpoint_index)
        self._committed = self._raft.commit_index
        self._believed: tuple[int, Peer | None, bool] = (hard_state.term, None, False)
        self._withhold_commit = False
        self._settled_ms = NEVER_MS
        self._checkpoint_ms = NEVER_MS
        self._has_tail = log.bytes_since_checkpoint > 0
        """Opened after a kill: the first checkpoints of a thousand such logs are spread, and later
        than others would be, so that they do not stand in the way of the start."""
        self._checkpoint_index = log.checkpoint_index
        if doubt is not None:
            self.failed(CorruptReplica(doubt))

    def set_lag(self, lag_ms: int) -> None:
        """From now on a voter that had not everything for so long is not in sync."""
        self._settings = dataclasses.replace(self._settings, lag_ms=lag_ms)
        self._raft.configure(self._settings)

    # ----------------------------------------------------------------------------------- inputs

    def receive(self, sender: Peer, message: Message, now_ms: int) -> None:
        """A message of another member; its entries' buffers are ours from now on."""
        self._doubt()
        self._raft.step(sender, message, now_ms)

    def tick(self, now_ms: int) -> None:
        """Time passed; needed at `deadline_ms` at the latest, harmless at any time."""
        self._raft.tick(now_ms)
        if self._checkpoint_ms == NEVER_MS and self._has_tail:
            spread = crc32c(self.seat.group.encode()) % (self._settings.checkpoint_ms + 1)
            self._checkpoint_ms = now_ms + spread
        if now_ms >= self._checkpoint_ms + self._settings.checkpoint_ms:
            self._checkpoint(now_ms)

    def propose(self, buf: bytearray | memoryview, header: BatchHeader) -> Appended:
        """Append a validated batch, stamped in place; `buf` is ours from now on.

        Raises KafkaError: NOT_LEADER_OR_FOLLOWER (not leading, not serving yet, handing over),
        NOT_ENOUGH_REPLICAS (too much is uncommitted already), or what the producer did wrong.
        """
        self._doubt()
        raft = self._raft
        if raft.paused and raft.serving:
            self.refused()
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "the disk is nearly full")
        if not raft.may_propose or not raft.serving:
            self.refused()
            self._refuse()
        if is_of_producer(header):
            earlier = self._earlier(header)
            if earlier is not None:
                places = (earlier.base_offset, earlier.last_offset, earlier.last_index)
                return Appended(*places, duplicate=True)
        base_offset = self.log.next_offset
        batch.stamp(buf, base_offset, raft.term)
        raft.append(buf, header)
        return Appended(base_offset, base_offset + header.last_offset_delta, self.log.last_index)

    def refused(self) -> None:
        """A batch was refused, here or before it came here, that its producer will send again."""
        self._settled_ms = self._raft.now_ms + _SETTLING_MS

    def move_start(self, offset: int, now_ms: int) -> int:
        """Let the log begin at `offset`, on every replica; the index to wait for, as committed.

        Raises KafkaError: NOT_LEADER_OR_FOLLOWER, OFFSET_OUT_OF_RANGE above the high watermark.
        Where it begins there already, or will, there is nothing to wait for but what is on its way.
        """
        self._doubt()
        raft = self._raft
        if not raft.serving:
            self._refuse()
        if not 0 <= offset <= self.high_watermark:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE, "the log cannot begin there")
        starts = self.log.starts
        if offset <= max([self.log.start_offset, *(start for _, start in starts)]):
            return max([raft.commit_index, *(index for index, _ in starts)])
        raft.wake(now_ms)
        return raft.append_internal(InternalKind.LOG_START, told.encode_start(offset))

    def hard_state_synced(self, hard_state: HardState) -> None:
        """The journal has it on disk."""
        self._raft.hard_state_synced(hard_state)

    def job_done(self, job: Job) -> None:
        """`job.run()` returned."""
        self.log.job_done(job)
        if self.error is not None:
            return
        self._raft.synced()
        self._move_start()
        if self.log.bytes_since_checkpoint >= self._settings.checkpoint_bytes:
            now_ms = self._raft.now_ms
            if now_ms >= self._checkpoint_ms + _CHECKPOINT_PAUSE_MS:
                self._checkpoint(now_ms)

    def failed(self, error: BaseException) -> None:
        """The disk failed or lied: from here on no vote, no acknowledgement, no serving."""
        if self.error is None:
            self.error = error
            self._raft.fail()

    def transfer_leadership(self, target: int | None, now_ms: int) -> None:
        """Begin to hand leadership to node `target`, or to whoever is furthest.

        Raises KafkaError: NOT_LEADER_OR_FOLLOWER here, REPLICA_NOT_AVAILABLE there.
        """
        if self._raft.role is not Role.LEADER:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        peer = None if target is None else self._peer(target)
        if (target is not None and peer is None) or not self._raft.transfer(peer, now_ms):
            raise KafkaError(ErrorCode.REPLICA_NOT_AVAILABLE, "no such follower to lead")

    def peer_lost(self, node_id: int, now_ms: int) -> None:
        """The connection to a node broke: a hint that it may be dead."""
        for peer in sorted(self._raft.members.all):
            if peer.node_id == node_id:
                self._raft.peer_lost(peer, now_ms)

    def want_members(
        self, target: frozenset[Peer], now_ms: int, learners: frozenset[Peer] = frozenset()
    ) -> None:
        """As leader: bring the group to the voters `target` (and `learners` beside them).

        Level-triggered and forgotten with the leadership: say it again and again. A target that
        changes on the way is a cancellation. Elsewhere than at the leader it does nothing.
        """
        self._doubt()
        self._raft.want_members(target, learners, now_ms)

    def wake(self, now_ms: int) -> None:
        """Something may have happened to the others: end the rest, if this replica rests."""
        self._raft.wake(now_ms)

    def ask_round(self, now_ms: int) -> int:
        """As leader: ask the others whether it still is.

        It was, at the time of asking, once `confirmed_ms` is not below what this returns; where it
        does not lead, that does not come to pass. One round serves all who wait for its beginning.
        """
        return self._raft.ask_round(now_ms)

    def campaign(self, now_ms: int) -> None:
        """Ask for an election now (the preferred replica of a new group)."""
        self._raft.campaign(now_ms)

    # ---------------------------------------------------------------------------------- outputs

    def drain(self, now_ms: int) -> Effects:
        """What there is to do since the last drain."""
        try:
            ready = self._raft.ready(now_ms)
        except (OSError, CorruptLogError) as error:  # a follower far behind is read to from disk
            self.failed(error)
            ready = self._raft.ready(now_ms)
        change = self._take_change()
        committed = None
        if not self._withhold_commit and self._raft.commit_index != self._committed:
            committed = self._committed = self._raft.commit_index
            self._producers.settle(min(committed, self.log.synced_index))
            self._move_start()
        job = None
        if self.error is None and self._raft.may_write:
            job = self.log.take_job()
        began_anew, self._followed.has_begun_anew = self._followed.has_begun_anew, False
        if began_anew:
            self._checkpoint_index = self.log.checkpoint_index
        return Effects(ready.messages, ready.hard_state, job, committed, change, began_anew)

    def _take_change(self) -> LeaderChange | None:
        """The change of leadership since the last drain.

        The commit index of another leader must not wake those who wait for an entry of ours at the
        same place: with the loss of leadership no commit index is given, it comes with the next.
        """
        before, self._believed = self._believed, self._belief()
        if self._believed[2] and before != self._believed:
            self.refused()  # as long as it did not serve, by whoever asked this first
        self._withhold_commit = before[2] and before != self._believed
        return None if before == self._believed else LeaderChange(*self._believed)

    def _belief(self) -> tuple[int, Peer | None, bool]:
        return self._raft.term, self._raft.leader, self._raft.serving

    # ------------------------------------------------------------------------------------ state

    @property
    def group(self) -> str:
        return self.seat.group

    @property
    def role(self) -> Role:
        return self._raft.role

    @property
    def term(self) -> int:
        return self._raft.term

    @property
    def leader(self) -> Peer | None:
        return self._raft.leader

    @property
    def serving(self) -> bool:
        """Whether it leads and an entry of its own term is committed."""
        return self._raft.serving

    @property
    def leads_soon(self) -> bool:
        """Whether it does not serve yet, and needs nobody else's vote for that."""
        return self._raft.leads_soon

    @property
    def is_current(self) -> bool:
        """Whether it knows all that was committed when it started; see `raft.core`."""
        return self._raft.is_current

    @property
    def commit_index(self) -> int:
        return self._raft.commit_index

    @property
    def high_watermark(self) -> int:
        """The offset behind the last committed record."""
        return self.log.high_watermark(self._raft.commit_index)

    @property
    def in_sync(self) -> frozenset[int]:
        """Node ids; empty unless this replica leads."""
        return frozenset(peer.node_id for peer in self._raft.in_sync)

    @property
    def members(self) -> Membership:
        """Those in effect: by the newest entry of the log, committed or not."""
        return self._raft.members

    @property
    def membership_settled(self) -> bool:
        """As leader: whether what `want_members` asked for is in effect, and committed."""
        return self._raft.members_settled

    @property
    def paused(self) -> bool:
        """Set while the disk has no room: as leader it refuses records, as follower it takes none.

        What Raft itself appends goes on, and so does reading.
        """
        return self._raft.paused

    @paused.setter
    def paused(self, is_paused: bool) -> None:
        self._raft.paused = is_paused

    @property
    def resting(self) -> bool:
        """Whether the group is silent until something happens; see `wake`."""
        return self._raft.resting

    @property
    def held_by_all(self) -> int:
        """As leader: the offset below which every member, learners too, has the log on disk.

        0 where that is not known. A tombstone must not leave a log before all know of it.
        """
        return self.log.high_watermark(min(self._raft.held_index, self._raft.commit_index))

    @property
    def confirmed_ms(self) -> int:
        """As leader: the time, by `now_ms`, at which a majority last took this one for its leader.

        It is no lease, for a follower that loses its connection forgets its leader at once: who has
        to read the newest uses `ask_round`.
        """
        return self._raft.confirmed_ms

    @property
    def deadline_ms(self) -> int:
        """When `tick` must be called next, at the latest."""
        if self._withhold_commit:
            return NEVER_MS
        if min(self._raft.commit_index, self.log.synced_index) <= self._checkpoint_index:
            return self._raft.deadline_ms
        due_ms = self._checkpoint_ms + self._settings.checkpoint_ms
        return min(self._raft.deadline_ms, due_ms)

    # ---------------------------------------------------------------------------------- private

    def _doubt(self) -> None:
        """A read of old data may have found the log corrupt."""
        if self.log.corrupt is not None:
            self.failed(CorruptReplica(self.log.corrupt))

    def _peer(self, node_id: int) -> Peer | None:
        voters = self._raft.members.voters
        return next((peer for peer in voters if peer.node_id == node_id), None)

    def _earlier(self, header: BatchHeader) -> Written | None:
        """The batch that this one repeats. What comes behind a refused one is refused, too."""
        try:
            return self._producers.check(header)
        except SequenceGapError as gap:
            has_settled = self._believed[2] and self._raft.now_ms >= self._settled_ms
            if has_settled:
                raise
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, gap.message) from gap

    def _refuse(self) -> None:
        if self._raft.is_full and self._raft.serving:
            raise KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS, "too much is uncommitted")
        raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)

    def _move_start(self) -> None:
        """Begin where committed entries said, once they are on disk here, too."""
        index = min(self._raft.commit_index, self.log.synced_index)
        due = [offset for told_at, offset in self.log.starts if told_at <= index]
        if self._settings.start_needs_state:  # what goes could not be had again after a restart
            state = self.log.state
            covered = 0 if state is None else self.log.high_watermark(state[0])
            due = [offset for offset in due if offset <= covered]
        if self.error is not None or not due:
            return
        start = max(due)
        if start > self.log.start_offset:
            self._producers.settle(index)
            self._checkpoint_index = index
            self.log.advance_start(start)
            self.log.checkpoint(index, self._producers.snapshot())

    def _checkpoint(self, now_ms: int) -> None:
        self._checkpoint_ms = now_ms
        index = min(self._raft.commit_index, self.log.synced_index)
        if self.error is not None or index <= self._checkpoint_index:
            return
        self._producers.settle(index)
        self._checkpoint_index = index
        self.log.checkpoint(index, self._producers.snapshot())


class CorruptReplica(Exception):
    """Bytes that were once on disk are not what they were."""


def _why_not_trusted(log: Log, hard_state: HardState) -> str | None:
    if log.corrupt is not None:
        return log.corrupt
    if log.last_term > hard_state.term:
        return f"entries of term {log.last_term}, but the journal ends at {hard_state.term}"
    return None


def _restore(log: Log) -> ProducerTable:
    try:
        table = ProducerTable(log.checkpoint_index, log.checkpoint_extra)
    except ValueError:
        # The checkpoint's own checksum held, so this is a bug or an older layout: begin without.
        table = ProducerTable(log.checkpoint_index)
    for last_index, header in log.replay_headers(log.checkpoint_index + 1):
        if is_of_producer(header):
            table.record(header, header.base_offset, last_index)
    return table
