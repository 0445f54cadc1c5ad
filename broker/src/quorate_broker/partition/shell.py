"""The asyncio shell of one replica.

Inputs (requests, messages, ticks, finished disk jobs) change the replica at once and ask for one
`drive` at the end of the loop turn; it takes the replica's effects and carries them out. All that
arrived in one turn shares one append to each follower and one sync: that is the group commit.

    append, receive, tick, job done -> replica -> (end of turn) drain -> messages out, hard state
    to the journal, one disk job to a thread, waiters woken

A waiter is told when its record is committed (acks=all) or on this disk (acks=1), when the
leadership that took it is lost, or when its time is up. Read next: `hosted`.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from quorate_broker import seams
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.jobs import Job
from quorate_broker.partition.replica import Effects, Replica
from quorate_broker.raft.messages import HardState, Message, Peer
from quorate_broker.wire import batch as batches

NO_LEADER = -1

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

    def run_job(self, job: Job, done: Callable[[OSError | None], None]) -> None:
        """Run a disk job in a thread; `done` is called on the loop."""
        ...

    def leadership_changed(self, partition: Partition) -> None: ...

    def partition_failed(self, partition: Partition, error: Exception) -> None: ...


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a batch went."""

    base_offset: int
    start_offset: int
    log_append_time_ms: int = -1


@dataclass(slots=True)
class _Waiter:
    future: asyncio.Future[Appended]
    appended: Appended
    deadline_ms: int


class _Waiters:
    """Futures in order of the index that they wait for."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, _Waiter]] = []
        self._tie = itertools.count()

    def add(self, index: int, waiter: _Waiter) -> None:
        heapq.heappush(self._heap, (index, next(self._tie), waiter))

    def reached(self, index: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= index:
            waiter = heapq.heappop(heap)[2]
            if not waiter.future.done():
                waiter.future.set_result(waiter.appended)

    def fail(self, error: Callable[[], KafkaError]) -> None:
        heap, self._heap = self._heap, []
        for _, _, waiter in heap:
            if not waiter.future.done():
                waiter.future.set_exception(error())

    def expire(self, now_ms: int) -> None:
        expired = False
        for _, _, waiter in self._heap:
            if waiter.deadline_ms <= now_ms and not waiter.future.done():
                waiter.future.set_exception(KafkaError(ErrorCode.REQUEST_TIMED_OUT, None))
            expired = expired or waiter.future.done()
        if expired:
            self._heap = [entry for entry in self._heap if not entry[2].future.done()]
            heapq.heapify(self._heap)


class Partition:
    """Implements `api.context.PartitionView`."""

    def __init__(self, replica: Replica, ports: Ports) -> None:
        self.replica = replica
        self._ports = ports
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._closed = False
        self._committed = _Waiters()
        self._synced = _Waiters()
        self._watchers: dict[Callable[[], None], None] = {}
        self._believed_term = replica.term
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
            waiters.add(written.last_index, _Waiter(future, appended, now_ms + timeout_ms))
        self.kick()
        return future

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

    def add_waiter(self, callback: Callable[[], None]) -> None:
        self._watchers[callback] = None

    def remove_waiter(self, callback: Callable[[], None]) -> None:
        self._watchers.pop(callback, None)

    # -- what comes from the node

    def receive(self, sender: Peer, message: Message) -> None:
        self.replica.receive(sender, message, self._ports.clock.monotonic_ms())
        self.kick()

    def tick(self, now_ms: int) -> None:
        if self.replica.deadline_ms <= now_ms:
            self.replica.tick(now_ms)
            self.kick()
        self._committed.expire(now_ms)
        self._synced.expire(now_ms)

    def campaign(self) -> None:
        self.replica.campaign(self._ports.clock.monotonic_ms())
        self.kick()

    def peer_lost(self, node_id: int) -> None:
        self.replica.peer_lost(node_id, self._ports.clock.monotonic_ms())
        self.kick()

    def transfer_leadership(self, target: int | None) -> None:
        self.replica.transfer_leadership(target, self._ports.clock.monotonic_ms())
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

    async def settled(self) -> None:
        """Wait for what is under way to the disk: a job, a term and vote."""
        await self._idle.wait()

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
        effects = self.replica.drain(self._ports.clock.monotonic_ms())
        for to, message in effects.messages:
            self._ports.send(to, self.group, message)
        if effects.hard_state is not None:
            self._put_hard_state(effects.hard_state)
        if effects.job is not None:
            self._run_job(effects.job)
        self._wake(effects)

    def _wake(self, effects: Effects) -> None:
        if effects.committed is not None:
            self._committed.reached(effects.committed)
        if effects.leader is not None:
            if not self.replica.serving or effects.leader.term != self._believed_term:
                self._lose()
            self._believed_term = effects.leader.term
            self._ports.leadership_changed(self)
        if effects.committed is not None or effects.leader is not None:
            self._tell_watchers()

    def _tell_watchers(self) -> None:
        for callback in list(self._watchers):
            callback()

    def _put_hard_state(self, state: HardState) -> None:
        def done() -> None:
            self._ended()
            self.replica.hard_state_synced(state)
            self.kick()

        self._begun()
        self._ports.put_hard_state(self.group, state, done)

    def _run_job(self, job: Job) -> None:
        def done(error: OSError | None) -> None:
            self._ended()
            if error is None:
                self.replica.job_done(job)
                self._synced.reached(self.replica.log.synced_index)
                self.kick()
            else:
                self._fail(error)

        self._begun()
        self._ports.run_job(job, done)

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
            self._fail(error)
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)) from error

    def _fail(self, error: Exception) -> None:
        """This replica takes no part any more."""
        if self.replica.error is None:
            self.replica.failed(error)
            self._lose()
            self._ports.partition_failed(self, error)
            self.kick()

    def _lose(self) -> None:
        """Whatever waited for this leadership is answered: its fate is not known here any more."""
        for waiters in (self._committed, self._synced):
            waiters.fail(lambda: KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, None))
