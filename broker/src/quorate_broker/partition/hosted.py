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
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from quorate_broker import seams
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.partition.shell import Partition
from quorate_broker.wire import batch as batches
from quorate_broker.wire.outcome import Machine, Outcome

LOAD_BYTES_PER_TURN = 1 << 20
RELOAD_S = 0.05


class Applies(Protocol):
    """Something that follows committed records."""

    def replay(self, record: batches.Record, offset: int) -> None: ...


class _Reader:
    """Walks the records of a log from its start, so many bytes at a time."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self.next_offset = partition.start_offset

    def read_into(self, target: Applies, end_offset: int) -> bool:
        """Feed the next records before `end_offset`; True when all are fed.

        Raises KafkaError when the disk fails; the partition is fenced then.
        """
        if self.next_offset >= end_offset:
            return True
        for raw in self._partition.scan(self.next_offset, LOAD_BYTES_PER_TURN, end_offset):
            for at, header in batches.headers(raw):
                self.next_offset = header.next_offset
                if header.is_control:
                    continue
                for record in batches.records(raw, at):
                    target.replay(record, header.base_offset + record.offset_delta)
        return self.next_offset >= end_offset


class Follower:
    """Keeps `target` at the high watermark; `applied` is called after each step forward."""

    def __init__(self, partition: Partition, target: Applies, applied: Callable[[], None]) -> None:
        self._partition = partition
        self._reader = _Reader(partition)
        self._target = target
        self._applied = applied
        partition.add_waiter(self.catch_up)

    def catch_up(self) -> None:
        """Apply what has been committed since."""
        before = self._reader.next_offset
        with contextlib.suppress(KafkaError):  # fenced: its node has been told
            while not self._reader.read_into(self._target, self._partition.high_watermark):
                pass
        if self._reader.next_offset != before:
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

    def submit(self, command: object) -> asyncio.Future[Any]:
        """Run a command. The future raises KafkaError when this node does not lead (any more)."""
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
        self._carry_out(self._machine.handle(ticket, command, self._clock.monotonic_ms()))
        return future

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
            self._loading = (self._make(), _Reader(self._partition))
            self._loop.call_soon(self._load)

    def _load(self) -> None:
        if self._loading is None or not self._leads():
            return
        machine, reader = self._loading
        try:
            done = reader.read_into(machine, self._partition.next_offset)
            if not done:
                self._loop.call_soon(self._load)
                return
            self._loading = None
            self._machine = machine
            self._carry_out(machine.loaded(self._clock.monotonic_ms()))
        except KafkaError:
            self._drop()
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

    def _carry_out(self, outcome: Outcome) -> None:
        if outcome.records:
            try:
                self._append(outcome)
            except KafkaError:
                # What it decided cannot be had; what it knows beyond the log is void with it.
                self._drop()
                self._timer = self._loop.call_later(RELOAD_S, self._reload)
                return
        index = self._partition.replica.log.last_index
        self._held.extend((index, ticket, reply) for ticket, reply in outcome.replies)
        self._release()
        if outcome.deadline_ms is not None and self._machine is not None:
            self._arm(outcome.deadline_ms)

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
