"""The load: librdkafka writes so many records to one partition, then says what it saw, as JSON.

    load.py BOOTSTRAP TOPIC RECORDS RECORD_BYTES BATCH_BYTES

Records come from a pool of random bytes, nothing is compressed, acks=all, one connection.
"""

from __future__ import annotations

import json
import os
import sys
import time

import confluent_kafka


def main(bootstrap: str, topic: str, records: int, size: int, batch: int) -> None:
    failed: list[str] = []
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "batch.size": batch,
            "batch.num.messages": 1_000_000,
            "message.max.bytes": max(batch + 1024, 1_000_000),
            "linger.ms": 50,
            "queue.buffering.max.kbytes": 64 * 1024,
            "queue.buffering.max.messages": 1_000_000,
            "max.in.flight.requests.per.connection": 5,
        }
    )

    def told(error: object, _message: object) -> None:
        if error is not None:
            failed.append(str(error))

    pool = [os.urandom(size) for _ in range(64)]
    begin = time.perf_counter()
    for i in range(records):
        while True:
            try:
                producer.produce(topic, pool[i & 63], partition=0, on_delivery=told)
                break
            except BufferError:
                producer.poll(0.01)
        if not i & 1023:
            producer.poll(0)
    producer.flush(120)
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "bytes": records * size, "failed": failed[:3]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))
