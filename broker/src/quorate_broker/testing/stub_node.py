"""A node in the place of the real one: partitions in memory, metadata at the word of a test.

`StubNode` implements `api.context.Context`, `MemoryPartition` implements `PartitionView`. Nothing
is replicated and nothing moves by itself: commits happen at once unless a test holds them back,
and time stands still unless a test moves it. The metadata machine is the real one.
Next: `kafka_client`, which speaks to a server that stands on this.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from quorate_broker import config, seams
from quorate_broker.api import dispatch
from quorate_broker.api.context import Appended, Call, Leadership, Pending
from quorate_broker.api.principal import AllowAll, Authorizer
from quorate_broker.cluster import commands, machine, records
from quorate_broker.cluster.image import Image
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire import batch
from quorate_broker.wire.apis import BY_REQUEST

LISTENER = "PLAINTEXT"


@dataclass(slots=True)
class StubClock:
    """Moves when a test says so."""

    now_ms: int = 1_000_000

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms


@dataclass(frozen=True, slots=True)
class _Appended:
    base_offset: int
    log_append_time_ms: int = -1
    start_offset: int = 0


@dataclass(slots=True)
class MemoryPartition:
    """A list of batches that behaves like the leader of a partition with one replica."""

    is_leader: bool = True
    leader_epoch: int = 1
    leader_id: int = 1
    high_watermark: int = 0
    start_offset: int = 0
    next_offset: int = 0
    batches: list[memoryview] = field(default_factory=list)
    hold_commits: bool = False
    """Appends with acks=all wait until `commit` is called."""
    refuse: KafkaError | None = None
    """Raised by the next append."""
    epochs: dict[int, int] = field(default_factory=dict)
    """Epoch -> its end offset."""
    is_cold: bool = False
    """Reads wait until `warming` is done."""
    warming: asyncio.Future[None] | None = None
    reads: int = 0
    appends: int = 0
    refusals: int = 0
    """Of which it was told."""
    rounds: int = 0
    waiters: list[Callable[[], None]] = field(default_factory=list)
    _held: list[tuple[asyncio.Future[Appended], _Appended]] = field(default_factory=list)

    def append(
        self, batch_: memoryview, header: batch.BatchHeader, acks: int, timeout_ms: int
    ) -> Awaitable[Appended]:
        if self.refuse is not None:
            raise self.refuse
        self.appends += 1
        appended = _Appended(self.next_offset, start_offset=self.start_offset)
        batch.stamp(batch_, self.next_offset, self.leader_epoch)
        self.batches.append(batch_)
        self.next_offset += header.last_offset_delta + 1
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        if self.hold_commits:
            if acks == -1:
                self._held.append((future, appended))
                return future
        else:
            self._commit_all()
        future.set_result(appended)
        return future

    def refused(self) -> None:
        self.refusals += 1

    def commit(self) -> None:
        """Commit everything appended so far."""
        self._commit_all()
        for future, appended in self._held:
            future.set_result(appended)
        self._held.clear()

    def fail_held(self, error: Exception) -> None:
        """Let everything that waits for a commit fail."""
        for future, _ in self._held:
            future.set_exception(error)
        self._held.clear()

    def moved(self) -> None:
        """Tell the waiters."""
        for waiter in list(self.waiters):
            waiter()

    def warm(self, offset: int, max_bytes: int) -> asyncio.Future[None] | None:
        if self.is_cold:
            self.warming = asyncio.get_running_loop().create_future()
            return self.warming
        return None

    def read(self, offset: int, max_bytes: int, committed: bool = True) -> list[memoryview]:
        self.reads += 1
        if not self.start_offset <= offset <= self.next_offset:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
        end = self.high_watermark if committed else self.next_offset
        found: list[memoryview] = []
        size = 0
        for one in self.batches:
            header = batch.parse_header(one)
            if header.last_offset < offset or header.base_offset >= end:
                continue
            if found and size + len(one) > max_bytes:
                break
            found.append(one)
            size += len(one)
        return found

    def confirm(self) -> asyncio.Future[None]:
        """As `refuse` says: there is nobody else to ask."""
        self.rounds += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.refuse is None:
            future.set_result(None)
        else:
            future.set_exception(self.refuse)
        return future

    async def move_start(self, offset: int) -> Appended:
        if self.refuse is not None:
            raise self.refuse
        self.start_offset = max(self.start_offset, offset)
        return _Appended(self.start_offset, start_offset=self.start_offset)

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.batches))

    def add_waiter(self, callback: Callable[[], None]) -> None:
        self.waiters.append(callback)

    def remove_waiter(self, callback: Callable[[], None]) -> None:
        self.waiters.remove(callback)

    def offset_for_time(self, timestamp_ms: int) -> tuple[int, int] | None:
        for one in self.batches:
            header = batch.parse_header(one)
            for record in batch.records(one):
                at_ms = header.base_timestamp + record.timestamp_delta
                if at_ms >= timestamp_ms:
                    return header.base_offset + record.offset_delta, at_ms
        return None

    def max_timestamp(self) -> tuple[int, int] | None:
        times = [
            (header.base_timestamp + record.timestamp_delta, header.base_offset + i)
            for one in self.batches
            for header in [batch.parse_header(one)]
            for i, record in enumerate(batch.records(one))
        ]
        if not times:
            return None
        latest_ms, offset = max(times, key=lambda pair: (pair[0], -pair[1]))
        return offset, latest_ms

    def end_offset_of_epoch(self, epoch: int) -> tuple[int, int]:
        known = [one for one in self.epochs if one <= epoch]
        return (max(known), self.epochs[max(known)]) if known else (-1, -1)

    def _commit_all(self) -> None:
        self.high_watermark = self.next_offset
        self.moved()


class StubNode:
    """`Context` of broker 1 in a cluster of `brokers`, which leads everything."""

    def __init__(self, brokers: int = 1, **settings: Any) -> None:
        self.settings = config.Settings(**settings)
        self.live = config.Live(self.settings)
        self.clock = StubClock()
        self.authorizer: Authorizer = AllowAll()
        self.me = 1
        self.controller_id = 1
        self.live_brokers = frozenset(range(1, brokers + 1))
        self.partitions: dict[tuple[uuid.UUID, int], MemoryPartition] = {}
        self.leaders: dict[tuple[uuid.UUID, int], Leadership] = {}
        self.unreachable: KafkaError | None = None
        """Raised for every command to the metadata leader."""
        self.hold_leaders = False
        """New partitions have no leader until `lead_all` is called."""
        self.commands: list[object] = []
        self._next_producer_id = 1000
        self._machine = machine.ClusterMachine(
            machine.Defaults(self.settings.num_partitions, 1), _topic_ids()
        )
        self._form(brokers)

    @property
    def image(self) -> Image:
        return self._machine.image

    def partition(self, topic_id: uuid.UUID, index: int) -> MemoryPartition | None:
        return self.partitions.get((topic_id, index))

    def leader(self, topic_id: uuid.UUID, index: int) -> Leadership:
        return self.leaders.get((topic_id, index), Leadership())

    def decide(self, command: object) -> Any:
        """The machine's reply, its records applied at once."""
        outcome = self._machine.handle(0, command, self.clock.monotonic_ms())
        for record in outcome.records:
            self._machine.replay(record, 0)
        set_ = self.image.settings
        self.live.hear(config.Said(self.image.settings_version, set_.get(0, {}), set_.get(1, {})))
        self._host()
        ((_, reply),) = outcome.replies
        return reply

    async def controller(self, command: object) -> Any:
        self.commands.append(command)
        if self.unreachable is not None:
            raise self.unreachable
        return self.decide(command)

    async def coordinate(self, group_id: str, command: object) -> Any:
        raise KafkaError(ErrorCode.NOT_COORDINATOR)

    async def coordinate_all(self, command: object) -> list[Any]:
        return []

    async def ensure_internal_topic(self) -> None:
        new = commands.NewTopic("__consumer_offsets", 1, internal=True)
        await self.controller(commands.CreateTopics((new,)))

    async def new_producer_id(self) -> int:
        if self.unreachable is not None:
            raise self.unreachable
        self._next_producer_id += 1
        return self._next_producer_id

    async def transfer_leadership(self, topic_id: uuid.UUID, index: int, target: int) -> None:
        if self.unreachable is not None:
            raise self.unreachable
        lead = self.leaders[topic_id, index]
        self.leaders[topic_id, index] = Leadership(target, lead.epoch + 1, lead.isr)

    def disk_space(self) -> tuple[int, int]:
        return 3_000, 10_000

    def topic(
        self, name: str, partitions: int = 1, replicas: int = 1, **topic_config: str
    ) -> list[MemoryPartition]:
        """Make a topic; its partitions."""
        own = {key.replace("_", "."): value for key, value in topic_config.items()}
        new = commands.NewTopic(name, partitions, replicas, config=own)
        (result,) = self.decide(commands.CreateTopics((new,))).results
        assert result.code == 0, result
        topic_id = self.image.topics[name].id
        return [self.partitions[topic_id, index] for index in range(partitions)]

    def _form(self, brokers: int) -> None:
        members = tuple(records.Member(i, f"incarnation-{i}") for i in range(1, brokers + 1))
        self.decide(commands.FormCluster("stub-cluster", members))
        for member in members:
            endpoint = records.Endpoint(LISTENER, f"broker-{member.node_id}.test", 9092)
            self.decide(
                commands.RegisterBroker(
                    member.node_id,
                    member.incarnation,
                    "127.0.0.1",
                    1,
                    (endpoint,),
                    None,
                    "test",
                    records.FEATURE_LEVEL,
                )
            )

    def lead_all(self) -> None:
        """This node leads every partition that it hosts."""
        for (topic_id, index), partition in self.partitions.items():
            self._lead(topic_id, index, partition)

    def _lead(self, topic_id: uuid.UUID, index: int, partition: MemoryPartition) -> None:
        partition.is_leader = True
        replicas = self.image.topics_by_id[topic_id].partitions[index].replicas
        self.leaders[topic_id, index] = Leadership(1, 1, replicas)

    def _host(self) -> None:
        """Have what the image says, and nothing else."""
        wanted = {
            (topic.id, one.index)
            for topic in self.image.topics.values()
            for one in topic.partitions
        }
        for gone in self.partitions.keys() - wanted:
            del self.partitions[gone]
        for topic_id, index in sorted(wanted - self.partitions.keys()):
            partition = MemoryPartition(is_leader=False)
            self.partitions[topic_id, index] = partition
            if not self.hold_leaders:
                self._lead(topic_id, index, partition)


async def ask(node: StubNode, request: object, version: int, **call: Any) -> Any:
    """What the API answers, without a connection."""
    route = dispatch.ROUTES[BY_REQUEST[type(request)].key]
    answer = route.handle(node, Call(version, **({"listener": LISTENER} | call)), request)
    if isinstance(answer, Pending):
        if answer.futures:
            await asyncio.wait(answer.futures)
        return answer.finish()
    return await answer if asyncio.iscoroutine(answer) else answer


def _topic_ids() -> Callable[[], uuid.UUID]:
    source = random.Random(1)
    return lambda: seams.new_uuid(source)
