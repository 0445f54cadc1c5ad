"""Runs in a client pod: write records, each acknowledged by all in-sync brokers.

    python3 produce.py BOOTSTRAP TOPIC FIRST COUNT

Prints JSON: how many were acknowledged, and how long it took.
"""

import asyncio
import json
import sys
import time

from aiokafka import AIOKafkaProducer


async def main(bootstrap: str, topic: str, first: int, count: int) -> None:
    started = time.monotonic()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        sent = [
            await producer.send(topic, key=b"%d" % number, value=b"record %d" % number)
            for number in range(first, first + count)
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()
    print(json.dumps({"acknowledged": len(sent), "took_s": round(time.monotonic() - started, 2)}))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
