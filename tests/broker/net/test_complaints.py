"""What clients do wrong is told, and a client in a loop cannot fill the log with it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from quorate_broker.net.complaints import Complaints
from quorate_broker.testing.kafka_client import KafkaClient, fetch_request, serving
from quorate_broker.testing.stub_node import StubNode


def test_each_kind_of_each_host_is_told_a_few_times_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_ms = 0
    complaints = Complaints(lambda: now_ms)
    with caplog.at_level(logging.INFO):
        for n in range(100):
            complaints.tell("10.0.0.1", "no request", f"reason {n}")
        assert caplog.messages == [f"10.0.0.1: no request: reason {n}" for n in range(5)]
        complaints.tell("10.0.0.2", "no request", "another host")
        complaints.tell("10.0.0.1", "not served", "another kind")
        assert len(caplog.messages) == 7
        now_ms = 60_000
        complaints.tell("10.0.0.1", "no request", "again")
    assert caplog.messages[7:] == ["10.0.0.1: no request: again (95 more of these were not told)"]


def test_the_memory_of_complaints_is_bounded() -> None:
    complaints = Complaints(lambda: 0)
    for n in range(10_000):
        complaints.tell(f"host {n}", "no request", "")
    assert len(complaints._known) <= 1_000


def test_a_client_that_asks_in_a_loop_for_what_is_not_served_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with serving(StubNode()) as server:
            for _ in range(50):
                client = await KafkaClient.connect(server.port)
                # Version 18 where 12 is the last one: the place of the version in the frame.
                data = bytearray(client.encoded(fetch_request("t"), 12))
                data[7] = 18
                client.writer.write(data)
                assert await client.closed()
                await client.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    assert caplog.text.count("API 1 v18 is not served") == 5
