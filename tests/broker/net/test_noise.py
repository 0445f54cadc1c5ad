"""Whatever bytes come in, the server goes on serving others, and nothing is left behind.

Three kinds of noise: bytes at random, well-formed requests with a few bytes changed, and requests
in good order but with values that nobody would send.
"""

from __future__ import annotations

import asyncio
import logging
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from quorate_broker.testing.stub_node import StubNode
from quorate_broker.wire import frames
from quorate_broker.wire.apis import APIS
from quorate_broker.wire.messages import metadata

LIMITS = Limits(max_frame_bytes=1 << 16, buffer_budget_bytes=1 << 18, close_grace_ms=100)

REQUESTS = [
    (produce_request("t", some_batch(b"value")), 9),
    (produce_request("t", some_batch(b"value")), 3),
    (fetch_request("t"), 12),
    (fetch_request("t"), 4),
    (metadata.MetadataRequest(topics=[metadata.MetadataRequestTopic(name="t")]), 12),
    *((api.request(), api.max_version) for api in APIS.values()),
    *((api.request(), api.first_read) for api in APIS.values()),
]
ENCODED = [
    b"".join(frames.encode_request(message, version, 1, "noise")) for message, version in REQUESTS
]


def changed(data: bytes, at: list[int], values: bytes) -> bytes:
    """`data` with some bytes behind the length changed; the length still holds."""
    noisy = bytearray(data)
    for place, value in zip(at, values, strict=False):
        noisy[4 + place % (len(noisy) - 4)] = value
    return bytes(noisy)


streams = st.one_of(
    st.binary(max_size=200),
    st.binary(min_size=8, max_size=200).map(lambda body: struct.pack(">i", len(body)) + body),
    st.builds(
        changed,
        st.sampled_from(ENCODED),
        st.lists(st.integers(0, 1 << 16), min_size=1, max_size=6),
        st.binary(min_size=6, max_size=6),
    ),
    st.sampled_from(ENCODED),
)


async def survives(server: Server, noise: list[bytes]) -> None:
    noisy = await KafkaClient.connect(server.port)
    for part in noise:
        noisy.writer.write(part)
    polite = await KafkaClient.connect(server.port)
    answer = await polite.ask(metadata.MetadataRequest(), 9)
    assert [topic.name for topic in answer.topics][:1] == ["t"]
    await polite.close()
    noisy.writer.transport.abort()
    await noisy.close()
    await until(lambda: server.connections == 0)
    assert server.budget.used == 0


@settings(max_examples=150)
@given(st.lists(streams, max_size=5))
def test_noise_harms_nobody_else(noise: list[bytes]) -> None:
    unexpected: list[dict[str, object]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: unexpected.append(told))
        node = StubNode()
        (partition,) = node.topic("t")
        async with serving(node, LIMITS) as server:
            await survives(server, noise)
        assert not partition.waiters

    asyncio.run(run())
    assert not unexpected


@pytest.mark.parametrize("seed", range(5))
def test_many_changed_requests_find_no_bug_of_ours(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler that raises what is no answer is logged as an error: there must be none."""
    source = random.Random(seed)

    async def run() -> None:
        node = StubNode()
        node.topic("t")
        async with serving(node, LIMITS) as server:
            for _ in range(60):
                data = source.choice(ENCODED)
                places = [source.randrange(4, len(data)) for _ in range(source.randint(1, 3))]
                await survives(server, [changed(data, places, source.randbytes(3))] * 2)

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert not caplog.records, caplog.text
