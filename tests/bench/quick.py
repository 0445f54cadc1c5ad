"""`make bench-quick`: one broker beside the pass-through probe, in one run, interleaved.

For each batch size the two take turns under the same load (librdkafka, acks=all, one partition);
the table gives medians with minimum and maximum. CPU seconds of the broker per GB is the figure
that survives a noisy machine; MB/s on shared cores is of use as a ratio only.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

HERE = pathlib.Path(__file__).parent
RECORD = 1024
BATCHES = {"16 KiB": 16 << 10, "128 KiB": 128 << 10, "1 MiB": 1 << 20}
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Sample:
    """One system under one batch size."""

    mb_per_s: list[float] = field(default_factory=list)
    cpu_per_gb: list[float] = field(default_factory=list)


@dataclass
class Target:
    """A running system."""

    name: str
    pid: int
    bootstrap: str

    def cpu_seconds(self) -> float:
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def resident_mb(self) -> float:
        pages = int(pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * PAGE / 1e6


def free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


@contextmanager
def probe(folder: pathlib.Path) -> Iterator[Target]:
    (port,) = free_ports(1)
    command = [sys.executable, str(HERE / "probe.py"), str(port), str(folder / "probe.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield Target("probe", process.pid, f"127.0.0.1:{port}")
        finally:
            process.terminate()


@contextmanager
def broker(folder: pathlib.Path) -> Iterator[Target]:
    kafka, admin, proxy, rpc = free_ports(4)
    ports = ["--port", kafka, "--admin-port", admin, "--proxy-port", proxy, "--rpc-port", rpc]
    command = [sys.executable, "-m", "quorate_broker", "dev", "--nodes", "1"]
    command += [*map(str, ports), "--data", str(folder), "--set", "num.partitions=1"]
    command += ["--set", "message.max.bytes=4194304"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            assert line.startswith("ready bootstrap="), line
            pid = int((folder / "node-1" / "pid").read_text())
            yield Target("quorate", pid, f"127.0.0.1:{kafka}")
        finally:
            process.terminate()
            process.wait()


def load(target: Target, topic: str, records: int, batch: int) -> tuple[float, float]:
    """(MB/s, broker CPU seconds per GB) of one round."""
    before = target.cpu_seconds()
    command = [sys.executable, str(HERE / "load.py"), target.bootstrap, topic]
    command += [str(records), str(RECORD), str(batch)]
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300).stdout
    told = json.loads(out)
    assert not told["failed"], told["failed"]
    cpu = target.cpu_seconds() - before
    return told["bytes"] / told["seconds"] / 1e6, cpu / (told["bytes"] / 1e9)


def spread(values: list[float], digits: int) -> str:
    low, mid, high = min(values), statistics.median(values), max(values)
    return f"{mid:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=256, help="per round")
    asked = parser.parse_args()
    records = asked.megabytes * 1_000_000 // RECORD
    with (
        tempfile.TemporaryDirectory(prefix="quorate-bench-") as name,
        probe(pathlib.Path(name)) as one,
        broker(pathlib.Path(name) / "broker") as other,
    ):
        idle = {target.name: target.resident_mb() for target in (one, other)}
        print(f"{asked.rounds} rounds of {asked.megabytes} MB, records of {RECORD} B, acks=all\n")
        print(f"{'batch':8} {'':8} {'MB/s':>28} {'broker CPU s/GB':>28}")
        for label, batch in BATCHES.items():
            samples = {one.name: Sample(), other.name: Sample()}
            for target in (one, other):
                load(target, "bench", records // 8, batch)
            for _ in range(asked.rounds):
                for target in (one, other):
                    rate, cpu = load(target, "bench", records, batch)
                    samples[target.name].mb_per_s.append(rate)
                    samples[target.name].cpu_per_gb.append(cpu)
            for system, sample in samples.items():
                rate, cpu = spread(sample.mb_per_s, 0), spread(sample.cpu_per_gb, 2)
                print(f"{label:8} {system:8} {rate:>28} {cpu:>28}")
        loaded = {target.name: target.resident_mb() for target in (one, other)}
        print()
        for system, before in idle.items():
            print(f"RSS of {system}: {before:.0f} MB idle, {loaded[system]:.0f} MB after the load")


if __name__ == "__main__":
    main()
