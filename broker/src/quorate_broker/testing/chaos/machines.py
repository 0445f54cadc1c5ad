"""Three brokers as if on three machines: own network, own disk, own process. Next: `faults`.

Brokers are started from the main thread only: the kernel kills them when that thread ends.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

import msgspec

from quorate_broker.testing import repository
from quorate_broker.testing.chaos.disks import Disks
from quorate_broker.testing.chaos.network import (
    ADMIN_PORT,
    CLIENT_PORT,
    PEER_PORT,
    Network,
    address,
)
from quorate_broker.testing.sabotage import TROUBLE, Trouble

STOP_S = 30.0
ASK_S = 3.0


class Machines:
    """Nodes 1 to `count`; not running at first."""

    def __init__(
        self,
        folder: pathlib.Path,
        count: int = 3,
        settings: Sequence[str] = (),
        sabotage: bool = True,
    ) -> None:
        self.node_ids = tuple(range(1, count + 1))
        self._sabotage = sabotage
        self._doomed: set[int] = set()
        self._older: set[int] = set()
        self.folder = folder
        self.network = Network(self.node_ids)
        self.disks = Disks(folder, self.node_ids)
        self._settings = tuple(settings)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._paused: set[int] = set()
        self.ended: list[tuple[int, int]] = []
        """(node, exit code) of those that ended without being asked to."""
        for node_id in self.node_ids:
            self._config(node_id).write_text(self._toml(node_id), encoding="utf-8")

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{address(node_id)}:{CLIENT_PORT}" for node_id in self.node_ids)

    # -- life

    def start(self, *node_ids: int) -> None:
        """Of this version."""
        for node_id in node_ids or self.node_ids:
            self._older.discard(node_id)
            self._start(node_id, {})

    def start_older(self, node_id: int) -> None:
        """Of the version before this one, until it is started again."""
        place = self.folder / "older"
        source = place / "broker" / "src"
        if not place.exists():
            assert source == repository.source_of(repository.PREVIOUS, place)
        self._older.add(node_id)
        self._start(node_id, {"PYTHONPATH": str(source)})

    def _start(self, node_id: int, more: dict[str, str]) -> None:
        command = ["setpriv", "--pdeathsig", "KILL", *self.network.inside(node_id)]
        entry = ["quorate_broker.testing.sabotaged"]
        environ = os.environ | more | {TROUBLE: str(self._trouble(node_id))}
        if not self._sabotage:
            entry, environ = ["quorate_broker", "run"], os.environ | more
        command += [sys.executable, "-m", *entry, "--config", str(self._config(node_id))]
        settings = self._settings
        if not more:  # so that the older version, which does not know this, can come back
            settings += ("feature.level.raise=asked",)
        for setting in settings:
            command += ["--set", setting]
        with self.log_file(node_id).open("ab") as log:
            self._processes[node_id] = subprocess.Popen(
                command, stdout=log, stderr=log, env=environ
            )

    def kill(self, *node_ids: int) -> None:
        """SIGKILL all of them, then reap. A process in a frozen file system cannot die."""
        for node_id in node_ids:
            self.disks.thaw(node_id)
            self._processes[node_id].kill()
        for node_id in node_ids:
            self._processes.pop(node_id).wait()
            self._paused.discard(node_id)

    def terminate(self, node_id: int) -> int:
        """SIGTERM; the exit code. Any but 0 is noted, as if it had ended by itself."""
        process = self._processes.pop(node_id)
        process.terminate()
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code != 0:
            self.ended.append((node_id, code))
        return code

    def pause(self, node_id: int) -> None:
        self._processes[node_id].send_signal(signal.SIGSTOP)
        self._paused.add(node_id)

    def lose_power(self, *node_ids: int) -> None:
        """What was synced is there when the disk is mounted again, the rest is not.

        The processes stand still before: a sync that is under way while its file system is shut
        down may say that all is well, and lose it (ext4, Linux 6.18).
        """
        running = [node_id for node_id in node_ids if node_id in self._processes]
        for node_id in running:
            self.disks.thaw(node_id)
            self.pause(node_id)
        for node_id in running:
            self._wait_still(node_id)
        for node_id in node_ids:
            self.disks.cut_power(node_id)
        self.kill(*running)
        for node_id in node_ids:
            self.disks.power_on(node_id)

    def _wait_still(self, node_id: int) -> None:
        """Until no thread of the broker is in a system call any more."""
        tasks = pathlib.Path(f"/proc/{self._processes[node_id].pid}/task")
        deadline = time.perf_counter() + STOP_S
        while not all(_stands_still(task / "stat") for task in tasks.iterdir()):
            assert time.perf_counter() < deadline, f"node {node_id} does not stop"
            time.sleep(0.002)

    def trouble(self, node_id: int, trouble: Trouble) -> None:
        """From now on the node's disk and clock do as `sabotage` reads."""
        written = self.folder / f"node-{node_id}.trouble.new"
        written.write_bytes(msgspec.json.encode(trouble))
        written.rename(self._trouble(node_id))

    def lose_power_at_heal(self, node_id: int) -> None:
        """Its disk has failed: nothing unsynced survives, and the process begins anew."""
        self._doomed.add(node_id)

    def wipe(self, node_id: int) -> None:
        """The disk of a dead broker is a new one."""
        assert node_id not in self._processes, "killed before"
        shutil.rmtree(self.disks.data(node_id), ignore_errors=True)

    def wait_ready(self, node_id: int, timeout_s: float) -> bool:
        """Whether the node says in time that it serves."""
        deadline = time.perf_counter() + timeout_s
        while time.perf_counter() < deadline:
            if self.get(node_id, "/v1/status/ready") == {"status": "ready"}:
                return True
            time.sleep(0.1)
        return False

    def heal(self) -> None:
        """Links, disks and processes as they should be."""
        self.network.heal()
        self.disks.heal()
        for node_id in self.node_ids:
            self._trouble(node_id).unlink(missing_ok=True)
        if self._doomed:
            self.lose_power(*self._doomed)
        self._doomed.clear()
        for node_id in self._paused:
            self._processes[node_id].send_signal(signal.SIGCONT)
        self._paused.clear()
        self.notice_ended()
        self.start(*self.missing) if self.missing else None
        self._upgrade()

    def _upgrade(self) -> None:
        """Those of an older version, one after the other, each when the one before serves."""
        for node_id in sorted(self._older):
            self.terminate(node_id)
            self.start(node_id)
            self.wait_ready(node_id, STOP_S)

    def notice_ended(self) -> None:
        """Forget, and note, those that ended by themselves."""
        for node_id, process in list(self._processes.items()):
            code = process.poll()
            if code is not None:
                self.ended.append((node_id, code))
                del self._processes[node_id]

    def close(self) -> None:
        self.network.heal()
        self.disks.heal()
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._processes.clear()
        self.disks.close()
        self.network.close()

    # -- looking

    def memory_mb(self, node_id: int) -> int:
        """What the broker's process takes."""
        status = pathlib.Path(f"/proc/{self._processes[node_id].pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) // 1024

    @property
    def missing(self) -> list[int]:
        return [node_id for node_id in self.node_ids if node_id not in self._processes]

    @property
    def answering(self) -> list[int]:
        """Those that can be expected to answer."""
        return [i for i in self.node_ids if i in self._processes and i not in self._paused]

    def get(self, node_id: int, path: str) -> Any:
        """JSON from a node's Admin API; None when it cannot be had."""
        try:
            with urllib.request.urlopen(self._url(node_id) + path, timeout=ASK_S) as response:
                return json.load(response)
        except (OSError, ValueError):
            return None

    def post(self, node_id: int, path: str) -> bool:
        request = urllib.request.Request(self._url(node_id) + path, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=ASK_S):
                return True
        except OSError:
            return False

    def is_whole(self, node_id: int) -> bool:
        """By the word of this node: every partition led, every replica in sync."""
        health = self.get(node_id, "/v1/cluster/health_overview")
        return bool(health and health["is_healthy"] and health["under_replicated_count"] == 0)

    def complaint(self, node_id: int) -> str:
        """What is not well, by the word of this node."""
        health = self.get(node_id, "/v1/cluster/health_overview")
        if health is None:
            return "no answer"
        wrong = {
            key: value
            for key, value in health.items()
            if value not in ([], 0, True) and not key.startswith(("all_", "controller"))
        }
        return json.dumps(wrong)[:500]

    def leader(self, topic: str, partition: int) -> int | None:
        for node_id in self.answering:
            state = self.get(node_id, f"/v1/partitions/kafka/{topic}/{partition}")
            if state is not None and state.get("leader_id", -1) != -1:
                return int(state["leader_id"])
        return None

    def in_sync(self, topic: str, partition: int) -> list[int]:
        """By the word of the leader."""
        leader = self.leader(topic, partition)
        path = f"/v1/partitions/kafka/{topic}/{partition}"
        state = None if leader is None else self.get(leader, path)
        return [] if state is None else sorted(map(int, state["in_sync_replicas"]))

    def controller(self) -> int | None:
        for node_id in self.answering:
            health = self.get(node_id, "/v1/cluster/health_overview")
            if health is not None and health["controller_id"] != -1:
                return int(health["controller_id"])
        return None

    def _trouble(self, node_id: int) -> pathlib.Path:
        return self.folder / f"node-{node_id}.trouble"

    def log_file(self, node_id: int) -> pathlib.Path:
        return self.folder / f"node-{node_id}.log"

    def _config(self, node_id: int) -> pathlib.Path:
        return self.folder / f"node-{node_id}.toml"

    def _url(self, node_id: int) -> str:
        return f"http://{address(node_id)}:{ADMIN_PORT}"

    def _toml(self, node_id: int) -> str:
        values = {
            "node.role": "broker",
            "node.id": node_id,
            "data.dir": str(self.disks.data(node_id)),
            "seeds": [f"{other}@{address(other)}:{PEER_PORT}" for other in self.node_ids],
            "rpc.host": address(node_id),
            "rpc.port": PEER_PORT,
            "admin.host": address(node_id),
            "admin.port": ADMIN_PORT,
            "proxy.host": address(node_id),
            "log.preallocate.bytes": 1 << 20,
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        listener = {
            "name": "PLAINTEXT",
            "host": address(node_id),
            "port": CLIENT_PORT,
            "authentication": "none",
        }
        lines += ["[[listeners]]", *(f"{k} = {json.dumps(v)}" for k, v in listener.items())]
        return "\n".join(lines) + "\n"


def _stands_still(stat: pathlib.Path) -> bool:
    """Stopped, a zombie, or gone."""
    try:
        state = stat.read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "TZX"
