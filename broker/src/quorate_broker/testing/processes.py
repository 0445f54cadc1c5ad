"""A cluster of real processes for tests: start it, kill what you like, look at it, stop it.

The configuration is that of `quorate-broker dev`; the processes are the test's own children, so
that each can be killed, paused and started again by itself. Waiting is always for something that
can be seen, with a deadline. Read next: `dev.plan`.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from quorate_broker.dev import plan

T = TypeVar("T")

READY_S = 30.0
STOP_S = 15.0
LOOK_EVERY_S = 0.02
FIRST_PORT, LAST_PORT = 20_000, 31_000
"""Below the range from which the system takes the ports of outgoing connections."""


class Cluster:
    """Broker and flanking processes on 127.0.0.1, by node id."""

    def __init__(
        self, folder: pathlib.Path, nodes: int = 3, flanking: int = 0, settings: Sequence[str] = ()
    ) -> None:
        self.options = _options(nodes, flanking)
        self.settings = tuple(settings)
        self.switches: dict[int, dict[str, str]] = {}
        """By node, for `testing.sabotage`; a node that has some runs by `testing.sabotaged`."""
        self.nodes = {node.node_id: node for node in plan.nodes(self.options, folder)}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        plan.write(list(self.nodes.values()))

    # -- life

    def start(self, *node_ids: int) -> None:
        """Start these nodes, or all."""
        for node_id in node_ids or self.nodes:
            node = self.nodes[node_id]
            switches = self.switches.get(node_id, {})
            entry = ["quorate_broker.testing.sabotaged"] if switches else ["quorate_broker", "run"]
            command = [sys.executable, "-m", *entry, "--config", str(node.config_file)]
            for setting in self.settings:
                command += ["--set", setting]
            with node.log_file.open("ab") as log:
                self._processes[node_id] = subprocess.Popen(
                    command, stdout=log, stderr=log, env=_environment() | switches
                )

    def wait_ready(self, *node_ids: int) -> None:
        """Until these nodes, or all, say that they serve."""
        for node_id in node_ids or self.nodes:
            eventually(functools.partial(self._is_ready, node_id), f"{node_id} ready", READY_S)

    def _is_ready(self, node_id: int) -> bool:
        code = self._processes[node_id].poll()
        assert code is None, f"node {node_id} ended with {code}:\n{self.log(node_id)}"
        status: object = self.get(node_id, "/v1/status/ready")
        return status == {"status": "ready"}

    def kill(self, node_id: int) -> None:
        """SIGKILL, and reap."""
        process = self._processes.pop(node_id)
        process.kill()
        process.wait()

    def pid(self, node_id: int) -> int:
        return self._processes[node_id].pid

    def exit_code(self, node_id: int) -> int | None:
        """Of a node that ended by itself, which is forgotten then; None while it runs."""
        code = self._processes[node_id].poll()
        if code is not None:
            del self._processes[node_id]
        return code

    def signal(self, node_id: int, number: signal.Signals) -> None:
        self._processes[node_id].send_signal(number)

    def wait_ended(self, node_id: int) -> int:
        """The exit code of a node that was asked to stop."""
        return self._processes.pop(node_id).wait(STOP_S)

    def stop(self) -> None:
        """End everything, also what is paused."""
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    # -- looking

    @property
    def brokers(self) -> list[int]:
        return [node_id for node_id, node in self.nodes.items() if node.is_broker]

    @property
    def running(self) -> list[int]:
        return sorted(self._processes)

    @property
    def bootstrap(self) -> str:
        return plan.bootstrap(self.options)

    def bootstrap_of(self, node_id: int) -> str:
        """One broker alone."""
        return f"127.0.0.1:{self.options.port + node_id - 1}"

    def url(self, node_id: int, service: str = "admin") -> str:
        """Base URL of a node's Admin API, or of its `proxy`."""
        return f"http://127.0.0.1:{self.nodes[node_id].ports[service + '-port']}"

    def get(self, node_id: int, path: str) -> Any:
        """JSON from a node's Admin API; None when it cannot be had."""
        try:
            with urllib.request.urlopen(self.url(node_id) + path, timeout=5) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)
        except OSError:
            return None

    def post(self, node_id: int, path: str, method: str = "POST") -> int:
        """The status of a POST (or a PUT) without a body to a node's Admin API."""
        request = urllib.request.Request(self.url(node_id) + path, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def controller(self, node_id: int) -> int:
        """Who leads the cluster, by the word of one node; -1 when it knows of nobody."""
        health = self.get(node_id, "/v1/cluster/health_overview")
        return -1 if health is None else int(health["controller_id"])

    def wait_leader(self, among: Sequence[int] = ()) -> int:
        """Until all running brokers name one leader (of `among`, if given)."""

        def agreed() -> int | None:
            asked = [i for i in self.running if self.nodes[i].is_broker]
            named = {self.controller(node_id) for node_id in asked}
            (leader,) = named if len(named) == 1 else (-1,)
            return leader if leader != -1 and (not among or leader in among) else None

        return eventually(agreed, "one leader that all brokers name")

    def partition_leader(self, topic: str, partition: int = 0) -> int:
        """Until some running broker names the leader of a partition."""

        def named() -> int | None:
            for node_id in self.running:
                state = self.get(node_id, f"/v1/partitions/kafka/{topic}/{partition}")
                if state is not None and state.get("leader_id", -1) in self.running:
                    return int(state["leader_id"])
            return None

        return eventually(named, f"a leader of {topic}/{partition}")

    def log(self, node_id: int) -> str:
        return self.nodes[node_id].log_file.read_text(errors="replace")[-4000:]


@contextmanager
def cluster(
    folder: pathlib.Path, nodes: int = 3, flanking: int = 0, settings: Sequence[str] = ()
) -> Iterator[Cluster]:
    """A ready cluster; stopped at the end, with the brokers' logs told if the test failed."""
    made = Cluster(folder, nodes, flanking, settings)
    try:
        made.start()
        made.wait_ready()
        yield made
    except BaseException:
        for node_id in made.nodes:
            sys.stderr.write(f"--- node {node_id}\n{made.log(node_id)}\n")
        raise
    finally:
        made.stop()


def eventually(look: Callable[[], T | None], what: str, timeout_s: float = 20.0) -> T:
    """What `look` sees once it is neither None nor False; AssertionError after the time-out."""
    deadline = time.perf_counter() + timeout_s
    while True:
        seen = look()
        if seen is not None and seen is not False:
            return seen
        assert time.perf_counter() < deadline, f"not seen within {timeout_s} s: {what}"
        time.sleep(LOOK_EVERY_S)


def _options(nodes: int, flanking: int) -> plan.Options:
    """Free ports for everything."""
    width = nodes + flanking
    source = random.Random(os.urandom(8))
    for _ in range(100):
        base = source.randrange(FIRST_PORT, LAST_PORT - 4 * width)
        options = plan.Options(
            nodes=nodes,
            flanking=flanking,
            port=base,
            admin_port=base + width,
            proxy_port=base + 2 * width,
            rpc_port=base + 3 * width,
        )
        if all(_is_free(port) for port in range(base, base + 4 * width)):
            return options
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("QUORATE_")}
