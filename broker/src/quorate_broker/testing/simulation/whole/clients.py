"""Clients of whole brokers: they speak Kafka's protocol over simulated connections.

Small on purpose: a bootstrap list, one connection per broker, metadata when something went wrong.
An idempotent producer repeats until it is answered, a plain one gives a batch up. A member of a
group joins, reads from the committed offsets on, commits, and joins again when it is told to.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

from quorate_broker.errors import ErrorCode
from quorate_broker.testing.kafka_client import KafkaClient, fetch_request, produce_request
from quorate_broker.testing.simulation.clock import EPOCH_MS
from quorate_broker.testing.simulation.whole.cluster import Cluster
from quorate_broker.testing.simulation.whole.history import History
from quorate_broker.testing.simulation.whole.machine import KAFKA_PORT, address_of
from quorate_broker.wire import batch
from quorate_broker.wire.batch import Record
from quorate_broker.wire.messages import (
    alter_partition_reassignments,
    create_topics,
    delete_topics,
    find_coordinator,
    heartbeat,
    init_producer_id,
    join_group,
    metadata,
    offset_commit,
    offset_fetch,
    sync_group,
)

TOPIC = "t"
GROUP = "g"
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
        self._leaders: dict[tuple[str, int], int] = {}
        self._dice = random.Random(cluster.dice.getrandbits(64))

    async def ask(self, node_id: int, message: object, version: int) -> Any:
        """One request; any trouble closes the connection."""
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
    """One record after the other, to any partition."""

    def __init__(
        self, cluster: Cluster, history: History, nodes: int, name: str, partitions: int
    ) -> None:
        super().__init__(cluster, history, nodes, name)
        self.acked_us = -1
        """When the youngest acknowledged record was made."""
        self._is_idempotent = name.startswith("idem")
        self._partitions = partitions
        self._producer_id = -1
        self._sequences = dict.fromkeys(range(partitions), 0)
        self._made = 0

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
        partition = self._dice.randrange(self._partitions)
        made_us = self.cluster.scheduler.now_us
        padding = bytes(self.cluster.options.record_bytes).replace(b"\0", b".")
        value = f"{self.name}-{self._made}:".encode() + padding
        self._made += 1
        self.history.was_sent(value)
        while True:
            offset = await self._try(partition, value)
            if offset is not None:
                break
            if self.is_stopped or not self._is_idempotent:
                self.cluster.seen["unknown fate"] += 1
                return
            await self.pause()
        self._sequences[partition] += 1
        self.history.was_acked((TOPIC, partition, offset), value)
        self.acked_us = max(self.acked_us, made_us)

    async def _try(self, partition: int, value: bytes) -> int | None:
        """The offset; None: it may or may not be there."""
        content = batch.build(
            [Record(None, value)],
            timestamp_ms=EPOCH_MS + self.cluster.scheduler.now_us // 1_000,
            producer_id=self._producer_id,
            producer_epoch=0 if self._is_idempotent else -1,
            base_sequence=self._sequences[partition] if self._is_idempotent else -1,
        )
        try:
            leader = await self.leader(TOPIC, partition)
            response = await self.ask(
                leader, produce_request(TOPIC, content, partition=partition), 7
            )
        except (*TROUBLE, Refused):
            self.forget(TOPIC, partition)
            return None
        answer = response.responses[0].partition_responses[0]
        if answer.error_code:
            self.cluster.seen[f"produce: {ErrorCode(answer.error_code).name}"] += 1
            self.forget(TOPIC, partition)
            return None
        offset: int = answer.base_offset
        return offset


class Reader(Client):
    """Reads records of a partition from some offset on."""

    async def fetch(self, partition: int, offset: int) -> list[tuple[int, bytes]] | None:
        """What comes next; None when somebody else is to be asked."""
        try:
            leader = await self.leader(TOPIC, partition)
            request = fetch_request(TOPIC, offset, partition, max_wait_ms=200)
            response = await self.ask(leader, request, 5)
        except (*TROUBLE, Refused):
            self.forget(TOPIC, partition)
            return None
        answer = response.responses[0].partitions[0]
        if answer.error_code:
            self.cluster.seen[f"fetch: {ErrorCode(answer.error_code).name}"] += 1
            self.forget(TOPIC, partition)
            return None
        found: list[tuple[int, bytes]] = []
        data = memoryview(bytes(answer.records or b""))
        for at, header in batch.headers(data):
            for record in batch.records(data, at):
                place = header.base_offset + record.offset_delta
                if place >= offset:
                    assert record.value is not None
                    self.history.was_read((TOPIC, partition, place), bytes(record.value))
                    found.append((place, bytes(record.value)))
        return found


class Member(Reader):
    """One member of the group."""

    async def run(self) -> None:
        while not self.is_stopped:
            try:
                await self._belong()
            except (*TROUBLE, Refused):
                pass
            await self.pause()

    async def _belong(self) -> None:
        """From joining to being told to join again."""
        coordinator = await self._coordinator()
        joined = await self.ask(coordinator, _join(self.name), 3)
        _must_be_fine(joined)
        assignments = []
        if joined.leader == joined.member_id:
            names = [member.member_id for member in joined.members]
            assignments = _divide(names, self.cluster.options.partitions)
        synced = await self.ask(
            coordinator,
            sync_group.SyncGroupRequest(
                group_id=GROUP,
                generation_id=joined.generation_id,
                member_id=joined.member_id,
                assignments=assignments,
            ),
            2,
        )
        _must_be_fine(synced)
        mine: list[int] = json.loads(bytes(synced.assignment) or b"[]")
        self.cluster.seen["joined a group"] += 1
        positions = await self._positions(coordinator, mine)
        while not self.is_stopped:
            for partition in mine:
                found = await self.fetch(partition, positions[partition])
                if found:
                    self._no_hole(partition, positions[partition], found)
                    positions[partition] = found[-1][0] + 1
            await self._commit(coordinator, joined, positions)
            beat = heartbeat.HeartbeatRequest(
                group_id=GROUP, generation_id=joined.generation_id, member_id=joined.member_id
            )
            _must_be_fine(await self.ask(coordinator, beat, 2))
            await self.pause()

    def _no_hole(self, partition: int, position: int, found: list[tuple[int, bytes]]) -> None:
        expected = range(position, position + len(found))
        got = [offset for offset, _ in found]
        if got != list(expected):
            raise AssertionError(f"B: a hole in partition {partition} at {position}: {got}")

    async def _coordinator(self) -> int:
        request = find_coordinator.FindCoordinatorRequest(key=GROUP)
        found = await self.ask(self.anybody(), request, 2)
        _must_be_fine(found)
        node_id: int = found.node_id
        return node_id

    async def _positions(self, coordinator: int, mine: list[int]) -> dict[int, int]:
        before = self.history.commits()
        topics = [offset_fetch.OffsetFetchRequestTopic(name=TOPIC, partition_indexes=mine)]
        request = offset_fetch.OffsetFetchRequest(group_id=GROUP, topics=topics)
        response = await self.ask(coordinator, request, 5)
        _must_be_fine(response)
        positions = dict.fromkeys(mine, 0)
        for topic in response.topics:
            for found in topic.partitions:
                _must_be_fine(found)
                self.history.was_fetched(
                    GROUP, found.partition_index, found.committed_offset, before
                )
                positions[found.partition_index] = max(0, found.committed_offset)
        return positions

    async def _commit(self, coordinator: int, joined: Any, positions: dict[int, int]) -> None:
        if not positions:
            return
        wanted = dict(positions)
        partitions = [
            offset_commit.OffsetCommitRequestPartition(partition_index=index, committed_offset=at)
            for index, at in wanted.items()
        ]
        request = offset_commit.OffsetCommitRequest(
            group_id=GROUP,
            generation_id_or_member_epoch=joined.generation_id,
            member_id=joined.member_id,
            topics=[offset_commit.OffsetCommitRequestTopic(name=TOPIC, partitions=partitions)],
        )
        response = await self.ask(coordinator, request, 5)
        for topic in response.topics:
            for answer in topic.partitions:
                _must_be_fine(answer)
                index = answer.partition_index
                self.history.was_committed(GROUP, index, wanted[index])
                self.cluster.seen["offset committed"] += 1


class Admin(Client):
    """Makes the topic; later it makes and deletes others, and moves partitions about."""

    async def make(self, name: str, partitions: int, replicas: int) -> None:
        """However long it takes."""
        topic = create_topics.CreatableTopic(
            name=name, num_partitions=partitions, replication_factor=replicas
        )
        fine = (0, ErrorCode.TOPIC_ALREADY_EXISTS)
        while True:
            try:
                request = create_topics.CreateTopicsRequest(topics=[topic], timeout_ms=2_000)
                response = await self.ask(self.anybody(), request, 4)
            except TROUBLE:
                await self.pause()
                continue
            if response.topics[0].error_code in fine:
                return
            await self.pause()

    @property
    def _replicas(self) -> int:
        """Two would not outlive the loss of one's disk, and that may be on its way."""
        least = self.cluster.options.nodes if self.cluster.options.wipe else 1
        return min(3, max(self.nodes, least))

    async def meddle(self, number: int) -> None:
        """One thing or the other, once; whether it is done or not."""
        try:
            match number % 3:
                case 0:
                    async with asyncio.timeout(5):
                        await self.make(f"scratch-{number}", 1, self._replicas)
                case 1:
                    request = delete_topics.DeleteTopicsRequest(
                        topic_names=[f"scratch-{number - 1}"], timeout_ms=2_000
                    )
                    await self.ask(self.anybody(), request, 3)
                case _:
                    await self._reassign()
        except (*TROUBLE, Refused):
            self.cluster.seen["admin in vain"] += 1
        else:
            self.cluster.seen["admin"] += 1

    async def _reassign(self) -> None:
        """To as many brokers as before, but others, or in another order."""
        count = min(3, self.nodes)
        replicas = self._dice.sample(range(1, self.nodes + 1), count)
        partition = alter_partition_reassignments.ReassignablePartition(
            partition_index=self._dice.randrange(self.cluster.options.partitions),
            replicas=replicas,
        )
        request = alter_partition_reassignments.AlterPartitionReassignmentsRequest(
            timeout_ms=2_000,
            topics=[
                alter_partition_reassignments.ReassignableTopic(name=TOPIC, partitions=[partition])
            ],
        )
        response = await self.ask(self.anybody(), request, 0)
        if not response.error_code:
            self.cluster.seen["reassigned"] += 1
            self.cluster.trace(f"{TOPIC}-{partition.partition_index} is to move to {replicas}")


def _must_be_fine(response: Any) -> None:
    if response.error_code:
        raise Refused(ErrorCode(response.error_code).name)


def _join(name: str) -> join_group.JoinGroupRequest:
    protocol = join_group.JoinGroupRequestProtocol(name="simple", metadata=name.encode())
    return join_group.JoinGroupRequest(
        group_id=GROUP,
        session_timeout_ms=6_000,
        rebalance_timeout_ms=2_000,
        member_id="",
        protocol_type="consumer",
        protocols=[protocol],
    )


def _divide(members: list[str], partitions: int) -> list[sync_group.SyncGroupRequestAssignment]:
    return [
        sync_group.SyncGroupRequestAssignment(
            member_id=member,
            assignment=json.dumps(list(range(partitions))[number :: len(members)]).encode(),
        )
        for number, member in enumerate(sorted(members))
    ]
