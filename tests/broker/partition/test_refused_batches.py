"""librdkafka writes once what one partition stored while another one refused a batch of two.

It sends two batches at a time. Told that the second is out of order it raises its epoch, and what
it sends again to other partitions then has numbers by which nobody can tell that it is there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

import confluent_kafka

from quorate_broker.cluster import commands, records
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.log.log import Log
from quorate_broker.partition.replica import Appended, Replica, Seat
from quorate_broker.partition.waiters import Appended as Place
from quorate_broker.raft import membership
from quorate_broker.raft.messages import HardState, Peer
from quorate_broker.raft.settings import RaftSettings
from quorate_broker.testing.kafka_client import serving, until
from quorate_broker.testing.memory_log import MemoryLog
from quorate_broker.testing.stub_node import LISTENER, MemoryPartition, StubNode
from quorate_broker.testing.transcript import FixedDice
from quorate_broker.wire import batch

ME = Peer(1, "a")
PATIENCE_S = 30.0
NOT_LEADER = KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)


def alone() -> Replica:
    log = MemoryLog()
    log.founding = membership.of(frozenset({ME})).encode()
    one = Replica(Seat("t", ME), cast(Log, log), HardState(), RaftSettings(), FixedDice(1))
    one.tick(0)
    settle(one, 0)
    settle(one, 60_000)
    return one


def settle(one: Replica, now_ms: int) -> None:
    while True:
        effects = one.drain(now_ms)
        if effects.hard_state is not None:
            one.hard_state_synced(effects.hard_state)
        if effects.job is not None:
            effects.job.run()
            one.job_done(effects.job)
        if effects.hard_state is None and effects.job is None:
            return


@dataclass(slots=True)
class Judging(MemoryPartition):
    """Who takes what is for a replica to say; the test says who answers, and when."""

    replica: Replica = field(default_factory=alone)
    values: list[bytes | None] = field(default_factory=list)
    is_silent: bool = False
    """What is stored is not said to be."""
    is_gone: bool = False
    held: asyncio.Future[Place] | None = None
    """The answer to a batch that was refused: not before the next one is here."""

    def append(
        self, batch_: memoryview, header: batch.BatchHeader, acks: int, timeout_ms: int
    ) -> asyncio.Future[Place]:
        future: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        if self.held is not None and not self.held.done():
            self.replica.paused = False
            self.held.set_exception(KafkaError(ErrorCode.KAFKA_STORAGE_ERROR))
        if self.is_gone:
            future.set_exception(NOT_LEADER)
            return future
        try:
            appended = self.replica.propose(batch_, header)
        except KafkaError as error:
            if self.replica.paused:
                self.held = future
            else:
                future.set_exception(error)
            return future
        self._stored(batch_, appended)
        if self.is_silent:
            self.is_gone = True
            future.set_exception(NOT_LEADER)
        else:
            future.set_result(Place(appended.base_offset, 0))
        return future

    def _stored(self, batch_: memoryview, appended: Appended) -> None:
        settle(self.replica, 60_000)
        if not appended.duplicate:
            self.values += [record.value for record in batch.records(batch_)]


def test_a_full_disk_at_one_partition_makes_nothing_be_written_twice_at_another() -> None:
    async def run() -> None:
        node = StubNode()
        node.topic("t", 2)
        first, second = Judging(), Judging()
        for key, partition in zip(sorted(node.partitions), (first, second), strict=True):
            node.partitions[key] = partition
        async with serving(node) as server:
            endpoint = records.Endpoint(LISTENER, "127.0.0.1", server.port)
            me = ("incarnation-1", "127.0.0.1", 1)
            level = records.FEATURE_LEVEL
            node.decide(commands.RegisterBroker(1, *me, (endpoint,), None, "test", level))
            bootstrap = f"127.0.0.1:{server.port}"
            settings = {"enable.idempotence": True, "linger.ms": 0, "log_level": 0}
            producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, **settings})
            for number in (0, 1):
                producer.produce("t", b"begin", partition=number)
            assert await asyncio.to_thread(producer.flush, PATIENCE_S) == 0
            first.is_silent = second.replica.paused = True
            # In this order, in which they are answered, no request of another kind comes between.
            producer.produce("t", b"refused", partition=1)
            await until(lambda: second.held is not None)
            producer.produce("t", b"stored", partition=0)
            await until(lambda: first.is_gone)
            producer.produce("t", b"behind it", partition=1)
            await until(lambda: len(second.values) == 3)
            first.is_gone = first.is_silent = False
            assert await asyncio.to_thread(producer.flush, PATIENCE_S) == 0
        assert first.values == [b"begin", b"stored"]
        assert second.values == [b"begin", b"refused", b"behind it"]

    asyncio.run(run())
