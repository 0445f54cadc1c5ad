"""State machines on a replicated log.

`Host` runs a `Machine` where this node leads: it replays the log up to its end, then takes
commands one by one; each outcome's records are appended as one batch and replayed at once
(speculatively), so that the next command decides on current state, while the replies wait until
all that was appended so far is committed. When leadership goes, the machine is dropped with every
ticket in it; the next leader builds its own from the log. (Kafka's CoordinatorRuntime does the
same.)

    follower --serving--> loading --log replayed--> active --leadership lost--> follower
                             ^                         |
                             +-- append was refused ---+   (too much uncommitted, handing over)

Between the loss of leadership inside the replica and the word of it here lies the rest of a loop
turn, in which a new leader's commit index may already stand where our own records were. So nothing
is released before it was asked again whether this node still leads in the term of the machine.

`Follower` applies the committed records to an image on every node, leader or not.

Both begin from the state that the log keeps (`log.put_state`), if there is one, and go on with the
records behind it; a follower whose next record is gone from the log, since its leader sent a
snapshot, becomes what that says.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from quorate_broker import seams
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.partition.replica import CorruptReplica
from quorate_broker.partition.shell import Partition
from quorate_broker.wire import batch as batches
from quorate_broker.wire.outcome import Machine, Outcome

LOAD_BYTES_PER_TURN = 1 << 20
RELOAD_S = 0.05


class Applies(Protocol):
    """Something that follows committed records."""

    def replay(self, record: batches.Record, offset: int) -> None: ...


@runtime_checkable
class Restores(Protocol):
    """Something that can begin from what it was elsewhere, or in an earlier life."""

    def restore(self, content: bytes) -> None:
        """Become what `content` says; ValueError when it says nothing."""
        ...


class _Gone(Exception):
    """The next record is not in the log any more, and no state stands for it."""


_STATE = struct.Struct(">q")
"""Before the content of a state: the offset of the first record that it does not cover."""


def keep_state(partition: Partition, next_offset: int, content: bytes) -> bool:
    """Have the log keep what a machine became by the records before `next_offset`.

    They must be committed. False while they are not all on this disk: the state would outlive them.
    """
    log = partition.replica.log
    index = log.index_of_offset(next_offset) - 1
    if index > min(log.synced_index, partition.replica.commit_index):
        return False
    log.put_state(index, _STATE.pack(next_offset) + content)
    partition.kick()
    return True


def _unpacked(state: bytes) -> tuple[int, bytes]:
    """(next offset, content). Raises ValueError."""
    if len(state) < _STATE.size:
        raise ValueError("a state that is cut short")
    return _STATE.unpack_from(state)[0], state[_STATE.size :]


class _Reader:
    """Walks the records of a log, so many bytes at a time, from its state or from its start."""

    def __init__(self, partition: Partition, target: Applies) -> None:
        self._partition = partition
        self._target = target
        self.next_offset = 0
        self._begin()

    def _begin(self) -> None:
        """Take the log's state where it is ahead of what was read. Raises _Gone.

        Without a way to take one the target lives on the records that are left, as Kafka's group
        coordinators do on a compacted log.
        """
        if not isinstance(self._target, Restores):
            self.next_offset = max(self.next_offset, self._partition.start_offset)
            return
        state = self._partition.replica.log.state
        if state is not None:
            offset, content = _unpacked(state[1])
            if offset > self.next_offset:
                self._target.restore(content)
                self.next_offset = offset
        if self.next_offset < self._partition.start_offset:
            raise _Gone(f"records from {self.next_offset} on are gone, and nothing stands for them")

    def read_on(self, end_offset: int) -> bool:
        """Feed the next records before `end_offset`; True when all are fed.

        Raises KafkaError when the disk fails; the partition is fenced then. _Gone: see there.
        """
        if self.next_offset < self._partition.start_offset:
            self._begin()
        if self.next_offset >= end_offset:
            return True
        for raw in self._partition.scan(self.next_offset, LOAD_BYTES_PER_TURN, end_offset):
            for at, header in batches.headers(raw):
                if not header.is_control:
                    self._feed(raw, at, header)
                self.next_offset = max(self.next_offset, header.next_offset)
        return self.next_offset >= end_offset

    def _feed(self, raw: memoryview, at: int, header: batches.BatchHeader) -> None:
        for record in batches.records(raw, at):
            offset = header.base_offset + record.offset_delta
            if offset >= self.next_offset:  # the state may end inside a batch
                self._target.replay(record, offset)


class Follower:
    """Keeps `target` at the high watermark; `applied` is called after each step forward."""

    def __init__(self, partition: Partition, target: Applies, applied: Callable[[], None]) -> None:
        """Raises ValueError when the log's state cannot be read."""
        self._partition = partition
        self._target = target
        self._applied = applied
        self._reader: _Reader | None = None
        self._told = 0
        partition.add_waiter(self.catch_up)

    @property
    def next_offset(self) -> int:
        """Of the first record that was not applied yet."""
        return 0 if self._reader is None else self._reader.next_offset

    def catch_up(self) -> None:
        """Apply what has been committed since."""
        try:
            if self._reader is None:
                self._reader = _Reader(self._partition, self._target)
            while not self._reader.read_on(self._partition.high_watermark):
                pass
        except KafkaError:
            pass  # fenced: its node has been told
        except (_Gone, ValueError) as error:
            self._partition.fail(CorruptReplica(str(error)))
        if self.next_offset != self._told:
            self._told = self.next_offset
            self._applied()


