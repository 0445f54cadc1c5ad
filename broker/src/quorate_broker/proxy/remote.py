"""The proxy inside a flanking node: aiokafka speaks to the brokers as any client does.

Topics are never created on the way: the client is never told to follow a topic by name (that
would ask the brokers to create it), it follows all of them. What this node does not know is asked
for once more before it is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiokafka
from aiokafka import errors as client_errors
from aiokafka.cluster import ClusterMetadata

from quorate_broker import config
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.proxy.partitioner import Turns
from quorate_broker.proxy.port import Placed, ProxyRecord

METADATA_MAX_AGE_MS = 5_000
MAX_BATCH_BYTES = 64 * 1024


class RemotePort:
    """`port.ProxyPort` over one aiokafka producer, which is started when it is first needed."""

    def __init__(self, settings: config.Settings) -> None:
        self._settings = settings
        self._producer: aiokafka.AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._turns = Turns(settings.node_id)

    @property
    def ready(self) -> bool:
        """Whether brokers have been reached."""
        return self._producer is not None

    async def start(self) -> None:
        """Connect, if that was not done yet. KafkaError BROKER_NOT_AVAILABLE if nobody answers."""
        async with self._starting:
            if self._producer is not None:
                return
            timeout_ms = self._settings.proxy_produce_timeout_ms
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=list(self._settings.bootstrap_servers),
                client_id=f"quorate-flanking-{self._settings.node_id}",
                acks="all",
                linger_ms=0,
                max_batch_size=MAX_BATCH_BYTES,
                max_request_size=self._settings.message_max_bytes,
                metadata_max_age_ms=METADATA_MAX_AGE_MS,
                request_timeout_ms=timeout_ms,
                retry_backoff_ms=50,
            )
            try:
                await producer.start()
            except (client_errors.KafkaError, OSError) as error:
                await producer.stop()
                raise KafkaError(ErrorCode.BROKER_NOT_AVAILABLE, str(error)) from error
            except asyncio.CancelledError:
                await producer.stop()
                raise
            self._producer = producer

    async def stop(self) -> None:
        """Flush what is under way and disconnect."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await producer.stop()

    async def topics(self) -> list[str]:
        return sorted((await self._metadata()).topics(exclude_internal_topics=True))

    async def brokers(self) -> list[int]:
        return sorted(broker.nodeId for broker in (await self._metadata()).brokers())

    async def _metadata(self) -> ClusterMetadata:
        producer = await self._started()
        try:
            return await producer.client.fetch_all_metadata()
        except client_errors.KafkaError as error:
            raise KafkaError(ErrorCode.BROKER_NOT_AVAILABLE, str(error)) from error

    async def produce(self, topic: str, records: Sequence[ProxyRecord]) -> list[Placed]:
        producer = await self._started()
        cluster: ClusterMetadata = producer.client.cluster
        if topic not in cluster.topics():
            await producer.client.force_metadata_update()
        partitions = cluster.partitions_for_topic(topic)
        if not partitions:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"no topic {topic}")
        if topic in cluster.internal_topics:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"{topic} is internal")
        available = sorted(cluster.available_partitions_for_topic(topic) or ())
        places = self._turns.spread(records, len(partitions), available)
        waiting = [
            await _send(producer, topic, record, place) if place in partitions else UNKNOWN
            for record, place in zip(records, places, strict=True)
        ]
        return [await _placed(one, place) for one, place in zip(waiting, places, strict=True)]

    async def _started(self) -> aiokafka.AIOKafkaProducer:
        await self.start()
        assert self._producer is not None
        return self._producer


UNKNOWN = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
Waiting = asyncio.Future[object] | ErrorCode


async def _send(
    producer: aiokafka.AIOKafkaProducer, topic: str, record: ProxyRecord, partition: int
) -> Waiting:
    """Hand one record to the client; the error if it does not take it."""
    try:
        return await producer.send(  # type: ignore[no-any-return]  # aiokafka has no types
            topic, value=record.value, key=record.key, partition=partition
        )
    except client_errors.KafkaError as error:
        return code_of(error)


async def _placed(waiting: Waiting, partition: int) -> Placed:
    if isinstance(waiting, ErrorCode):
        return Placed(partition, -1, waiting)
    try:
        metadata = await waiting
    except client_errors.KafkaError as error:
        return Placed(partition, -1, code_of(error))
    return Placed(partition, metadata.offset)  # type: ignore[attr-defined]  # RecordMetadata


def code_of(error: client_errors.KafkaError) -> ErrorCode:
    """aiokafka's exception as Kafka's code; what never left this machine is a network error."""
    if isinstance(error, client_errors.KafkaTimeoutError):
        return ErrorCode.REQUEST_TIMED_OUT
    if isinstance(error, client_errors.BrokerResponseError):
        number = getattr(error, "errno", None)
        if isinstance(number, int) and number in {int(code) for code in ErrorCode}:
            return ErrorCode(number)
        return ErrorCode.UNKNOWN_SERVER_ERROR
    return ErrorCode.NETWORK_EXCEPTION
