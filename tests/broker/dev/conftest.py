"""A `quorate-broker dev` to play with, as a real process."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator

import pytest

HOST = "127.0.0.1"
PATIENCE_SECONDS = 30.0


class Dev:
    """One `dev` and the ports it was given."""

    def __init__(self, data: pathlib.Path, *arguments: str, nodes: int = 3) -> None:
        self.data = data
        self.nodes = nodes
        self.port, self.admin_port, self.proxy_port, self.rpc_port = free_ports(8)
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "quorate_broker", "dev"),
                *("--nodes", str(nodes)),
                *("--port", str(self.port)),
                *("--admin-port", str(self.admin_port)),
                *("--proxy-port", str(self.proxy_port)),
                *("--rpc-port", str(self.rpc_port)),
                *("--data", str(data)),
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> str:
        """The ready line; fails with what `dev` said if it does not come."""
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE_SECONDS)
        line = self.process.stdout.readline() if readable else ""
        if not line.startswith("ready "):
            self.process.kill()
            logs = [path.read_text()[-2000:] for path in sorted(self.data.glob("node-*/log"))]
            pytest.fail("\n".join([self.process.communicate()[1], *logs]))
        self.seconds = time.monotonic() - self.started
        return line.rstrip("\n")

    def pid(self, node_id: int) -> int:
        return int((self.data / f"node-{node_id}" / "pid").read_text())

    def get(self, node_id: int, path: str) -> object:
        """GET from the Admin API of a broker."""
        url = f"http://{HOST}:{self.admin_port + node_id - 1}{path}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)

    def stop(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal and wait; the exit code and what was said on stderr."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, said


def free_ports(span: int) -> tuple[int, int, int, int]:
    """Four first ports, each with `span` free ones from it, below the ephemeral range."""
    found: list[int] = []
    while len(found) < 4:
        first = random.randrange(15_000, 32_000, span)
        if first not in found and all(is_free(port) for port in range(first, first + span)):
            found.append(first)
    return found[0], found[1], found[2], found[3]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def alive(pid: int) -> bool:
    """Whether that process still runs (a zombie does not)."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait until something holds; fails if it does not within the patience of these tests."""

    def wait(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with contextlib.suppress(OSError, ValueError):
                if holds():
                    return
            if time.monotonic() > deadline:
                pytest.fail("did not come to hold in time")
            time.sleep(0.05)

    return wait


@pytest.fixture
def is_alive() -> Callable[[int], bool]:
    return alive


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Callable[..., Dev]]:
    """Start a `dev` that is surely gone, with its nodes, at the end of the test."""
    started: list[Dev] = []

    def begin(*arguments: str, nodes: int = 3) -> Dev:
        started.append(Dev(tmp_path / "data", *arguments, nodes=nodes))
        return started[-1]

    yield begin
    for dev in started:
        if dev.process.poll() is None:
            dev.process.kill()
        dev.process.communicate()
        for path in dev.data.glob("node-*/pid"):
            with contextlib.suppress(ProcessLookupError):
                if alive(int(path.read_text())):
                    os.kill(int(path.read_text()), signal.SIGKILL)
