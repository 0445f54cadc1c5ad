"""Producers that remember what they were told.

Every batch is unique (its checksum is its name). An idempotent producer keeps several batches
under way (at most five from the oldest unacknowledged one on: the broker remembers no more) and,
when anything goes wrong, sends all that are unacknowledged again, in order, to some other node.
One without a producer id gives up on a batch whose fate it does not know. Now and then one begins
anew with a higher epoch, while the one before still sends what it had: a zombie.
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.partition.replica import Appended
from quorate_broker.testing.simulation.clock import EPOCH_MS, Event
from quorate_broker.testing.simulation.host import Host
from quorate_broker.testing.simulation.process import refuse
from quorate_broker.testing.simulation.world import World
from quorate_broker.wire import batch
from quorate_broker.wire.batch import Record

_TIMEOUT_US = 1_500_000
_LULL_US = 4_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """What was or will be sent."""

    number: int
    content: bytes
    crc: int
    made_us: int


class Client:
    """One producer with one partition."""

    def __init__(self, world: World, number: int, is_idempotent: bool) -> None:
        self.is_stopped = False
        self.acked = 0
        self.last_acked_us = -1
        """When the youngest acknowledged batch was made."""
        self.outstanding: list[Batch] = []
        self._world = world
        self._number = number
        self._is_idempotent = is_idempotent
        self._epoch = 0
        self._sequence = 0
        self._made = 0
        self._round = 0
        self._target = world.hosts[0]
        self._arrival_us = 0

    def think(self) -> None:
        """Make a batch if there is room, and come again."""
        if self.is_stopped:
            return
        world = self._world
        if self._is_idempotent and world.dice.random() < world.options.zombies:
            self._begin_anew()
        oldest = self.outstanding[0].number if self.outstanding else self._made
        if self._made - oldest < world.options.depth:
            made = self._make()
            self.outstanding.append(made)
            self._send(made)
        pause_us = world.dice.randint(1_000, 2 * world.options.think_us)
        left_us = world.options.chaos_us - world.scheduler.now_us
        if world.dice.random() < world.options.lulls and left_us > 0:
            pause_us = min(left_us, _LULL_US)
        world.scheduler.after(pause_us, self.think)

    def _begin_anew(self) -> None:
        """With the next epoch; what was under way is the zombie's now."""
        dice = self._world.dice
        for made in self.outstanding:
            host = dice.choice(self._world.hosts)
            self._world.scheduler.after(dice.randint(0, 300_000), self._haunt(host, made))
        self._world.seen["zombie"] += 1
        self.outstanding.clear()
        self._epoch += 1
        self._sequence = 0
        self._round += 1

    def _haunt(self, host: Host, made: Batch) -> Event:
        def answer(result: Appended | KafkaError | None) -> None:
            if isinstance(result, Appended):
                self._world.checkers.was_acked(result.base_offset, made.crc)
            elif result is not None and result.code is ErrorCode.INVALID_PRODUCER_EPOCH:
                self._world.seen["fenced"] += 1

        return lambda: host.give(lambda process: process.produce(made.content, answer))

    def _make(self) -> Batch:
        world = self._world
        records = world.dice.randint(1, 3)
        payload = bytes(world.options.record_bytes)
        name = f"{self._number}-{self._made}-".encode()
        content = batch.build(
            [Record(None, name + payload) for _ in range(records)],
            timestamp_ms=EPOCH_MS + world.scheduler.now_us // 1_000,
            producer_id=self._number if self._is_idempotent else -1,
            producer_epoch=self._epoch if self._is_idempotent else -1,
            base_sequence=self._sequence if self._is_idempotent else -1,
        )
        crc = batch.parse_header(content).crc
        made = Batch(self._made, bytes(content), crc, world.scheduler.now_us)
        self._made += 1
        self._sequence += records
        return made

    def _send(self, made: Batch) -> None:
        world, host, attempt = self._world, self._target, self._round
        process = host.process
        world.scheduler.after(_TIMEOUT_US, lambda: self._on_result(made, attempt, None))
        if self._is_lost():
            return
        self._arrival_us = max(self._arrival_us, world.scheduler.now_us + self._delay_us())

        def arrive() -> None:
            if host.process is not process:
                self._on_result(made, attempt, None)
            elif process is None:
                refuse(answer)
            else:
                host.give(lambda process: process.produce(made.content, answer))

        def answer(result: Appended | KafkaError | None) -> None:
            if isinstance(result, Appended):
                world.checkers.was_acked(result.base_offset, made.crc)
            if not self._is_lost():
                world.scheduler.after(
                    self._delay_us(), lambda: self._on_result(made, attempt, result)
                )

        world.scheduler.at(self._arrival_us, arrive)

    def _on_result(self, made: Batch, attempt: int, result: Appended | KafkaError | None) -> None:
        if made not in self.outstanding:
            return
        if isinstance(result, Appended):
            self.outstanding.remove(made)
            self.acked += 1
            self.last_acked_us = max(self.last_acked_us, made.made_us)
            return
        if result is None and not self._is_idempotent:
            self._world.seen["unknown fate"] += 1
            self.outstanding.remove(made)
        if attempt == self._round:
            self._round += 1
            world = self._world
            self._target = self._other(world.hosts)
            world.scheduler.after(world.dice.randint(10_000, 100_000), self._again)

    def _other(self, hosts: list[Host]) -> Host:
        """Ask whom the last one believes to be the leader, or anybody."""
        process = self._target.process
        if process is not None and self._world.dice.random() < 0.7:
            leader = process.replica.leader
            if leader is not None:
                return hosts[leader.node_id - 1]
        return self._world.dice.choice(hosts)

    def _again(self) -> None:
        for made in list(self.outstanding):
            self._send(made)

    def _is_lost(self) -> bool:
        network = self._world.network
        return network.is_faulty and self._world.dice.random() < self._world.options.loss

    def _delay_us(self) -> int:
        options = self._world.options
        return self._world.dice.randint(options.delay_low_us, options.delay_high_us)
