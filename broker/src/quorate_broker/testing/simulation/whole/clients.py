"""Clients of whole brokers: they speak Kafka's protocol over simulated connections.

Small on purpose: a bootstrap list, one connection per broker, metadata when something went wrong.
An idempotent producer repeats until it is answered, a plain one gives a batch up. Next: `members`
of a group, and the `admin`.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any, NamedTuple

from quorate_broker.errors import ErrorCode
from quorate_broker.testing.kafka_client import KafkaClient, fetch_request, produce_request
from quorate_broker.testing.simulation.clock import EPOCH_MS
from quorate_broker.testing.simulation.whole.cluster import Cluster
from quorate_broker.testing.simulation.whole.history import History
from quorate_broker.testing.simulation.whole.machine import KAFKA_PORT, address_of
from quorate_broker.wire import batch
from quorate_broker.wire.batch import Record
from quorate_broker.wire.messages import init_producer_id, list_offsets, metadata

TOPIC = "t"
COMPACTED = "k"
"""Topics: one that begins later and later, and one that keeps the latest value of each key."""
_KEYS = 5
_TIMEOUT_S = 3.0
TROUBLE = (OSError, TimeoutError, EOFError, asyncio.IncompleteReadError)


class Refused(Exception):
    """An answer with an error code."""


class Client:
    """What all of them can do."""

    def __init__(self, cluster: Cluster, history: History, nodes: int, name: str) -> None:
        self.cluster = cluster
        self.history = history
        self.name = name
        self.is_stopped = False
        self.nodes = nodes
        self._connections: dict[int, KafkaClient] = {}
        self._turn = asyncio.Lock()
        self._leaders: dict[tuple[str, int], int] = {}
        self._dice = random.Random(cluster.dice.getrandbits(64))

    async def ask(self, node_id: int, message: object, version: int) -> Any:
        """One request, after the one before it; any trouble closes the connection."""
        async with self._turn:
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    connection = self._connections.get(node_id)
                    if connection is None:
                        connection = await KafkaClient.connect(KAFKA_PORT, address_of(node_id))
                        self._connections[node_id] = connection
                    return await connection.ask(message, version)
            except BaseException:
                self._hang_up(node_id)
                raise

    def _hang_up(self, node_id: int) -> None:
        connection = self._connections.pop(node_id, None)
        if connection is not None:
            connection.writer.transport.abort()

    def anybody(self) -> int:
        return self._dice.randint(1, self.nodes)

    async def pause(self, low_s: float = 0.05, high_s: float = 0.3) -> None:
        await asyncio.sleep(self._dice.uniform(low_s, high_s))

    async def leader(self, topic: str, partition: int) -> int:
        """Who leads, as somebody says; an answer is believed until it proves wrong."""
        known = self._leaders.get((topic, partition))
        if known is not None:
            return known
        wanted = [metadata.MetadataRequestTopic(name=topic)]
        request = metadata.MetadataRequest(topics=wanted, allow_auto_topic_creation=False)
        response = await self.ask(self.anybody(), request, 5)
        for found in response.topics:
            for each in found.partitions:
                if each.leader_id > 0:
                    self._leaders[topic, each.partition_index] = each.leader_id
        if (topic, partition) not in self._leaders:
            raise Refused(f"nobody leads {topic}-{partition}")
        return self._leaders[topic, partition]

    def forget(self, topic: str, partition: int) -> None:
        self._leaders.pop((topic, partition), None)


class Producer(Client):
    """One record after the other, to any partition of its topic. The idempotent ones are "idem"."""

    topic = TOPIC

    def __init__(self, cluster: Cluster, history: History, nodes: int, name: str) -> None:
        super().__init__(cluster, history, nodes, name)
        self.acked_us = -1
        """When the youngest acknowledged record was made."""
        self._is_idempotent = name.startswith("idem")
        self._producer_id = -1
        self._sequences = dict.fromkeys(range(self.partitions), 0)
        self._made = 0

    @property
    def partitions(self) -> int:
        return self.cluster.options.partitions

    def key(self) -> bytes | None:
        return None

    async def run(self) -> None:
        while self._is_idempotent and self._producer_id < 0:
            await self._init()
        while not self.is_stopped:
            await self._produce()
            think_us = self.cluster.options.think_us
            await asyncio.sleep(self._dice.randint(1_000, 2 * think_us) / 1_000_000)

    async def _init(self) -> None:
        try:
            request = init_producer_id.InitProducerIdRequest(transaction_timeout_ms=60_000)
            response = await self.ask(self.anybody(), request, 1)
        except TROUBLE:
            await self.pause()
            return
        if response.error_code:
            await self.pause()
        else:
            self._producer_id = response.producer_id

    async def _produce(self) -> None:
        partition = self._dice.randrange(self.partitions)
        key = self.key()
        made_us = self.cluster.scheduler.now_us
        padding = bytes(self.cluster.options.record_bytes).replace(b"\0", b".")
        value = f"{self.name}-{self._made}:".encode() + padding
        self._made += 1
        self.history.was_sent(value, key)
        while True:
            offset = await self._try(partition, Record(key, value))
            if offset is not None:
                break
            if self.is_stopped or not self._is_idempotent:
                self.cluster.seen["unknown fate"] += 1
                return
            await self.pause()
        self._sequences[partition] += 1
        self.history.was_acked((self.topic, partition, offset), value, key)
        self.acked_us = max(self.acked_us, made_us)

    async def _try(self, partition: int, record: Record) -> int | None:
        """The offset; None: it may or may not be there."""
        content = batch.build(
            [record],
            timestamp_ms=EPOCH_MS + self.cluster.scheduler.now_us // 1_000,
            producer_id=self._producer_id,
            producer_epoch=0 if self._is_idempotent else -1,
            base_sequence=self._sequences[partition] if self._is_idempotent else -1,
        )
        try:
            leader = await self.leader(self.topic, partition)
            request = produce_request(self.topic, content, partition=partition)
            response = await self.ask(leader, request, 7)
        except (*TROUBLE, Refused):
            self.forget(self.topic, partition)
            return None
        answer = response.responses[0].partition_responses[0]
        if answer.error_code:
            self.cluster.seen[f"produce: {ErrorCode(answer.error_code).name}"] += 1
            self.forget(self.topic, partition)
            return None
        offset: int = answer.base_offset
        return offset


class KeyedProducer(Producer):
    """Overwrites the few keys of the compacted topic."""

    topic = COMPACTED
    partitions = 1

    def key(self) -> bytes | None:
        return b"key-%d" % self._dice.randrange(_KEYS)


class Fetched(NamedTuple):
    """Records with their offsets, and where to go on: batches may have been emptied."""

    records: list[tuple[int, bytes]]
    next_offset: int


class Reader(Client):
    """Reads records of a partition from some offset on."""

    async def fetch(self, partition: int, offset: int, topic: str = TOPIC) -> Fetched | None:
        """What comes next; None when somebody else is to be asked."""
        try:
            leader = await self.leader(topic, partition)
            request = fetch_request(topic, offset, partition, max_wait_ms=200)
            response = await self.ask(leader, request, 5)
        except (*TROUBLE, Refused):
            self.forget(topic, partition)
            return None
        answer = response.responses[0].partitions[0]
        if answer.error_code:
            self.cluster.seen[f"fetch: {ErrorCode(answer.error_code).name}"] += 1
            self.forget(topic, partition)
            return None
        found: list[tuple[int, bytes]] = []
        next_offset = offset
        data = memoryview(bytes(answer.records or b""))
        for at, header in batch.headers(data):
            next_offset = header.next_offset
            for record in batch.records(data, at):
                place = header.base_offset + record.offset_delta
                if place >= offset:
                    assert record.value is not None
                    self.history.was_read((topic, partition, place), bytes(record.value))
                    found.append((place, bytes(record.value)))
        return Fetched(found, next_offset)

    async def earliest(self, partition: int) -> int | None:
        """Where a partition of `TOPIC` begins now; None when somebody else is to be asked."""
        asked = list_offsets.ListOffsetsPartition(partition_index=partition, timestamp=-2)
        topics = [list_offsets.ListOffsetsTopic(name=TOPIC, partitions=[asked])]
        try:
            leader = await self.leader(TOPIC, partition)
            request = list_offsets.ListOffsetsRequest(replica_id=-1, topics=topics)
            response = await self.ask(leader, request, 5)
            must_be_fine(answer := response.topics[0].partitions[0])
        except (*TROUBLE, Refused):
            self.forget(TOPIC, partition)
            return None
        offset: int = answer.offset
        return offset


def must_be_fine(response: Any) -> None:
    if response.error_code:
        raise Refused(ErrorCode(response.error_code).name)
