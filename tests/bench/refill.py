"""How long a broker with an emptied disk takes to be in sync again, while the others serve:
`python tests/bench/refill.py --help`.

Three real brokers, a topic on all of them, so many megabytes in it; then one is killed, its disk
emptied, and started again, under a steady load of small records with acks=all. Prints when every
partition was in sync again, and what the producers saw meanwhile. Not a test: what it says depends
on the machine.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import tempfile
import threading
import time

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

from quorate_broker.testing.processes import Cluster, eventually

TOPIC = "refill"


def fill(cluster: Cluster, megabytes: int, partitions: int) -> None:
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": cluster.bootstrap, "linger.ms": 20, "batch.size": 500_000}
    )
    value = os.urandom(100_000)
    for number in range(megabytes * 10):
        while True:
            try:
                producer.produce(TOPIC, value, partition=number % partitions)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(600) == 0


class Load(threading.Thread):
    """Small records, one after the other, each acknowledged by all."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.took: list[float] = []
        self._stopped = threading.Event()
        self._producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap})

    def run(self) -> None:
        while not self._stopped.wait(0.01):
            began = time.perf_counter()
            self._producer.produce(TOPIC, b"small")
            assert self._producer.flush(60) == 0
            self.took.append(time.perf_counter() - began)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def is_refilled(cluster: Cluster) -> bool:
    states = cluster.get(1, f"/v1/partitions/kafka/{TOPIC}")
    return all(one["status"] == "done" and len(one["in_sync_replicas"]) == 3 for one in states)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--partitions", type=int, default=4)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="refill-"))
    cluster = Cluster(folder, 3)
    try:
        cluster.start()
        cluster.wait_ready()
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        for future in admin.create_topics([NewTopic(TOPIC, options.partitions, 3)]).values():
            future.result(30)
        fill(cluster, options.megabytes, options.partitions)
        print(f"{options.megabytes} MB in {options.partitions} partitions on each of three brokers")
        load = Load(cluster)
        load.start()
        cluster.kill(2)
        shutil.rmtree(cluster.nodes[2].directory / "data")
        began = time.perf_counter()
        cluster.start(2)
        cluster.wait_ready(2)
        print(f"ready again after {time.perf_counter() - began:.1f} s")
        eventually(lambda: is_refilled(cluster), "in sync again", 600)
        print(f"in sync again after {time.perf_counter() - began:.1f} s")
        load.stop()
        took = sorted(load.took)
        p99 = took[int(len(took) * 0.99)]
        print(f"meanwhile {len(took)} records, p99 {p99:.3f} s, longest {took[-1]:.3f} s")
    finally:
        cluster.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
