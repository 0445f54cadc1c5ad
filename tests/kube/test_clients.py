"""Unmodified Kafka clients in a pod: through names and Services, as users have them."""

import pytest

from quorate_bed.product import BrokerCluster

ROUND_TRIP = """
import asyncio, json, sys
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

RECORDS = [
    (bytes(range(256)), b"\\x00\\xff", [("twice", b"\\x00"), ("twice", b""), ("l\\u00e4", b"x")]),
    (b"", b"", []),
    (None, b"tombstone", [("why", b"gone")]),
    (b"without a key", None, []),
    (b"x" * 100_000, b"large", []),
]

async def main(bootstrap, topic, acks):
    acks = acks if acks == "all" else int(acks)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks=acks)
    await producer.start()
    try:
        for value, key, headers in RECORDS:
            await producer.send_and_wait(topic, value, key=key, headers=headers, partition=0)
    finally:
        await producer.stop()
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    read = []
    try:
        async with asyncio.timeout(30):
            while len(read) < len(RECORDS):
                record = await consumer.getone()
                read.append((record.value, record.key, list(record.headers)))
    finally:
        await consumer.stop()
    print(json.dumps({"same": read == RECORDS, "read": len(read)}))

asyncio.run(main(*sys.argv[1:]))
"""

EACH_ALONE = """
import asyncio, json, sys
from aiokafka.client import AIOKafkaClient

async def listed(bootstrap):
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        return sorted((b.nodeId, b.host, b.port) for b in client.cluster.brokers())
    finally:
        await client.close()

async def main(*bootstraps):
    found = [await listed(bootstrap) for bootstrap in bootstraps]
    reached = [await listed(f"{host}:{port}") for _, host, port in found[0]]
    print(json.dumps({"listed": found, "reached": reached}))

asyncio.run(main(*sys.argv[1:]))
"""

MOVED = """
import asyncio, json, sys, time, urllib.request
from aiokafka import AIOKafkaProducer, TopicPartition

def leader(host, topic):
    with urllib.request.urlopen(f"http://{host}:9644/v1/partitions/kafka/{topic}/0") as reply:
        return json.load(reply)["leader_id"]

def move(hosts, topic):
    # the partition's lead goes to another broker; both ids, once all brokers know
    old = leader(hosts[0], topic)
    new = old % len(hosts) + 1
    path = f"/v1/partitions/kafka/{topic}/0/transfer_leadership?target={new}"
    request = urllib.request.Request(f"http://{hosts[old - 1]}:9644{path}", method="POST", data=b"")
    urllib.request.urlopen(request).close()
    until = time.monotonic() + 10
    while {leader(host, topic) for host in hosts} != {new} and time.monotonic() < until:
        time.sleep(0.02)
    return old, new

async def main(topic, *hosts):
    place, rows = TopicPartition(topic, 0), []
    producer = AIOKafkaProducer(
        bootstrap_servers=hosts[0] + ":9092", acks="all", metadata_max_age_ms=3_600_000
    )
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"before", partition=0)
        for _ in hosts:
            old, new = await asyncio.to_thread(move, hosts, topic)
            knew = producer.client.cluster.leader_for_partition(place)
            await producer.send_and_wait(topic, b"after", partition=0)
            knows = producer.client.cluster.leader_for_partition(place)
            rows.append({"old": old, "new": new, "knew": knew, "knows": knows})
    finally:
        await producer.stop()
    print(json.dumps(rows))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_what_aiokafka_writes_in_a_pod_is_read_back_byte_for_byte(
    three: BrokerCluster, acks: str
) -> None:
    said = three.client.python(ROUND_TRIP, three.bootstrap, f"round-trip-{acks}", acks)
    assert said == {"same": True, "read": 5}


def test_each_broker_alone_leads_a_client_to_all_of_them_at_addresses_that_it_reaches(
    three: BrokerCluster,
) -> None:
    hosts = [three.host(node_id) for node_id in three.broker_ids()]
    for port in (9092, 9093):
        said = three.client.python(EACH_ALONE, *(f"{host}:{port}" for host in hosts))
        all_of_them = [[node_id, three.host(node_id), port] for node_id in three.broker_ids()]
        assert said["listed"] == [all_of_them] * 3
        assert said["reached"] == [all_of_them] * 3


def test_a_producer_follows_a_partition_whose_leader_moves(three: BrokerCluster) -> None:
    hosts = [three.host(node_id) for node_id in three.broker_ids()]
    rows = three.client.python(MOVED, "moved", *hosts)
    assert len(rows) == 3
    for row in rows:
        assert row["knew"] == row["old"], "it had no way of knowing"
        assert row["knows"] == row["new"], "it was told, asked again, and wrote"
        assert row["old"] != row["new"]
