"""One client connection: order, pipelining, half frames, back pressure, and what closes it."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

import pytest

from quorate_broker.api import dispatch
from quorate_broker.errors import ErrorCode
from quorate_broker.net.limits import Limits
from quorate_broker.net.server import Server
from quorate_broker.net.turns import Turns
from quorate_broker.testing.kafka_client import (
    KafkaClient,
    fetch_request,
    produce_request,
    serving,
    some_batch,
    until,
)
from quorate_broker.testing.stub_node import MemoryPartition, StubNode
from quorate_broker.wire import batch, frames
from quorate_broker.wire.apis import ApiKey
from quorate_broker.wire.messages import api_versions, metadata

SMALL = Limits(max_frame_bytes=1 << 20, buffer_budget_bytes=1 << 21, close_grace_ms=100)


def versions_request() -> api_versions.ApiVersionsRequest:
    return api_versions.ApiVersionsRequest(
        client_software_name="test", client_software_version="1.0"
    )


async def still_serves(port: int) -> bool:
    """Whether a fresh connection gets an answer."""
    client = await KafkaClient.connect(port)
    answer = await client.ask(versions_request(), 3)
    await client.close()
    return answer.error_code == 0


@contextlib.asynccontextmanager
async def holding_commits() -> AsyncIterator[tuple[Server, MemoryPartition, KafkaClient]]:
    """A topic `t` whose only partition commits when it is told to, and a client."""
    node = StubNode()
    (partition,) = node.topic("t")
    partition.hold_commits = True
    async with serving(node) as server:
        yield server, partition, await KafkaClient.connect(server.port)


class TestOrder:
    def test_pipelined_requests_are_answered_in_their_order(self) -> None:
        async def run() -> None:
            node = StubNode()
            node.topic("t")
            async with serving(node) as server:
                client = await KafkaClient.connect(server.port)
                for i in range(40):
                    client.send(versions_request(), 3)
                    client.send(produce_request("t", some_batch(b"%d" % i)), 9)
                    client.send(metadata.MetadataRequest(), 9)
                for i in range(40):
                    assert (await client.receive()).api_keys
                    answer = (await client.receive()).responses[0].partition_responses[0]
                    assert answer.base_offset == i
                    assert (await client.receive()).topics[0].name == "t"
                await client.close()

        asyncio.run(run())

    def test_produces_go_on_while_earlier_ones_wait_for_their_commit(self) -> None:
        async def run() -> None:
            async with holding_commits() as (_, partition, client):
                for _ in range(5):
                    client.send(produce_request("t", some_batch()), 9)
                await until(lambda: partition.appends == 5)
                partition.commit()
                offsets = [
                    (await client.receive()).responses[0].partition_responses[0].base_offset
                    for _ in range(5)
                ]
                assert offsets == [0, 1, 2, 3, 4]
                await client.close()

        asyncio.run(run())

    def test_what_is_answered_after_the_line_broke_is_not_written(self) -> None:
        class Broken:
            """Closing by itself, and the protocol is not told before the next turn."""

            def __init__(self, transport: asyncio.Transport) -> None:
                self.transport = transport
                self.written: list[object] = []
                self.write = self.writelines = self.written.append

            def is_closing(self) -> bool:
                return True

            def __getattr__(self, name: str) -> object:
                return getattr(self.transport, name)

        async def run() -> None:
            async with holding_commits() as (server, partition, client):
                client.send(produce_request("t", some_batch()), 9)
                await until(lambda: partition.appends == 1)
                (connection,) = server._connections
                connection._transport = broken = Broken(connection._transport)
                partition.commit()
                await until(lambda: not connection.busy)
                await asyncio.sleep(0)
                assert broken.written == []
                await client.close()

        asyncio.run(run())

    def test_a_failed_produce_keeps_its_place_behind_one_that_still_waits(self) -> None:
        async def run() -> None:
            async with holding_commits() as (_, partition, client):
                client.send(produce_request("t", some_batch()), 9)
                client.send(produce_request("missing", some_batch()), 9)
                await until(lambda: partition.appends == 1)
                partition.commit()
                first = (await client.receive()).responses[0].partition_responses[0]
                second = (await client.receive()).responses[0].partition_responses[0]
                assert (first.error_code, first.base_offset) == (0, 0)
                assert second.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                await client.close()

        asyncio.run(run())

    def test_what_is_no_produce_waits_for_the_requests_before_it(self) -> None:
        async def run() -> None:
            async with holding_commits() as (_, partition, client):
                client.send(produce_request("t", some_batch()), 9)
                client.send(fetch_request("t"), 12)
                await until(lambda: partition.appends == 1)
                partition.commit()
                await client.receive()
                fetched = (await client.receive()).responses[0].partitions[0]
                assert fetched.high_watermark == 1
                assert len(fetched.records) > 0
                await client.close()

        asyncio.run(run())

    def test_in_flight_produces_are_capped(self) -> None:
        async def run() -> None:
            node = StubNode()
            (partition,) = node.topic("t")
            partition.hold_commits = True
            async with serving(node, Limits(max_in_flight=3, close_grace_ms=100)) as server:
                client = await KafkaClient.connect(server.port)
                for _ in range(10):
                    client.send(produce_request("t", some_batch()), 9)
                await until(lambda: partition.appends == 3)
                await still_serves(server.port)
                assert partition.appends == 3
                partition.hold_commits = False
                partition.commit()
                for i in range(10):
                    answer = await client.receive()
                    assert answer.responses[0].partition_responses[0].base_offset == i
                await client.close()

        asyncio.run(run())


class TestFraming:
    def test_who_sends_hundreds_of_requests_at_once_takes_turns_with_the_others(self) -> None:
        async def run() -> None:
            limits = Limits(max_begun_at_once=3, max_begun_per_turn=4, close_grace_ms=100)
            async with serving(StubNode(), limits) as server:
                greedy = await KafkaClient.connect(server.port)
                await greedy.ask(versions_request(), 3)
                (connection,) = server._connections
                sent = b"".join(greedy.encoded(versions_request(), 3) for _ in range(200))
                connection.get_buffer(-1)[: len(sent)] = sent[: len(connection.get_buffer(-1))]
                fits = min(len(sent), len(connection.get_buffer(-1)))
                connection.buffer_updated(fits)
                assert connection.frames_read == 1 + 3, "the rest has its turn later"
                assert connection.waiting, "it waits for us: it is not idle"
                assert await still_serves(server.port)
                assert connection.frames_read < 1 + 200
                greedy.writer.write(sent[fits:])
                for _ in range(200):
                    assert (await greedy.receive()).api_keys
                await greedy.close()

        asyncio.run(run())

    def test_a_turn_is_shared_by_all_connections(self) -> None:
        async def run() -> None:
            turns = Turns(4)
            began: list[str] = []

            def pump(name: str) -> None:
                for _ in range(3):
                    if not turns.take():
                        break
                    began.append(name)
                turns.wait(lambda: pump(name))

            for name in "abc":
                pump(name)
            assert began == ["a", "a", "a", "b"], "c comes when the share is used up"
            await asyncio.sleep(0)
            assert "".join(began[4:]) == "aaab", "the queue is walked once"
            await asyncio.sleep(0)
            assert "".join(began[8:]) == "ccca", "and goes on where it ended"

        asyncio.run(run())

    def test_a_request_that_comes_byte_by_byte_is_answered(self) -> None:
        async def run() -> None:
            async with serving(StubNode()) as server:
                client = await KafkaClient.connect(server.port)
                for byte in client.encoded(versions_request(), 3):
                    client.writer.write(bytes([byte]))
                    await client.writer.drain()
                    await asyncio.sleep(0)
                assert (await client.receive()).error_code == 0
                await client.close()

        asyncio.run(run())

    def test_a_batch_far_larger_than_the_buffer_arrives_whole(self) -> None:
        async def run() -> None:
            node = StubNode(message_max_bytes=8 << 20)
            (partition,) = node.topic("t")
            value = bytes(range(256)) * 4096 * 4
            async with serving(node) as server:
                client = await KafkaClient.connect(server.port)
                for _ in range(3):
                    client.send(produce_request("t", some_batch(value)), 9)
                    client.send(versions_request(), 3)
                for _ in range(3):
                    answer = (await client.receive()).responses[0].partition_responses[0]
                    assert answer.error_code == 0
                    assert (await client.receive()).error_code == 0
                await client.close()
            for one in partition.batches:
                assert batch.records(one)[0].value == value

        asyncio.run(run())

    def test_a_batch_outlives_the_buffer_that_it_came_in(self) -> None:
        async def run() -> None:
            node = StubNode()
            (partition,) = node.topic("t")
            async with serving(node) as server:
                client = await KafkaClient.connect(server.port)
                for i in range(50):
                    await client.ask(produce_request("t", some_batch(b"%04d" % i * 50)), 9)
                await client.close()
            values = [batch.records(one)[0].value for one in partition.batches]
            assert values == [b"%04d" % i * 50 for i in range(50)]

        asyncio.run(run())

    @pytest.mark.parametrize("size", [-1, 0, 7, SMALL.max_frame_bytes + 1, 0x7FFFFFFF])
    def test_a_length_out_of_bounds_closes_this_connection_and_no_other(self, size: int) -> None:
        async def run() -> None:
            async with serving(StubNode(), SMALL) as server:
                client = await KafkaClient.connect(server.port)
                client.writer.write(struct.pack(">i", size) + b"x" * 100)
                assert await client.closed()
                assert await still_serves(server.port)
                assert server.budget.used == 0
                await client.close()

        asyncio.run(run())

    @pytest.mark.parametrize(
        "frame",
        [
            b"\x00" * 8,
            struct.pack(">hhih", ApiKey.METADATA, 9, 1, 4000) + b"short",
            struct.pack(">hhih", ApiKey.METADATA, 1, 1, -1) + b"\x7f\xff\xff\xff",
            struct.pack(">hhih", ApiKey.PRODUCE, 9, 1, -1) + b"\x00\x00" + b"\xff" * 40,
            b"GET / HTTP/1.1\r\n\r\n",
        ],
    )
    def test_a_malformed_request_closes_this_connection_and_no_other(self, frame: bytes) -> None:
        async def run() -> None:
            async with serving(StubNode(), SMALL) as server:
                client = await KafkaClient.connect(server.port)
                client.writer.write(struct.pack(">i", len(frame)) + frame)
                assert await client.closed()
                assert await still_serves(server.port)
                await client.close()

        asyncio.run(run())

    def test_answers_before_a_malformed_request_are_still_sent(self) -> None:
        async def run() -> None:
            async with serving(StubNode()) as server:
                client = await KafkaClient.connect(server.port)
                client.send(versions_request(), 3)
                client.writer.write(struct.pack(">i", 8) + b"\xff" * 8)
                assert (await client.receive()).error_code == 0
                assert await client.closed()
                await client.close()

        asyncio.run(run())

    def test_a_client_that_leaves_in_the_middle_of_a_frame_leaves_nothing_behind(self) -> None:
        async def run() -> None:
            async with serving(StubNode(), SMALL) as server:
                client = await KafkaClient.connect(server.port)
                client.writer.write(struct.pack(">i", 500_000) + b"x" * 1000)
                await until(lambda: server.budget.used > 0)
                await client.close()
                await until(lambda: server.connections == 0)
                assert server.budget.used == 0

        asyncio.run(run())


class TestVersions:
    @pytest.mark.parametrize("version", [5, 99, 32767, -1])
    def test_an_unknown_version_of_api_versions_is_told_the_range_in_v0(self, version: int) -> None:
        async def run() -> None:
            async with serving(StubNode()) as server:
                client = await KafkaClient.connect(server.port)
                header = struct.pack(">hhih", ApiKey.API_VERSIONS, version, 77, -1)
                client.writer.write(struct.pack(">i", len(header) + 4) + header + b"\x00" * 4)
                correlation_id, answer = frames.decode_response(
                    ApiKey.API_VERSIONS, 0, memoryview(await client.frame())
                )
                assert correlation_id == 77
                assert answer.error_code == ErrorCode.UNSUPPORTED_VERSION
                ranges = {
                    one.api_key: (one.min_version, one.max_version) for one in answer.api_keys
                }
                assert ranges[ApiKey.API_VERSIONS] == (0, 4)
                assert (await client.ask(versions_request(), 3)).error_code == 0
                await client.close()

        asyncio.run(run())

    @pytest.mark.parametrize(
        ("key", "version"),
        [(ApiKey.METADATA, 13), (ApiKey.PRODUCE, 2), (68, 0), (9999, 0), (-1, 0)],
    )
    def test_an_unknown_version_of_anything_else_closes(self, key: int, version: int) -> None:
        async def run() -> None:
            async with serving(StubNode()) as server:
                client = await KafkaClient.connect(server.port)
                header = struct.pack(">hhih", key, version, 1, -1)
                client.writer.write(struct.pack(">i", len(header)) + header)
                assert await client.closed()
                assert await still_serves(server.port)
                await client.close()

        asyncio.run(run())


class TestFailures:
    def test_a_bug_in_a_handler_costs_one_answer_and_not_the_connection(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(*_: object) -> object:
            raise ZeroDivisionError("our bug")

        monkeypatch.setitem(
            dispatch.ROUTES, ApiKey.METADATA, dispatch.Route(broken, metadata_failed)
        )

        async def run() -> None:
            async with serving(StubNode()) as server:
                client = await KafkaClient.connect(server.port)
                wanted = metadata.MetadataRequestTopic(name="t")
                answer = await client.ask(metadata.MetadataRequest(topics=[wanted]), 9)
                assert answer.topics[0].error_code == ErrorCode.UNKNOWN_SERVER_ERROR
                assert (await client.ask(versions_request(), 3)).error_code == 0
                await client.close()

        asyncio.run(run())
        assert "our bug" in caplog.text

    def test_a_bug_in_a_handler_that_waits_is_answered_too(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(*_: object) -> object:
            raise ZeroDivisionError("our bug")

        monkeypatch.setitem(
            dispatch.ROUTES, ApiKey.METADATA, dispatch.Route(broken, metadata_failed)
        )

        async def run() -> None:
            async with serving(StubNode()) as server:
                client = await KafkaClient.connect(server.port)
                wanted = metadata.MetadataRequestTopic(name="t")
                answer = await client.ask(metadata.MetadataRequest(topics=[wanted]), 9)
                assert answer.topics[0].error_code == ErrorCode.UNKNOWN_SERVER_ERROR
                await client.close()

        asyncio.run(run())

    @pytest.mark.parametrize("waits", [False, True])
    def test_a_bug_in_saying_that_it_failed_costs_the_connection_and_no_other(
        self, monkeypatch: pytest.MonkeyPatch, *, waits: bool
    ) -> None:
        def broken(*_: object) -> object:
            raise ZeroDivisionError("our bug")

        async def broken_later(*_: object) -> object:
            raise ZeroDivisionError("our bug")

        route = dispatch.Route(broken_later if waits else broken, broken)
        monkeypatch.setitem(dispatch.ROUTES, ApiKey.METADATA, route)

        async def run() -> None:
            async with serving(StubNode()) as server:
                client = await KafkaClient.connect(server.port)
                client.send(metadata.MetadataRequest(), 9)
                assert await client.closed()
                assert await still_serves(server.port)
                await client.close()

        asyncio.run(run())

    def test_a_waiting_handler_is_cancelled_when_its_client_leaves(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        outcome: list[str] = []

        async def run() -> None:
            started = asyncio.Event()

            async def waits_for_ever(*_: object) -> object:
                started.set()
                try:
                    return await asyncio.get_running_loop().create_future()
                except asyncio.CancelledError:
                    outcome.append("cancelled")
                    raise

            monkeypatch.setitem(
                dispatch.ROUTES, ApiKey.METADATA, dispatch.Route(waits_for_ever, metadata_failed)
            )
            async with serving(StubNode()) as server:
                client = await KafkaClient.connect(server.port)
                client.send(metadata.MetadataRequest(), 9)
                await started.wait()
                await client.close()
                await until(lambda: server.connections == 0)
                await until(lambda: outcome == ["cancelled"])

        asyncio.run(run())

    def test_a_long_poll_leaves_no_waiter_behind_when_its_client_leaves(self) -> None:
        async def run() -> None:
            node = StubNode()
            (partition,) = node.topic("t")
            async with serving(node) as server:
                client = await KafkaClient.connect(server.port)
                client.send(fetch_request("t", max_wait_ms=600_000), 12)
                await until(lambda: len(partition.waiters) == 1)
                await client.close()
                await until(lambda: not partition.waiters)

        asyncio.run(run())

    def test_a_client_that_leaves_is_noticed_though_its_next_request_waits_behind_a_poll(
        self,
    ) -> None:
        async def run() -> None:
            node = StubNode()
            (partition,) = node.topic("t")
            async with serving(node) as server:
                client = await KafkaClient.connect(server.port)
                client.send(fetch_request("t", max_wait_ms=600_000), 12)
                client.send(versions_request(), 3)
                await until(lambda: len(partition.waiters) == 1)
                await client.close()
                await until(lambda: server.connections == 0)
                assert not partition.waiters

        asyncio.run(run())

    def test_a_produce_without_acks_that_fails_closes_the_connection(self) -> None:
        async def run() -> None:
            node = StubNode()
            (partition,) = node.topic("t")
            async with serving(node) as server:
                client = await KafkaClient.connect(server.port)
                client.send(produce_request("t", some_batch(), acks=0), 9, reply=False)
                assert (await client.ask(versions_request(), 3)).error_code == 0
                assert partition.appends == 1
                client.send(produce_request("missing", some_batch(), acks=0), 9, reply=False)
                assert await client.closed()
                await client.close()

        asyncio.run(run())


class TestBackPressure:
    def test_a_reader_that_does_not_read_stops_being_served_until_it_does(self) -> None:
        async def run() -> None:
            node = StubNode(message_max_bytes=8 << 20)
            (partition,) = node.topic("t")
            limits = Limits(max_unsent_bytes=1 << 16, close_grace_ms=100)
            async with serving(node, limits) as server:
                client = await KafkaClient.connect(server.port)
                await client.ask(produce_request("t", some_batch(b"x" * 1_000_000)), 9)
                client.reader._limit = 1  # type: ignore[attr-defined]  # stop taking from the socket
                for _ in range(60):
                    client.send(fetch_request("t", max_bytes=1 << 21), 12)
                (connection,) = server._connections
                await until(lambda: connection._writing_paused)
                assert connection._transport.get_write_buffer_size() < 4_000_000
                assert await still_serves(server.port)
                client.reader._limit = 1 << 27  # type: ignore[attr-defined]
                for _ in range(60):
                    fetched = (await client.receive()).responses[0].partitions[0]
                    assert len(fetched.records) > 1_000_000
                await client.close()
            assert not partition.waiters

        asyncio.run(run())

    def test_frames_beyond_the_budget_wait_and_are_served_in_turn(self) -> None:
        async def run() -> None:
            node = StubNode(message_max_bytes=8 << 20)
            (partition,) = node.topic("t")
            limits = Limits(
                max_frame_bytes=1 << 20, buffer_budget_bytes=1 << 21, close_grace_ms=100
            )
            async with serving(node, limits) as server:
                clients = [await KafkaClient.connect(server.port) for _ in range(8)]
                for client in clients:
                    data = client.encoded(produce_request("t", some_batch(b"x" * 900_000)), 9)
                    client.writer.write(data[:5000])
                    client.rest = data[5000:]  # type: ignore[attr-defined]
                await until(lambda: server.budget.tight)
                assert server.budget.used <= limits.buffer_budget_bytes
                for client in clients:
                    client.writer.write(client.rest)  # type: ignore[attr-defined]
                for client in clients:
                    answer = (await client.receive()).responses[0].partition_responses[0]
                    assert answer.error_code == 0
                    assert server.budget.used <= limits.buffer_budget_bytes
                for client in clients:
                    await client.close()
                await until(lambda: server.connections == 0)
                assert server.budget.used == 0
                assert not server.budget.tight
            assert len(partition.batches) == 8

        asyncio.run(run())


def metadata_failed(_: object, request: metadata.MetadataRequest, code: ErrorCode) -> object:
    return metadata.MetadataResponse(
        topics=[
            metadata.MetadataResponseTopic(error_code=code, name=one.name)
            for one in request.topics or ()
        ]
    )
