"""A bare Kafka client for tests: raw frames over one connection, one message at a time or many.

It is no client library: no retries, no metadata, no versions chosen. It sends what a test says,
also what no client would send. Next: `stub_node`, what it usually speaks to.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

from quorate_broker import config
from quorate_broker.net import server
from quorate_broker.net.limits import Limits
from quorate_broker.testing.stub_node import LISTENER, StubNode
from quorate_broker.wire import batch, frames
from quorate_broker.wire.apis import BY_REQUEST
from quorate_broker.wire.messages import fetch, produce

_SIZE = struct.Struct(">i")


@contextlib.asynccontextmanager
async def serving(node: StubNode, limits: Limits | None = None) -> AsyncIterator[server.Server]:
    """A server on a port that the system chose."""
    listener = config.Listener(LISTENER, "127.0.0.1", 0, "none")
    async with asyncio.TaskGroup() as tasks:
        opened = await server.serve(node, listener, limits or Limits(close_grace_ms=100), tasks)
        try:
            yield opened
        finally:
            await opened.close()


class KafkaClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._next_id = 1
        self._sent: list[tuple[int, int, int]] = []  # (correlation id, api key, version)

    @classmethod
    async def connect(cls, port: int, host: str = "127.0.0.1") -> KafkaClient:
        return cls(*await asyncio.open_connection(host, port, limit=1 << 27))

    def send(self, message: object, version: int, *, reply: bool = True) -> bytes:
        """Put a request on its way; its bytes."""
        data = self.encoded(message, version, reply=reply)
        self.writer.write(data)
        return data

    def encoded(self, message: object, version: int, *, reply: bool = True) -> bytes:
        """The request as bytes, for a test that sends them itself."""
        correlation_id = self._next_id
        self._next_id += 1
        if reply:
            self._sent.append((correlation_id, BY_REQUEST[type(message)].key, version))
        return b"".join(frames.encode_request(message, version, correlation_id, "test"))

    async def receive(self) -> Any:
        """The response to the oldest request that has none yet; asserts that it is that one's."""
        correlation_id, api_key, version = self._sent.pop(0)
        got, message = frames.decode_response(api_key, version, memoryview(await self.frame()))
        assert got == correlation_id, "responses come in the order of the requests"
        return message

    async def ask(self, message: object, version: int) -> Any:
        """Send one request and wait for its response."""
        self.send(message, version)
        return await self.receive()

    async def frame(self) -> bytes:
        """One whole response without its size."""
        (size,) = _SIZE.unpack(await self.reader.readexactly(_SIZE.size))
        return await self.reader.readexactly(size)

    async def closed(self) -> bool:
        """Wait for the other side to hang up; False when it sends something instead."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):  # it may have been closed from the other side
            await self.writer.wait_closed()


def produce_request(
    topic: str, *batches: bytes | bytearray, acks: int = -1, partition: int = 0
) -> produce.ProduceRequest:
    """A Produce with one batch for each of the partitions from `partition` on."""
    data = [
        produce.PartitionProduceData(index=partition + i, records=one)
        for i, one in enumerate(batches)
    ]
    return produce.ProduceRequest(
        acks=acks,
        timeout_ms=10_000,
        topic_data=[produce.TopicProduceData(name=topic, partition_data=data)],
    )


def fetch_request(
    topic: str, offset: int = 0, partition: int = 0, max_wait_ms: int = 0, max_bytes: int = 1 << 20
) -> fetch.FetchRequest:
    """A Fetch of one partition that wants at least a byte."""
    one = fetch.FetchPartition(
        partition=partition, fetch_offset=offset, partition_max_bytes=1 << 20
    )
    return fetch.FetchRequest(
        replica_id=-1,
        max_wait_ms=max_wait_ms,
        min_bytes=1,
        max_bytes=max_bytes,
        topics=[fetch.FetchTopic(topic=topic, partitions=[one])],
    )


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds, ten seconds at most."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event, it is a state
            await asyncio.sleep(0.001)


def some_batch(*values: bytes, timestamp_ms: int = 1_000) -> bytearray:
    """A batch with a record for each value."""
    records = [batch.Record(None, value) for value in values or (b"value",)]
    return batch.build(records, timestamp_ms=timestamp_ms)
