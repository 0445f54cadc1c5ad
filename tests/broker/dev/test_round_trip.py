"""What goes in over HTTP comes out of the Kafka API, whichever node was asked."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from typing import Any

import aiokafka
import aiokafka.admin
import httpx
import pytest

pytestmark = pytest.mark.process

JSON = {"Content-Type": "application/vnd.kafka.json.v2+json"}
BINARY = {"Content-Type": "application/vnd.kafka.binary.v2+json"}
PARTITIONS = 3


async def create_topic(bootstrap: str, name: str, replicas: int) -> None:
    admin = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([aiokafka.admin.NewTopic(name, PARTITIONS, replicas)])
    finally:
        await admin.close()


async def read(bootstrap: str, topic: str, count: int) -> dict[tuple[int, int], Any]:
    """(partition, offset) -> record, of the first `count` records."""
    consumer = aiokafka.AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        found: dict[tuple[int, int], Any] = {}
        async with asyncio.timeout(30):
            while len(found) < count:
                record = await consumer.getone()
                found[record.partition, record.offset] = record
        return found
    finally:
        await consumer.stop()


async def post(
    client: httpx.AsyncClient, url: str, records: list[dict[str, Any]], headers: dict[str, str]
) -> list[tuple[int, int]]:
    """Produce; (partition, offset) of each record. Fails if any was refused."""
    answer = await client.post(url, json={"records": records}, headers=headers)
    assert answer.status_code == 200, answer.text
    assert not [one for one in answer.json()["offsets"] if "error_code" in one]
    return [(one["partition"], one["offset"]) for one in answer.json()["offsets"]]


def test_records_posted_to_any_node_are_read_by_a_kafka_client(start: Any) -> None:
    dev = start("--flanking", "1")
    dev.wait_ready()
    bootstrap = f"127.0.0.1:{dev.port}"

    async def scenario() -> None:
        await create_topic(bootstrap, "logs", 3)
        sent: dict[tuple[int, int], tuple[bytes | None, bytes]] = {}
        async with httpx.AsyncClient(timeout=15) as client:
            for node in range(4):  # three brokers, then the flanking node
                url = f"http://127.0.0.1:{dev.proxy_port + node}/topics/logs"
                values = [{"from": node, "n": n} for n in range(6)]
                records = [{"value": value, "partition": value["n"] % 3} for value in values]
                for place, value in zip(
                    await post(client, url, records, JSON), values, strict=True
                ):
                    sent[place] = (None, json.dumps(value, separators=(",", ":")).encode())
                payload = bytes(range(256))
                keyed = [{"key": "a2V5", "value": base64.b64encode(payload).decode()}]
                (place,) = await post(client, url, keyed, BINARY)
                sent[place] = (b"key", payload)
        assert len(sent) == 4 * 7, "no two records have one place"
        keyed_places = {place[0] for place, (key, _) in sent.items() if key == b"key"}
        assert len(keyed_places) == 1, "a key has one partition, whichever node is asked"
        found = await read(bootstrap, "logs", len(sent))
        assert {place: (one.key, one.value) for place, one in found.items()} == sent

    asyncio.run(scenario())
    assert dev.stop(signal.SIGINT)[0] == 0


def test_a_new_topic_is_listed_by_every_proxy_and_none_is_made_by_asking(
    start: Any, eventually: Any
) -> None:
    dev = start("--flanking", "1", nodes=2)
    dev.wait_ready()
    proxies = [f"http://127.0.0.1:{dev.proxy_port + node}" for node in range(3)]
    for proxy in proxies:
        body = {"records": [{"value": 1}]}
        answer = httpx.post(f"{proxy}/topics/nope", json=body, headers=JSON)
        assert (answer.status_code, answer.json()["error_code"]) == (404, 40402)
    asyncio.run(create_topic(f"127.0.0.1:{dev.port}", "orders", 2))
    for proxy in proxies:
        eventually(lambda proxy=proxy: httpx.get(f"{proxy}/topics").json() == ["orders"])
        assert httpx.get(f"{proxy}/brokers").json() == {"brokers": [1, 2]}
    state = dev.get(1, "/v1/partitions/kafka/orders/0")
    assert sorted(one["node_id"] for one in state["replicas"]) == [1, 2]
    assert dev.stop(signal.SIGINT)[0] == 0


def test_every_proxy_goes_on_when_the_leader_of_a_partition_dies(start: Any) -> None:
    dev = start("--flanking", "1")
    dev.wait_ready()
    asyncio.run(create_topic(f"127.0.0.1:{dev.port}", "logs", 3))

    def put(node: int) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{dev.proxy_port + node}/topics/logs"
        body = {"records": [{"value": node, "partition": 0}]}
        answer = httpx.post(url, json=body, headers=JSON, timeout=15)
        assert answer.status_code == 200, answer.text
        offsets: list[dict[str, Any]] = answer.json()["offsets"]
        return offsets

    before = [put(node)[0]["offset"] for node in range(4)]
    assert before == [0, 1, 2, 3]
    dead = dev.get(1, "/v1/partitions/kafka/logs/0")["leader_id"]
    os.kill(dev.pid(dead), signal.SIGKILL)
    survivors = [node for node in range(4) if node != dead - 1]
    after = [put(node)[0] for node in survivors]
    assert not [one for one in after if "error_code" in one], after
    offsets = [one["offset"] for one in after]
    assert offsets == sorted(offsets)
    assert offsets[0] >= 4
    assert dev.stop(signal.SIGINT)[0] == 0
