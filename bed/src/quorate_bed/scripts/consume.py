"""Runs in a client pod: read a topic from its beginning until COUNT records were seen.

    python3 consume.py BOOTSTRAP TOPIC COUNT

Prints JSON: how many records were read, how many different ones, from how many partitions.
"""

import asyncio
import json
import sys
import time

from aiokafka import AIOKafkaConsumer

DEADLINE_S = 60


async def main(bootstrap: str, topic: str, count: int) -> None:
    started = time.monotonic()
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    values: set[bytes] = set()
    partitions: set[int] = set()
    read = 0
    try:
        async with asyncio.timeout(DEADLINE_S):
            while len(values) < count:
                for partition, records in (await consumer.getmany(timeout_ms=500)).items():
                    partitions.add(partition.partition)
                    values.update(record.value for record in records)
                    read += len(records)
    except TimeoutError:
        pass  # what was read by then is the answer
    finally:
        await consumer.stop()
    took_s = round(time.monotonic() - started, 2)
    found = {"read": read, "different": len(values), "partitions": len(partitions)}
    print(json.dumps({**found, "took_s": took_s}))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
