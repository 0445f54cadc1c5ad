"""Runs in a client pod: write numbers with acks=all until told to end, then read them back.

    python3 load.py BOOTSTRAP TOPIC PATIENCE_S

For each line on standard input, a line is printed as soon as every partition has acknowledged a
record that was begun after that line came: how many are acknowledged by then. After the line "end",
JSON: what was acknowledged, what failed, and how what is read differs from what was acknowledged.
PATIENCE_S is the client's own request timeout, after which it gives a record up.
"""

import asyncio
import collections
import itertools
import json
import sys
import time
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

EVERY_S = 0.01
GOES_ON_S = 60
READ_S = 60


Rows = list[tuple[int, int]]


class Writer:
    """One number after the other, in turn to each partition, many in flight."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: list[int]) -> None:
        self.acknowledged: dict[int, tuple[int, int]] = {}
        self.failed: list[str] = []
        self.slowest_s = 0.0
        self._newest = dict.fromkeys(partitions, -1)
        self._next = 0
        self._producer = producer
        self._topic = topic
        self._moved = asyncio.Condition()

    async def write(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as waiting:
            while not stop.is_set():
                number, self._next = self._next, self._next + 1
                partition = sorted(self._newest)[number % len(self._newest)]
                value = b"%d" % number
                sent = await self._producer.send(self._topic, value, partition=partition)
                waiting.create_task(self._follow(number, partition, sent))
                await asyncio.sleep(EVERY_S)

    async def _follow(self, number: int, partition: int, sent: asyncio.Future[Any]) -> None:
        began = time.monotonic()
        try:
            placed = await sent
        except Exception as error:  # noqa: BLE001 - whatever reaches an application counts
            self.failed.append(f"{number}: {error!r}")
        else:
            self.acknowledged[number] = (placed.partition, placed.offset)
            self._newest[partition] = max(self._newest[partition], number)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        async with self._moved:
            self._moved.notify_all()

    async def goes_on(self) -> int:
        first = self._next
        async with asyncio.timeout(GOES_ON_S), self._moved:
            await self._moved.wait_for(lambda: min(self._newest.values()) >= first)
        return len(self.acknowledged)


async def answer(writer: Writer, stop: asyncio.Event) -> None:
    try:
        while await asyncio.to_thread(sys.stdin.readline) not in ("", "end\n"):
            print(await writer.goes_on(), flush=True)
    finally:
        stop.set()


async def read(bootstrap: str, topic: str, partitions: list[int]) -> dict[int, Rows]:
    """Per partition, (offset, number) in the order in which they are read."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    found: dict[int, Rows] = collections.defaultdict(list)
    try:
        places = [TopicPartition(topic, partition) for partition in partitions]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        async with asyncio.timeout(READ_S):
            while any(len(found[place.partition]) < end for place, end in ends.items()):
                for place, records in (await consumer.getmany(timeout_ms=500)).items():
                    numbers = ((record.offset, int(record.value)) for record in records)
                    found[place.partition].extend(numbers)
    except TimeoutError:
        pass  # what was read by then is the answer
    finally:
        await consumer.stop()
    return found


def compare(
    acknowledged: dict[int, tuple[int, int]], found: dict[int, Rows]
) -> dict[str, list[Any]]:
    lost: list[int] = []
    gaps: list[str] = []
    disordered: list[str] = []
    stands = {
        (partition, offset): number for partition, rows in found.items() for offset, number in rows
    }
    for number, place in acknowledged.items():
        if stands.get(place) != number:
            lost.append(number)
    for partition, rows in found.items():
        for expected, (offset, _) in enumerate(rows):
            if offset != expected:
                gaps.append(f"{partition}: {offset} instead of {expected}")
                break
        for (_, before), (offset, number) in itertools.pairwise(rows):
            if number <= before:
                disordered.append(f"{partition}/{offset}: {number} behind {before}")
    return {"lost": lost, "gaps": gaps, "disordered": disordered}


async def main(bootstrap: str, topic: str, patience_s: int) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        request_timeout_ms=patience_s * 1000,
    )
    await producer.start()
    try:
        partitions = sorted(await producer.partitions_for(topic))
        writer, stop = Writer(producer, topic, partitions), asyncio.Event()
        async with asyncio.TaskGroup() as both:
            both.create_task(writer.write(stop))
            both.create_task(answer(writer, stop))
    finally:
        await producer.stop()
    found = await read(bootstrap, topic, partitions)
    result = {
        "acknowledged": len(writer.acknowledged),
        "failed": writer.failed[:20],
        "read": sum(map(len, found.values())),
        "slowest_ms": int(writer.slowest_s * 1000),
    }
    print(json.dumps({**result, **compare(writer.acknowledged, found)}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
