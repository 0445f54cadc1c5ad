"""A listener as a whole: who gets in, who is swept out, how it closes."""

from __future__ import annotations

import asyncio
import dataclasses
import struct

from quorate_broker.net.connection import Connection
from quorate_broker.net.limits import Limits
from quorate_broker.net.server import Server
from quorate_broker.testing.kafka_client import (
    KafkaClient,
    fetch_request,
    produce_request,
    serving,
    some_batch,
    until,
)
from quorate_broker.testing.stub_node import StubClock, StubNode
from quorate_broker.wire.messages import metadata

# Sweeps run at a quarter of the shortest deadline of the real clock: every 5 ms here. What they
# judge by is the stub's clock, which only a test moves.
QUICK = Limits(
    max_frame_bytes=1 << 20,
    buffer_budget_bytes=1 << 21,
    max_idle_ms=20,
    frame_deadline_ms=20,
    close_grace_ms=100,
)


def node_and_clock() -> tuple[StubNode, StubClock]:
    node = StubNode()
    clock = StubClock()
    node.clock = clock
    return node, clock


def test_an_idle_connection_is_closed() -> None:
    async def run() -> None:
        node, clock = node_and_clock()
        async with serving(node, QUICK) as server:
            client = await KafkaClient.connect(server.port)
            await client.ask(metadata.MetadataRequest(), 9)
            await until(lambda: all(not one.active for one in server._connections))
            clock.now_ms += QUICK.max_idle_ms
            assert await client.closed()
            await client.close()

    asyncio.run(run())


def test_a_connection_that_waits_for_us_is_not_idle() -> None:
    async def run() -> None:
        node, clock = node_and_clock()
        (partition,) = node.topic("t")
        async with serving(node, QUICK) as server:
            client = await KafkaClient.connect(server.port)
            client.send(fetch_request("t", max_wait_ms=600_000), 12)
            await until(lambda: len(partition.waiters) == 1)
            (connection,) = await connections(server, 1)
            for _ in range(5):
                clock.now_ms += QUICK.max_idle_ms
                await until(lambda: connection.idle_since_ms == clock.now_ms)
            producer = await KafkaClient.connect(server.port)
            await producer.ask(produce_request("t", some_batch()), 9)
            fetched = (await client.receive()).responses[0].partitions[0]
            assert len(fetched.records) > 0
            await client.close()
            await producer.close()

    asyncio.run(run())


def test_a_frame_that_never_becomes_complete_is_given_up() -> None:
    async def run() -> None:
        node, clock = node_and_clock()
        async with serving(node, dataclasses.replace(QUICK, max_idle_ms=1_000_000)) as server:
            client = await KafkaClient.connect(server.port)
            client.writer.write(struct.pack(">i", 1000) + b"begun")
            (connection,) = await connections(server, 1)
            await until(lambda: connection.partial is not None)
            clock.now_ms += QUICK.frame_deadline_ms - 1
            client.writer.write(b"x")
            await until(lambda: connection.idle_since_ms == clock.now_ms)
            clock.now_ms += 20  # what 1000 bytes may take at the least rate is 15 ms more
            client.writer.write(b"x")
            assert await client.closed()
            await client.close()

    asyncio.run(run())


def test_a_long_frame_has_as_long_as_the_least_rate_allows() -> None:
    async def run() -> None:
        node, clock = node_and_clock()
        async with serving(node, dataclasses.replace(QUICK, max_idle_ms=1_000_000)) as server:
            client = await KafkaClient.connect(server.port)
            data = client.encoded(produce_request("none", some_batch(b"x" * 900_000)), 9)
            client.writer.write(data[:1000])
            (connection,) = await connections(server, 1)
            await until(lambda: connection.partial is not None)
            for part in range(1, 10):  # 90 s in all would be far beyond `frame_deadline_ms`
                clock.now_ms += 1_000
                client.writer.write(data[part * 1000 : part * 1000 + 1000])
                await until(lambda: connection.idle_since_ms == clock.now_ms)
            client.writer.write(data[10_000:])
            assert (await client.receive()).responses[0].name == "none"
            await client.close()

    asyncio.run(run())


def test_connections_beyond_the_limit_are_closed_at_once() -> None:
    async def run() -> None:
        async with serving(StubNode(), Limits(max_connections=2, close_grace_ms=100)) as server:
            first, second = [await KafkaClient.connect(server.port) for _ in range(2)]
            await until(lambda: server.connections == 2)
            third = await KafkaClient.connect(server.port)
            assert await third.closed()
            await first.close()
            await until(lambda: server.connections == 1)
            fourth = await KafkaClient.connect(server.port)
            assert (await fourth.ask(metadata.MetadataRequest(), 9)).brokers
            for client in (second, third, fourth):
                await client.close()

    asyncio.run(run())


def test_connections_beyond_the_limit_of_one_address_are_closed_at_once() -> None:
    async def run() -> None:
        limits = Limits(max_connections_per_ip=1, close_grace_ms=100)
        async with serving(StubNode(), limits) as server:
            first = await KafkaClient.connect(server.port)
            await until(lambda: server.connections == 1)
            second = await KafkaClient.connect(server.port)
            assert await second.closed()
            assert (await first.ask(metadata.MetadataRequest(), 9)).brokers
            await first.close()
            await second.close()

    asyncio.run(run())


def test_an_idle_connection_holds_no_buffer() -> None:
    async def run() -> None:
        node, _ = node_and_clock()
        limits = Limits(frame_deadline_ms=20, close_grace_ms=100)
        async with serving(node, limits) as server:
            client = await KafkaClient.connect(server.port)
            await client.ask(produce_request("none", some_batch(b"x" * 500_000)), 9)
            assert server.budget.used > 0
            await until(lambda: server.budget.used == 0)
            (connection,) = server._connections
            await until(lambda: connection._inbox.capacity == 0)
            assert (await client.ask(metadata.MetadataRequest(), 9)).brokers
            await client.close()

    asyncio.run(run())


def test_closing_lets_an_answer_under_way_out_first() -> None:
    async def run() -> None:
        node = StubNode()
        (partition,) = node.topic("t")
        partition.hold_commits = True
        async with serving(node, Limits(close_grace_ms=10_000)) as server:
            client = await KafkaClient.connect(server.port)
            idle = await KafkaClient.connect(server.port)
            client.send(produce_request("t", some_batch()), 9)
            await until(lambda: partition.appends == 1 and server.connections == 2)
            closing = asyncio.create_task(server.close())
            assert await idle.closed()
            partition.commit()
            assert (await client.receive()).responses[0].partition_responses[0].error_code == 0
            assert await client.closed()
            await closing
            await client.close()
            await idle.close()

    asyncio.run(run())


def test_closing_gives_up_on_an_answer_that_never_comes() -> None:
    async def run() -> None:
        node = StubNode()
        (partition,) = node.topic("t")
        partition.hold_commits = True
        async with serving(node, Limits(close_grace_ms=20)) as server:
            client = await KafkaClient.connect(server.port)
            client.send(produce_request("t", some_batch()), 9)
            await until(lambda: partition.appends == 1)
            await server.close()
            assert await client.closed()
            partition.commit()
            await client.close()

    asyncio.run(run())


async def connections(server: Server, count: int) -> list[Connection]:
    await until(lambda: server.connections == count)
    return list(server._connections)
