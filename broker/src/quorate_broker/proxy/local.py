"""The proxy inside a broker: batches are built here and appended through the node.

Any broker takes any record: the node appends where it leads and forwards elsewhere. Batches for
different partitions go out together, those for one partition one after the other, and when one
fails the later ones for that partition are not tried: a partition keeps the order of the request.
A partition that loses its leader is asked again until the time-out, as a Kafka client would, which
may write a record twice, as a Kafka client without idempotence may.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence

from quorate_broker.api.context import Context
from quorate_broker.cluster.image import Topic
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.proxy.partitioner import Turns
from quorate_broker.proxy.port import Placed, ProxyRecord
from quorate_broker.wire import batch

Append = Callable[[uuid.UUID, int, bytearray, int], Awaitable[int]]
"""(topic id, partition, one batch, time-out in ms) -> base offset, once a majority has it."""

RETRY_SECONDS = 0.05
RETRIED = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.KAFKA_STORAGE_ERROR,  # of that leader; there will be another one
        ErrorCode.NOT_CONTROLLER,  # the broker it was forwarded to is still starting
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.REQUEST_TIMED_OUT,  # before our own time is over: the leader was lost
    }
)
"""Worth another try within the time-out."""
RECORD_OVERHEAD_BYTES = 32
"""At most what the format adds to a record without headers."""


class LocalPort:
    """`port.ProxyPort` over the node's own context."""

    def __init__(self, context: Context, append: Append) -> None:
        self._context = context
        self._append = append
        self._turns = Turns(context.me)

    @property
    def ready(self) -> bool:
        return self._context.controller_id >= 0

    async def topics(self) -> list[str]:
        topics = self._context.image.topics.values()
        return sorted(topic.name for topic in topics if not topic.internal)

    async def brokers(self) -> list[int]:
        return sorted(self._context.live_brokers)

    async def produce(self, topic: str, records: Sequence[ProxyRecord]) -> list[Placed]:
        found = self._context.image.topics.get(topic)
        if found is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"no topic {topic}")
        if found.internal:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"{topic} is internal")
        count = len(found.partitions)
        available = [
            index for index in range(count) if self._context.leader(found.id, index).leader_id >= 0
        ]
        places = self._turns.spread(records, count, available)
        placed: list[Placed | None] = [None] * len(records)
        async with asyncio.TaskGroup() as group:
            for partition in sorted(set(places)):
                mine = [i for i, place in enumerate(places) if place == partition]
                group.create_task(self._fill(found, partition, mine, records, placed))
        assert None not in placed, "every record has an answer"
        return [one for one in placed if one is not None]

    async def _fill(
        self,
        topic: Topic,
        partition: int,
        mine: list[int],
        records: Sequence[ProxyRecord],
        placed: list[Placed | None],
    ) -> None:
        """Append the records `mine` to one partition, noting where each went."""
        error = ErrorCode.NONE
        if partition >= len(topic.partitions):
            error = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        for chunk in _chunks(mine, records, self._max_batch_bytes(topic)):
            base = -1
            if error is ErrorCode.NONE:
                try:
                    base = await self._write(topic, partition, [records[i] for i in chunk])
                except KafkaError as failed:
                    error = failed.code
            for position, i in enumerate(chunk):
                offset = base + position if error is ErrorCode.NONE else -1
                placed[i] = Placed(partition, offset, error)

    async def _write(self, topic: Topic, partition: int, records: Sequence[ProxyRecord]) -> int:
        timeout_ms = self._context.settings.proxy_produce_timeout_ms
        built = batch.build(
            [
                batch.Record(record.key, record.value, offset_delta=i)
                for i, record in enumerate(records)
            ],
            timestamp_ms=self._context.clock.wall_ms(),
        )
        if len(built) > self._max_batch_bytes(topic):
            raise KafkaError(ErrorCode.MESSAGE_TOO_LARGE, f"a batch of {len(built)} bytes")
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while True:
                    try:
                        return await self._append(topic.id, partition, built, timeout_ms)
                    except KafkaError as error:
                        if error.code not in RETRIED:
                            raise
                    await asyncio.sleep(RETRY_SECONDS)
        except TimeoutError:
            raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, "no leader acknowledged it") from None

    def _max_batch_bytes(self, topic: Topic) -> int:
        settings = self._context.settings
        return int(topic.config.get("max.message.bytes", settings.message_max_bytes))


def _chunks(
    mine: Sequence[int], records: Sequence[ProxyRecord], max_bytes: int
) -> Iterator[list[int]]:
    """Runs of records that fit into one batch; one that fits into none stands alone."""
    chunk: list[int] = []
    size = batch.HEADER_SIZE
    for i in mine:
        needed = records[i].size + RECORD_OVERHEAD_BYTES
        if chunk and size + needed > max_bytes:
            yield chunk
            chunk, size = [], batch.HEADER_SIZE
        chunk.append(i)
        size += needed
    if chunk:
        yield chunk
