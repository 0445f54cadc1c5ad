"""`quorate-broker dev` with real nodes: ready, kill, restart, and nothing left behind."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.process

Eventually = Callable[[Callable[[], bool]], None]
READY_SECONDS = 10.0
"""The promise is 3 s on a machine of one's own; the tests share theirs."""


def test_three_nodes_are_ready_serve_and_are_gone_after_ctrl_c(
    start: Any, is_alive: Callable[[int], bool]
) -> None:
    dev = start("--set", "num.partitions=2")
    line = dev.wait_ready()
    assert dev.seconds < READY_SECONDS
    bootstrap = ",".join(f"127.0.0.1:{dev.port + i}" for i in range(3))
    assert line.split()[1] == f"bootstrap={bootstrap}"
    pids = [dev.pid(node_id) for node_id in (1, 2, 3)]
    assert all(is_alive(pid) for pid in pids)
    leaders = set()
    for node_id in (1, 2, 3):
        health = dev.get(node_id, "/v1/cluster/health_overview")
        assert health["is_healthy"], health
        assert health["all_nodes"] == [1, 2, 3]
        leaders.add(health["controller_id"])
        assert httpx.get(f"http://127.0.0.1:{dev.proxy_port + node_id - 1}/topics").json() == []
    assert len(leaders) == 1
    code, said = dev.stop(signal.SIGINT)
    assert (code, said) == (0, "")
    assert not [pid for pid in pids if is_alive(pid)]
    assert not list(dev.data.glob("node-*/pid"))
    for node_id in (1, 2, 3):
        assert "Traceback" not in (dev.data / f"node-{node_id}" / "log").read_text()


def test_a_killed_node_stays_down_and_the_others_go_on(
    start: Any, eventually: Eventually, is_alive: Callable[[int], bool]
) -> None:
    dev = start()
    dev.wait_ready()
    leader = dev.get(1, "/v1/cluster/health_overview")["controller_id"]
    survivors = [node_id for node_id in (1, 2, 3) if node_id != leader]
    pid = dev.pid(leader)
    os.kill(pid, signal.SIGKILL)

    def moved() -> bool:
        seen = [dev.get(node_id, "/v1/cluster/health_overview") for node_id in survivors]
        new = {health["controller_id"] for health in seen}
        return (
            len(new) == 1
            and new <= set(survivors)
            and all(health["nodes_down"] == [leader] for health in seen)
        )

    eventually(moved)
    assert dev.pid(leader) == pid
    assert not is_alive(pid)
    code, said = dev.stop(signal.SIGTERM)
    assert code == 0
    assert f"node {leader} was killed by SIGKILL; it stays down" in said


def test_with_restart_a_killed_node_comes_back_under_a_new_pid(
    start: Any, eventually: Eventually
) -> None:
    dev = start("--restart")
    dev.wait_ready()
    pid = dev.pid(2)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: dev.pid(2) != pid)
    eventually(lambda: dev.get(2, "/v1/cluster/health_overview")["is_healthy"])
    code, said = dev.stop(signal.SIGTERM)
    assert code == 0
    assert "node 2 was killed by SIGKILL; starting it again" in said


def test_a_killed_dev_takes_its_nodes_with_it(
    start: Any, eventually: Eventually, is_alive: Callable[[int], bool]
) -> None:
    dev = start(nodes=1)
    dev.wait_ready()
    pid = dev.pid(1)
    dev.process.kill()
    eventually(lambda: not is_alive(pid))


def test_flanking_nodes_stand_beside_the_brokers_and_produce_through_their_proxy(
    start: Any, eventually: Eventually
) -> None:
    dev = start("--flanking", "1", nodes=1)
    dev.wait_ready()
    eventually(lambda: bool(dev.get(1, "/v1/flanking")))
    (flanking,) = dev.get(1, "/v1/flanking")
    assert (flanking["node_id"], flanking["pod"]) == (101, "node-101")
    assert dev.get(1, "/v1/cluster/health_overview")["all_nodes"] == [1]
    proxy = f"http://127.0.0.1:{dev.proxy_port + 1}"
    unknown = httpx.post(
        f"{proxy}/topics/nope",
        json={"records": [{"value": 1}]},
        headers={"Content-Type": "application/vnd.kafka.json.v2+json"},
    )
    assert (unknown.status_code, unknown.json()["error_code"]) == (404, 40402)
    assert httpx.get(f"{proxy}/topics").json() == []
    code, _ = dev.stop(signal.SIGTERM)
    assert code == 0


def test_a_taken_port_is_a_sentence_and_nothing_is_started(start: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        dev = start("--port", str(port), nodes=1)
        said = dev.process.communicate(timeout=30)[1]
    assert dev.process.returncode == 1
    assert f"port {port} of node 1 cannot be had" in said
    assert not list(dev.data.glob("node-*/pid"))


def test_a_bad_setting_is_exit_code_2_and_nothing_is_started(start: Any) -> None:
    dev = start("--set", "num.partition=3", nodes=1)
    said = dev.process.communicate(timeout=30)[1]
    assert dev.process.returncode == 2
    assert said == (
        "quorate-broker: num.partition: unknown setting; did you mean num.partitions?\n"
    )
    assert not list(dev.data.glob("node-*/pid"))


def run_broker(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quorate_broker", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_run_names_every_bad_key_and_exits_with_2(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "quorate.toml"
    path.write_text('node.id = 1\nnum.partition = 3\nlog.level = "loud"\n')
    done = run_broker("run", "--config", str(path), "--set", "admin.port=x")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "quorate-broker: num.partition: unknown setting; did you mean num.partitions?",
        "quorate-broker: log.level: must be one of debug, info, warning, error, not 'loud'",
        "quorate-broker: admin.port: must be an integer, not 'x'",
        "quorate-broker: listeners: a broker needs at least one [[listeners]] table",
    ]


def test_config_prints_the_registry_and_version_the_version() -> None:
    assert run_broker("--version").stdout.startswith("quorate-broker 0.")
    markdown = run_broker("config", "--format", "markdown").stdout
    assert "| `num.partitions` | integer | `4` | 1 to 10000 | cluster | no |" in markdown
    assert run_broker("config", "--format", "json").stdout.startswith("[")
    assert "log.segment.bytes = 1073741824" in run_broker("config").stdout
