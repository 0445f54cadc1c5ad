"""How long a broker with a thousand partitions takes to serve again after kill -9, and to stop:
`python tests/bench/restart.py --help`.

One real broker, one topic, so many megabytes in each partition. Every partition is written to in
the last second before the kill, so each log has a tail that no checkpoint names. Serving again
means that every partition of the topic takes a write. The broker runs from compiled bytecode, as
its image has it, whatever the environment says. Not a test: what it says depends on the disk and
the machine; the broker's CPU seconds depend on others least.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic
from idle import cpu_seconds

from quorate_broker.testing.processes import Cluster, eventually

TOPIC = "many"
NODE = 1
RECORD_BYTES = 200_000


def producer(cluster: Cluster) -> confluent_kafka.Producer:
    return confluent_kafka.Producer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "linger.ms": 50,
            "batch.size": 1_000_000,
            "queue.buffering.max.kbytes": 200_000,
        }
    )


def write(writing: confluent_kafka.Producer, partitions: int, value: bytes) -> None:
    """One record into every partition."""
    for partition in range(partitions):
        while True:
            try:
                writing.produce(TOPIC, value, partition=partition)
                break
            except BufferError:
                writing.poll(0.1)
        writing.poll(0)


def written(writing: confluent_kafka.Producer, partitions: int, value: bytes) -> None:
    write(writing, partitions, value)
    assert writing.flush(300) == 0


def fill(cluster: Cluster, partitions: int, megabytes: float) -> None:
    writing = producer(cluster)
    value = os.urandom(RECORD_BYTES)
    for _ in range(round(megabytes * 1e6 / RECORD_BYTES)):
        write(writing, partitions, value)
    assert writing.flush(600) == 0


def compile_broker(into: pathlib.Path) -> None:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(into)
    everything = "import quorate_broker.__main__, quorate_broker.node, quorate_broker.admin.app"
    subprocess.run([sys.executable, "-c", everything], check=True)


def listens(cluster: Cluster) -> bool:
    host, port = cluster.bootstrap.split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def start_again(cluster: Cluster, partitions: int) -> None:
    began = time.perf_counter()
    cluster.start(NODE)
    eventually(lambda: listens(cluster), "listens", 60)  # asking costs next to nothing
    ready = time.perf_counter() - began
    cpu = cpu_seconds(cluster.pid(NODE))
    written(producer(cluster), partitions, b"again")
    took = time.perf_counter() - began
    total = cpu_seconds(cluster.pid(NODE))
    print(f"  ready after {ready:.1f} s ({cpu:.1f} s of CPU)")
    print(f"  all written to after {took:.1f} s ({total:.1f} s of CPU)")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--partitions", type=int, default=1000)
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=pathlib.Path, default=None, help="on the disk to measure")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="restart-", dir=options.folder))
    compile_broker(folder / "bytecode")
    cluster = Cluster(folder, 1)
    try:
        cluster.start()
        cluster.wait_ready()
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        new = NewTopic(TOPIC, options.partitions, 1)
        admin.create_topics([new], operation_timeout=60, request_timeout=60)[TOPIC].result(60)
        fill(cluster, options.partitions, options.megabytes)
        print(f"{options.partitions} partitions of {options.megabytes:g} MB")
        for _ in range(options.rounds):
            written(producer(cluster), options.partitions, os.urandom(RECORD_BYTES // 10))
            print("after kill -9:")
            cluster.kill(NODE)
            start_again(cluster, options.partitions)
        began = time.perf_counter()
        cluster.signal(NODE, signal.SIGTERM)
        eventually(lambda: cluster.exit_code(NODE) is not None, "stopped", 120)
        print(f"stopped in {time.perf_counter() - began:.1f} s\nafter a clean stop:")
        start_again(cluster, options.partitions)
    finally:
        cluster.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