class Host:
    """One machine on one partition. All calls come from the event loop; none of them blocks."""

    def __init__(
        self,
        partition: Partition,
        make: Callable[[], Machine],
        not_leader: ErrorCode,
        clock: seams.Clock,
    ) -> None:
        self._partition = partition
        self._make = make
        self._not_leader = not_leader
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._machine: Machine | None = None
        self._loading: tuple[Machine, _Reader] | None = None
        self._epoch = -1
        self._next_ticket = 1
        self._tickets: dict[int, asyncio.Future[Any]] = {}
        self._held: deque[tuple[int, int, object]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        partition.add_waiter(self._changed)
        self._changed()

    @property
    def machine(self) -> Machine | None:
        """The machine while it is active here, else None."""
        return self._machine

    @property
    def loading(self) -> bool:
        """Leads, but has not replayed everything yet."""
        return self._loading is not None

    def submit(self, command: object, confirmed: bool = False) -> asyncio.Future[Any]:
        """Run a command. The future raises KafkaError when this node does not lead (any more).

        `confirmed`: a reply that writes nothing waits until a majority has said that this node
        still leads, for it may stand on what another leader has overruled since.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._leads():
            self._drop()
        if self._machine is None:
            code = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS if self._loading else self._not_leader
            future.set_exception(KafkaError(code, None))
            return future
        ticket = self._next_ticket
        self._next_ticket += 1
        self._tickets[ticket] = future
        outcome = self._machine.handle(ticket, command, self._clock.monotonic_ms())
        self._carry_out(outcome, confirmed)
        return future

    def wake(self) -> None:
        """Something from outside has changed when the machine is due: have it look now."""
        if self._machine is not None:
            self._arm(self._clock.monotonic_ms())

    def close(self) -> None:
        self._partition.remove_waiter(self._changed)
        self._drop()

    # -- leadership

    def _leads(self) -> bool:
        """In the term for which the machine was made."""
        return self._partition.is_leader and self._partition.leader_epoch == self._epoch

    def _changed(self) -> None:
        if not self._leads():
            self._drop()
        if not self._partition.is_leader:
            return
        if self._machine is not None:
            self._release()
        elif self._loading is None:
            self._epoch = self._partition.leader_epoch
            self._begin_to_load()

    def _begin_to_load(self) -> None:
        machine = self._make()
        try:
            self._loading = (machine, _Reader(self._partition, machine))
        except (_Gone, ValueError) as error:
            self._broken(CorruptReplica(str(error)))
        else:
            self._loop.call_soon(self._load)

    def _load(self) -> None:
        if self._loading is None or not self._leads():
            return
        machine, reader = self._loading
        try:
            done = reader.read_on(self._partition.next_offset)
            if not done:
                self._loop.call_soon(self._load)
                return
            self._loading = None
            self._machine = machine
            self._carry_out(machine.loaded(self._clock.monotonic_ms()))
        except KafkaError:
            self._drop()
        except _Gone as error:
            self._broken(CorruptReplica(str(error)))
        except Exception as error:  # noqa: BLE001 - see `_broken`
            self._broken(error)

    def _broken(self, error: Exception) -> None:
        """A bug of ours: what the machine knows now is not what the log says.

        Left alone, its group would be stuck with nobody to tell; another node takes over.
        """
        self._drop()
        self._partition.fail(error)

    def _drop(self) -> None:
        self._machine = None
        self._loading = None
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tickets, self._tickets = self._tickets, {}
        for future in tickets.values():
            if not future.done():
                future.set_exception(KafkaError(self._not_leader, None))

    # -- outcomes

    def _carry_out(self, outcome: Outcome, confirmed: bool = False) -> None:
        if outcome.records:
            try:
                self._append(outcome)
            except KafkaError:
                # What it decided cannot be had; what it knows beyond the log is void with it.
                self._drop()
                self._timer = self._loop.call_later(RELOAD_S, self._reload)
                return
        if outcome.replies and not outcome.records and confirmed:
            round_ = self._partition.confirm()
            round_.add_done_callback(lambda done: self._confirmed(done, outcome))
        else:
            self._hold(outcome)
        if outcome.deadline_ms is not None and self._machine is not None:
            self._arm(outcome.deadline_ms)

    def _hold(self, outcome: Outcome) -> None:
        """Until all that was appended so far is committed."""
        index = self._partition.replica.log.last_index
        self._held.extend((index, ticket, reply) for ticket, reply in outcome.replies)
        self._release()

    def _confirmed(self, round_: asyncio.Future[Any], outcome: Outcome) -> None:
        """Tickets of a machine that was dropped since are unknown, and passed over."""
        error = round_.exception()
        if error is None:
            self._hold(outcome)
            return
        for ticket, _ in outcome.replies:
            future = self._tickets.pop(ticket, None)
            if future is not None and not future.done():
                future.set_exception(KafkaError(self._not_leader, None))

    def _append(self, outcome: Outcome) -> None:
        assert self._machine is not None
        raw = memoryview(batches.build(outcome.records, timestamp_ms=self._clock.wall_ms()))
        written = self._partition.replica.propose(raw, batches.parse_header(raw))
        self._partition.kick()
        try:
            for delta, record in enumerate(outcome.records):
                self._machine.replay(record, written.base_offset + delta)
        except Exception as error:
            self._broken(error)
            raise

    def _release(self) -> None:
        if not self._leads():
            self._drop()
            return
        committed = self._partition.replica.commit_index
        while self._held and self._held[0][0] <= committed:
            _, ticket, reply = self._held.popleft()
            future = self._tickets.pop(ticket, None)
            if future is None or future.done():
                continue
            if isinstance(reply, KafkaError):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    def _arm(self, deadline_ms: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay_ms = max(0, deadline_ms - self._clock.monotonic_ms())
        self._timer = self._loop.call_later(delay_ms / 1000, self._expire)

    def _reload(self) -> None:
        """Still the leader, perhaps, and nothing else may come to say so."""
        self._timer = None
        self._changed()

    def _expire(self) -> None:
        self._timer = None
        if self._machine is not None:
            try:
                self._carry_out(self._machine.expire(self._clock.monotonic_ms()))
            except Exception as error:  # noqa: BLE001 - see `_broken`
                self._broken(error)
