"""The asyncio shell of one replica.

Inputs (requests, messages, ticks, finished disk jobs) change the replica at once and ask for one
`drive` at the end of the loop turn; it takes the replica's effects and carries them out. All that
arrived in one turn shares one append to each follower and one sync: that is the group commit.

    append, receive, tick, job done -> replica -> (end of turn) drain -> messages out, hard state
    to the journal, one disk job to a thread, waiters woken

A waiter is told when its record is committed (acks=all) or on this disk (acks=1), when the
leadership that took it is lost, or when its time is up. An exception that nobody foresaw leaves
this one replica in a state that nobody knows: it takes no part any more, as after a bad disk.
Read next: `hosted`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from quorate_broker import seams
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.log.cold import ColdRead
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.jobs import Job
from quorate_broker.partition.replica import CorruptReplica, Effects, Replica
from quorate_broker.partition.waiters import Appended as Appended
from quorate_broker.partition.waiters import Waiter, Waiters
from quorate_broker.raft.messages import HardState, Message, Peer
from quorate_broker.wire import batch as batches

log = logging.getLogger(__name__)

NO_LEADER = -1
MOVE_START_MS = 30_000
ROUND_MS = 5_000

T = TypeVar("T")


@dataclass(slots=True)
class Traffic:
    """What went through all partitions of a node since it started."""

    produced_bytes: int = 0
    produced_records: int = 0
    fetched_bytes: int = 0


class Ports(Protocol):
    """What a partition needs of its node."""

    @property
    def clock(self) -> seams.Clock: ...

    @property
    def traffic(self) -> Traffic: ...

    def send(self, to: Peer, group: str, message: Message) -> None: ...

    def put_hard_state(self, group: str, state: HardState, done: Callable[[], None]) -> None:
        """Sync term and vote; `done` is called when they are on disk, never if that failed."""
        ...

    def run_job(self, job: Job | ColdRead, done: Callable[[OSError | None], None]) -> None:
        """Run something for the disk in a thread; `done` is called on the loop."""
        ...

    def leadership_changed(self, partition: Partition) -> None: ...

    def in_sync_changed(self, partition: Partition) -> None:
        """It leads and serves, and other replicas are in sync with it now."""
        ...

    def deadline_moved(self, partition: Partition) -> None:
        """`partition.deadline_ms` may be another one."""
        ...

    def partition_failed(self, partition: Partition, error: Exception) -> None: ...


class Partition:
    """Implements `api.context.PartitionView`."""

    def __init__(self, replica: Replica, ports: Ports) -> None:
        self.replica = replica
        self._ports = ports
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._closed = False
        self._told_failure: Exception | None = None
        self._committed = Waiters()
        self._synced = Waiters()
        self._rounds = Waiters()
        self._round_due: list[Waiter] = []
        self._watchers: dict[Callable[[], None], None] = {}
        self._believed_term = replica.term
        self._in_sync: frozenset[int] = frozenset()
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    # -- state

    @property
    def group(self) -> str:
        return self.replica.seat.group

    @property
    def is_leader(self) -> bool:
        """Leads and serves; a closed one never does, whatever its replica was last told."""
        return self.replica.serving and not self._closed

    @property
    def leader_epoch(self) -> int:
        return self.replica.term

    @property
    def leader_id(self) -> int:
        leader = self.replica.leader
        return NO_LEADER if leader is None else leader.node_id

    @property
    def high_watermark(self) -> int:
        return self.replica.high_watermark

    @property
    def start_offset(self) -> int:
        return self.replica.log.start_offset

    @property
    def next_offset(self) -> int:
        return self.replica.log.next_offset

    # -- produce and fetch

    def append(
        self, batch: memoryview, header: batches.BatchHeader, acks: int, timeout_ms: int
    ) -> asyncio.Future[Appended]:
        """See `api.context.PartitionView.append`. acks=1 waits for this node's own sync."""
        future: asyncio.Future[Appended] = self._loop.create_future()
        now_ms = self._ports.clock.monotonic_ms()
        try:
            if self._closed:  # nobody would ever answer
                raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, None)
            written = self.replica.propose(batch, header)
        except KafkaError as error:
            future.set_exception(error)
            self.kick()  # so that the replica, which may be all alone, learns the time
            return future
        traffic = self._ports.traffic
        traffic.produced_bytes += len(batch)
        traffic.produced_records += header.count
        appended = Appended(written.base_offset, self.replica.log.start_offset)
        reached = self.replica.log.synced_index if acks == 1 else self.replica.commit_index
        if acks == 0 or written.last_index <= reached:  # a duplicate may be committed already
            future.set_result(appended)
        else:
            waiters = self._synced if acks == 1 else self._committed
            waiters.add(written.last_index, Waiter(future, appended, now_ms + timeout_ms))
        self.kick()
        return future

    def refused(self) -> None:
        """See `api.context.PartitionView.refused`."""
        self.replica.refused()

    def read(self, offset: int, max_bytes: int, committed: bool = True) -> list[memoryview]:
        """See `api.context.PartitionView.read`."""
        replica = self.replica
        if not self.is_leader:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, None)
        end = replica.high_watermark if committed else replica.log.next_offset
        if not replica.log.start_offset <= offset <= end:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE, None)
        if offset == end:
            return []
        read = self.scan(offset, max_bytes, end)
        self._ports.traffic.fetched_bytes += sum(map(len, read))
        return read

    def warm(self, offset: int, max_bytes: int) -> asyncio.Future[None] | None:
        """Let a thread bring old data into memory first; None when `read` need not wait for that.

        Done also when the disk failed: `read` meets that, too.
        """
        log = self.replica.log
        cold = log.cold(offset, max_bytes) if offset < self.high_watermark else None
        if cold is None:
            return None
        future: asyncio.Future[None] = self._loop.create_future()

        def done(_: OSError | None) -> None:
            log.warmed(cold)
            if not future.done():
                future.set_result(None)

        self._ports.run_job(cold, done)
        return future

    def scan(self, offset: int, max_bytes: int, end_offset: int) -> list[memoryview]:
        """`Log.read`, leader or not. KafkaError KAFKA_STORAGE_ERROR: the disk failed or lied."""
        return self._from_disk(lambda: self.replica.log.read(offset, max_bytes, end_offset))

    def offset_for_time(self, timestamp_ms: int) -> tuple[int, int] | None:
        return self._from_disk(
            lambda: self.replica.log.offset_for_time(timestamp_ms, self.high_watermark)
        )

    def max_timestamp(self) -> tuple[int, int] | None:
        return self._from_disk(lambda: self.replica.log.max_timestamp(self.high_watermark))

    def end_offset_of_epoch(self, epoch: int) -> tuple[int, int]:
        return self.replica.log.end_offset_of_term(epoch)

    def confirm(self) -> asyncio.Future[Appended]:
        """Ask the others whether this replica still leads; done when a majority has said so.

        Whoever reads after that has read the newest, as of the time of asking. All who ask in one
        turn of the loop share a round. KafkaError NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT.
        """
        future: asyncio.Future[Appended] = self._loop.create_future()
        if not self.is_leader:
            future.set_exception(KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, None))
            return future
        deadline_ms = self._ports.clock.monotonic_ms() + ROUND_MS
        where = Appended(self.high_watermark, self.start_offset)
        if not self._round_due:
            self._loop.call_soon(self._ask_round)
        self._round_due.append(Waiter(future, where, deadline_ms))
        return future

    def _ask_round(self) -> None:
        due, self._round_due = self._round_due, []
        now_ms = self._ports.clock.monotonic_ms()
        try:
            number = self.replica.ask_round(now_ms)
        except Exception as error:  # noqa: BLE001 - see the module's head
            self.fail(error)
            number = 0
        for waiter in due:
            self._rounds.add(number, waiter)
        if not self.is_leader:
            self._lose()
        self.kick()

    def add_waiter(self, callback: Callable[[], None]) -> None:
        self._watchers[callback] = None

    def remove_waiter(self, callback: Callable[[], None]) -> None:
        self._watchers.pop(callback, None)

    # -- what comes from the node

    def receive(self, sender: Peer, message: Message) -> None:
        try:
            self.replica.receive(sender, message, self._ports.clock.monotonic_ms())
        except Exception as error:  # noqa: BLE001 - see the module's head
            self.fail(error)
        self.kick()

    @property
    def deadline_ms(self) -> int:
        """When `tick` must be called at the latest."""
        waiting_ms = min(
            self._committed.deadline_ms, self._synced.deadline_ms, self._rounds.deadline_ms
        )
        return waiting_ms if self._closed else min(self.replica.deadline_ms, waiting_ms)

    def _all_waiters(self) -> tuple[Waiters, ...]:
        return self._committed, self._synced, self._rounds

    def tick(self, now_ms: int) -> None:
        """Time passed; harmless at any time."""
        for waiters in self._all_waiters():
            waiters.expire(now_ms)
        if self.replica.deadline_ms > now_ms:
            return
        try:
            self.replica.tick(now_ms)
        except Exception as error:  # noqa: BLE001 - see the module's head
            self.fail(error)
        self.kick()

    @property
    def resting(self) -> bool:
        """As a follower: its leader sends nothing, since there is nothing to say."""
        return self.replica.resting

    def wake(self) -> None:
        """Its leader may be gone without a word: no more resting."""
        self.replica.wake(self._ports.clock.monotonic_ms())
        self.kick()

    def campaign(self) -> None:
        self.replica.campaign(self._ports.clock.monotonic_ms())
        self.kick()

    def peer_lost(self, node_id: int) -> None:
        self.replica.peer_lost(node_id, self._ports.clock.monotonic_ms())
        self.kick()

    def transfer_leadership(self, target: int | None) -> None:
        self.replica.transfer_leadership(target, self._ports.clock.monotonic_ms())
        self.kick()

    @property
    def paused(self) -> bool:
        """No records are taken, for want of room on the disk."""
        return self.replica.paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        if self.replica.paused != paused:
            self.replica.paused = paused
            self.kick()

    def move_start(self, offset: int) -> asyncio.Future[Appended]:
        """As leader: begin the log there; done when that is committed. Raises KafkaError."""
        now_ms = self._ports.clock.monotonic_ms()
        index = self.replica.move_start(offset, now_ms)
        self.kick()
        future: asyncio.Future[Appended] = self._loop.create_future()
        moved = Appended(offset, offset)
        if index <= self.replica.commit_index:
            future.set_result(moved)
        else:
            self._committed.add(index, Waiter(future, moved, now_ms + MOVE_START_MS))
        return future

    @property
    def size_bytes(self) -> int:
        return self.replica.log.size_bytes

    def begin_again(self, replica: Replica) -> None:
        """Another replica takes the place of one that failed: its log was opened anew."""
        assert self.replica.error is not None, "one that takes part is not replaced"
        replica.paused = self.replica.paused
        self.replica = replica
        self._believed_term = replica.term
        self._in_sync = frozenset()
        self._tell_watchers()
        self.kick()

    def close(self) -> None:
        """Stop taking part: whoever waits is answered. The log is closed by the node.

        The effects so far are still carried out: entries of a term that the log has taken in must
        not outlive it on disk without that term in the journal.
        """
        if self._closed:
            return
        self._drive()
        self._closed = True
        self._lose()
        self._tell_watchers()

    @property
    def is_out(self) -> bool:
        """Closed, or fenced: nothing more is to be done with its files."""
        return self._closed or self.replica.error is not None

    async def settled(self) -> None:
        """Wait for what is under way to the disk: a job, a term and vote, who is `busy`."""
        await self._idle.wait()

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """While somebody else works on the log's files; to be ended soon once it `is_out`."""
        self._begun()
        try:
            yield
        finally:
            self._ended()

    # -- driving

    def kick(self) -> None:
        """Carry out the replica's effects at the end of this loop turn."""
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self._drive)

    def _drive(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        try:
            self._let_followers_read()
            self._carry_out(self.replica.drain(self._ports.clock.monotonic_ms()))
        except Exception as error:  # noqa: BLE001 - see the module's head
            self.fail(error)
        self.tell_failure()
        self._ports.deadline_moved(self)

    def _let_followers_read(self) -> None:
        """The log's start is about to move: who follows the records has to have had them."""
        if self.replica.log.starts:
            self._tell_watchers()

    def _carry_out(self, effects: Effects) -> None:
        for to, message in effects.messages:
            self._ports.send(to, self.group, message)
        if effects.hard_state is not None:
            self._put_hard_state(effects.hard_state)
        if effects.job is not None:
            self._run_job(effects.job)
        self._wake(effects)
        if self._rounds.waiting:
            self._rounds.reached(self.replica.confirmed_ms)

    def _wake(self, effects: Effects) -> None:
        if effects.committed is not None:
            self._committed.reached(effects.committed)
        if effects.leader is not None:
            if not self.replica.serving or effects.leader.term != self._believed_term:
                self._lose()
            self._believed_term = effects.leader.term
            self._in_sync = self.replica.in_sync
            self._ports.leadership_changed(self)
        elif self.replica.serving and self.replica.in_sync != self._in_sync:
            self._in_sync = self.replica.in_sync
            self._ports.in_sync_changed(self)
        if effects.committed is not None or effects.leader is not None or effects.began_anew:
            self._tell_watchers()

    def _tell_watchers(self) -> None:
        for callback in list(self._watchers):
            callback()

    def _put_hard_state(self, state: HardState) -> None:
        def done() -> None:
            self._ended()
            try:
                self.replica.hard_state_synced(state)
            except Exception as error:  # noqa: BLE001 - see the module's head
                self.fail(error)
            self.kick()

        self._begun()
        self._ports.put_hard_state(self.group, state, done)

    def _run_job(self, job: Job) -> None:
        def done(error: OSError | None) -> None:
            self._ended()
            if error is None:
                self._job_done(job)
            else:
                self.fail(error)

        self._begun()
        self._ports.run_job(job, done)

    def _job_done(self, job: Job) -> None:
        try:
            self._let_followers_read()
            self.replica.job_done(job)
            self._synced.reached(self.replica.log.synced_index)
        except Exception as error:  # noqa: BLE001 - see the module's head
            self.fail(error)
        self.kick()

    def _begun(self) -> None:
        self._under_way += 1
        self._idle.clear()

    def _ended(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()

    # -- what goes wrong

    def _from_disk(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except (OSError, CorruptLogError) as error:
            self.fail(error)
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)) from error

    def fail(self, error: Exception) -> None:
        """This replica takes no part any more; what stands on it may have found that out too."""
        if self.replica.error is None:
            if not isinstance(error, OSError | CorruptLogError | CorruptReplica):
                log.error("%s: a bug, not a bad disk", self.group, exc_info=error)
            self.replica.failed(error)
        self.tell_failure()

    def tell_failure(self) -> None:
        """Once, also where the replica found out by itself: opening it, or reading to send."""
        error = self.replica.error
        if error is self._told_failure or not isinstance(error, Exception):
            return
        self._told_failure = error
        self._lose()
        self._loop.call_soon(self._tell_watchers)  # one of them may have found it
        self._ports.partition_failed(self, error)
        self.kick()

    def _lose(self) -> None:
        """Whatever waited for this leadership is answered: its fate is not known here any more."""
        for waiters in self._all_waiters():
            waiters.fail(lambda: KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, None))
