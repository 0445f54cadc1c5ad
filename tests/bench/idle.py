"""What a thousand partitions cost that nobody uses: CPU and memory of each of three brokers.

    python tests/bench/idle.py [--partitions 1000] [--seconds 60] [--json]

Starts `quorate-broker dev --nodes 3`, makes one topic with three replicas, waits until everything
is led and has come to rest, and then looks at /proc for a minute. The bar: at most 5 % of a core
and 150 MB each. Exit code 1 when it is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from confluent_kafka.admin import AdminClient, NewTopic

NODES = 3
CPU_BAR = 5.0
MEMORY_BAR = 150.0
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Cost:
    """Of one broker: per cent of a core, and megabytes."""

    node: int
    cpu: float
    rss: float

    @property
    def is_good(self) -> bool:
        return self.cpu <= CPU_BAR and self.rss <= MEMORY_BAR


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that are free now."""
    for first in range(20_000, 60_000, 100):
        try:
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first
    raise SystemExit("no free ports")


@contextmanager
def cluster(folder: pathlib.Path) -> Iterator[tuple[str, list[int]]]:
    """Bootstrap address and the pids of three brokers."""
    first = free_ports(4 * NODES)
    names = ("--port", "--admin-port", "--proxy-port", "--rpc-port")
    ports = [part for at, name in enumerate(names) for part in (name, str(first + at * NODES))]
    command = [sys.executable, "-m", "quorate_broker", "dev", "--nodes", str(NODES), *ports]
    command += ["--data", str(folder), "--set", "log.preallocate.bytes=65536"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("ready"))
            bootstrap = line.split("bootstrap=")[1].split()[0]
            pids = [int((folder / f"node-{i}" / "pid").read_text()) for i in range(1, NODES + 1)]
            yield bootstrap, pids
        finally:
            process.terminate()


def create(bootstrap: str, partitions: int) -> None:
    """One topic, with every partition led."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topic = NewTopic("idle", partitions, NODES)
    admin.create_topics([topic], operation_timeout=60, request_timeout=60)["idle"].result(60)
    deadline = time.monotonic() + 120
    while True:
        found = admin.list_topics("idle", timeout=30).topics["idle"].partitions
        if len(found) == partitions and all(
            part.leader > 0 and len(part.isrs) == NODES for part in found.values()
        ):
            return
        if time.monotonic() > deadline:
            raise SystemExit("not everything is led and in sync")
        time.sleep(0.5)


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_mb(pid: int) -> float:
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


def pass_time(seconds: float) -> float:
    """Do nothing for so long; how long it was."""
    began = time.monotonic()
    while (took := time.monotonic() - began) < seconds:
        time.sleep(min(1.0, seconds - took))
    return took


def measure(pids: list[int], seconds: float) -> list[Cost]:
    before = [cpu_seconds(pid) for pid in pids]
    took = pass_time(seconds)
    return [
        Cost(node, 100 * (cpu_seconds(pid) - used) / took, resident_mb(pid))
        for node, (pid, used) in enumerate(zip(pids, before, strict=True), start=1)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--partitions", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--settle", type=float, default=10, help="seconds before it is measured")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, cluster(pathlib.Path(name)) as (bootstrap, pids):
        create(bootstrap, chosen.partitions)
        pass_time(chosen.settle)
        costs = measure(pids, chosen.seconds)
    if chosen.json:
        print(json.dumps([asdict(cost) for cost in costs]))
    else:
        print(f"{chosen.partitions} idle partitions, {NODES} replicas each, {chosen.seconds:.0f} s")
        for cost in costs:
            print(f"  broker {cost.node}: {cost.cpu:5.1f} % of a core, {cost.rss:5.0f} MB")
    return 0 if all(cost.is_good for cost in costs) else 1


if __name__ == "__main__":
    sys.exit(main())
