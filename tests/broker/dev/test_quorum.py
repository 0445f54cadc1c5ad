"""The Admin API of real nodes through a lost leader and a lost quorum."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.process


def test_a_watch_on_a_follower_tells_of_the_new_leader(
    start: Any, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    dev = start()
    dev.wait_ready()
    before = dev.get(1, "/v1/watch")
    leader = before["leader"]["node_id"]
    follower = next(node_id for node_id in (1, 2, 3) if node_id != leader)
    os.kill(dev.pid(leader), signal.SIGKILL)
    seen = [dev.get(follower, "/v1/watch")]

    def moved() -> bool:
        after = seen[-1]["version"]
        path = f"/v1/watch?after={after}&timeout_ms=4000"
        seen.append(dev.get(follower, path))
        has_moved = seen[-1]["leader"] not in (None, before["leader"])
        # The term counts as soon as its first entry is committed, a moment after its leader.
        return has_moved and seen[-1]["transitions"] > before["transitions"]

    eventually(moved)
    now = seen[-1]
    assert now["leader"]["node_id"] != leader
    assert now["leader"]["term"] > before["leader"]["term"]
    assert now["transitions"] == before["transitions"] + 1
    assert now["cluster_id"] == before["cluster_id"]
    versions = [one["version"] for one in seen]
    assert versions == sorted(versions)


def test_leadership_goes_where_it_is_asked_to_go(
    start: Any, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    dev = start()
    dev.wait_ready()
    leader = dev.get(1, "/v1/cluster/health_overview")["controller_id"]
    target = leader % 3 + 1
    asked = target % 3 + 1  # neither the leader nor the target has to be asked
    path = f"/v1/partitions/redpanda/controller/0/transfer_leadership?target={target}"
    answer = httpx.post(f"http://127.0.0.1:{dev.admin_port + asked - 1}{path}", timeout=10)
    assert answer.status_code == 200, answer.text

    def everybody_agrees() -> bool:
        paths = ("/v1/cluster/health_overview",) * 3
        seen = {dev.get(i + 1, path)["controller_id"] for i, path in enumerate(paths)}
        return seen == {target}

    eventually(everybody_agrees)
    state = dev.get(asked, "/v1/partitions/redpanda/controller/0")
    assert state["leader_id"] == target


def test_without_a_quorum_the_survivor_says_so_at_once_and_it_heals_by_itself(
    start: Any, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    dev = start()
    dev.wait_ready()
    for node_id in (2, 3):
        os.kill(dev.pid(node_id), signal.SIGKILL)
    eventually(lambda: dev.get(1, "/v1/cluster/health_overview")["controller_id"] == -1)
    eventually(lambda: dev.get(1, "/v1/cluster/health_overview")["nodes_down"] == [2, 3])
    started = time.monotonic()
    health = dev.get(1, "/v1/cluster/health_overview")
    assert time.monotonic() - started < 1.5
    assert health["is_healthy"] is False
    assert health["unhealthy_reasons"] == ["nodes_down", "no_elected_controller"]
    assert dev.get(1, "/v1/watch")["leader"] is None
    assert dev.get(1, "/v1/status/ready") == {"status": "ready"}, "readiness is the node's own"
    registration = {"pod": "p", "incarnation": "x"}
    admin = f"http://127.0.0.1:{dev.admin_port}"
    refused = httpx.put(f"{admin}/v1/flanking/101", json=registration, timeout=10)
    assert refused.status_code == 503, refused.text

    again = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "quorate_broker", "run", "--config"),
                str(dev.data / f"node-{node_id}" / "quorate.toml"),
            ],
            stderr=subprocess.DEVNULL,
        )
        for node_id in (2, 3)
    ]
    try:
        eventually(lambda: dev.get(1, "/v1/cluster/health_overview")["is_healthy"])
        assert dev.get(1, "/v1/cluster/health_overview")["controller_id"] in (1, 2, 3)
    finally:
        for process in again:
            process.terminate()
        codes = [process.wait(timeout=30) for process in again]
    assert codes == [0, 0]


def test_many_watchers_wait_at_once_and_all_are_told(start: Any) -> None:
    dev = start(nodes=1)
    dev.wait_ready()
    version = dev.get(1, "/v1/watch")["version"]
    path = f"/v1/watch?after={version}&timeout_ms=4500"
    with concurrent.futures.ThreadPoolExecutor(max_workers=20) as pool:
        waiting = [pool.submit(dev.get, 1, path) for _ in range(20)]
        registration = {"pod": "p", "incarnation": "x"}
        admin = f"http://127.0.0.1:{dev.admin_port}"
        assert httpx.put(f"{admin}/v1/flanking/101", json=registration).status_code == 200
        told = [one.result(timeout=10) for one in waiting]
    assert all(one["version"] > version for one in told)
    assert all([node["node_id"] for node in one["flanking"]] == [101] for one in told)
