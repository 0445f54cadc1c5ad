"""One network namespace for each broker, joined by a bridge, and what goes wrong between them.

The bridge and the clients live in the runner's own namespace. A namespace is held open by a
process that dies with the runner; nothing has a name outside. Read next: `machines`.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence

CLIENTS = "10.77.0.254"
CLIENT_PORT, PEER_PORT, ADMIN_PORT = 9092, 33145, 9644
_MADE_S = 10.0
_UNREAD_ASKED = 100
_ASK_METADATA = struct.pack(">ihhihi", 14, 3, 1, 7, -1, -1)
"""Metadata v1 of every topic, without a client id."""
_TABLE = "add table inet chaos"
_CHAIN = "add chain inet chaos arriving { type filter hook input priority 0; }"


def address(node_id: int) -> str:
    return f"10.77.0.{node_id}"


class Network:
    """Links of the nodes, all well at first."""

    def __init__(self, node_ids: Sequence[int]) -> None:
        self._holders = {node_id: _new_namespace() for node_id in node_ids}
        self._unread: list[socket.socket] = []
        self._delays: list[subprocess.Popen[bytes]] = []
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "joint", "type", "bridge")
        _run("ip", "addr", "add", f"{CLIENTS}/24", "dev", "joint")
        _run("ip", "link", "set", "joint", "up")
        for node_id in node_ids:
            self._join(node_id)

    def _join(self, node_id: int) -> None:
        ours = f"to-{node_id}"
        peer = ("peer", "name", "port", "netns", str(self._holders[node_id].pid))
        _run("ip", "link", "add", ours, "type", "veth", *peer)
        _run("ip", "link", "set", ours, "master", "joint", "up")
        inside = self.inside(node_id)
        _run(*inside, "ip", "addr", "add", f"{address(node_id)}/24", "dev", "port")
        _run(*inside, "ip", "link", "set", "port", "up")
        _run(*inside, "ip", "link", "set", "lo", "up")
        _run(*inside, "nft", f"{_TABLE}; {_CHAIN}")

    def inside(self, node_id: int) -> tuple[str, ...]:
        """What to put before a command so that it runs in the node's namespace."""
        return ("nsenter", f"--net=/proc/{self._holders[node_id].pid}/ns/net")

    def close(self) -> None:
        for holder in (*self._delays, *self._holders.values()):
            holder.kill()
            holder.wait()

    # -- trouble: each is a rule on what arrives at one node

    def drop_from(self, node_id: int, senders: Iterable[int]) -> None:
        """The node no longer hears these; they still hear it."""
        for sender in senders:
            self._rule(node_id, f"ip saddr {address(sender)} drop")

    def cut(self, one: Iterable[int], other: Iterable[int]) -> None:
        """Neither hears the other."""
        left, right = list(one), list(other)
        for node_id in left:
            self.drop_from(node_id, right)
        for node_id in right:
            self.drop_from(node_id, left)

    def cut_clients(self, node_id: int) -> None:
        """Kafka clients no longer reach the node; its peers do."""
        self._rule(node_id, f"ip saddr {CLIENTS} tcp dport {CLIENT_PORT} drop")

    def lose(self, node_id: int, percent: int) -> None:
        """This part of the packets that arrive are lost; the runner's own questions are not."""
        self._rule(node_id, f"tcp dport != {ADMIN_PORT} numgen random mod 100 < {percent} drop")

    def reset(self, node_id: int, permille: int) -> None:
        """This part of the packets is answered by a reset of their connection."""
        ports = f"{{ {CLIENT_PORT}, {PEER_PORT} }}"
        rule = f"tcp dport {ports} numgen random mod 1000 < {permille} reject with tcp reset"
        self._rule(node_id, rule)

    def delay(self, node_id: int, low_ms: int, high_ms: int, seed: int) -> None:
        """What arrives is held for so long, each packet by itself, so that they pass each other."""
        inside = self.inside(node_id)
        for port in (CLIENT_PORT, PEER_PORT):
            for side in ("--dport", "--sport"):
                rule = ("iptables", "-A", "INPUT", "-p", "tcp", side, str(port), "-j", "NFQUEUE")
                _run(*inside, *rule, "--queue-num", "1", "--queue-bypass")
        command = ["setpriv", "--pdeathsig", "KILL", *inside, sys.executable, "-m"]
        command += ["quorate_broker.testing.chaos.delay", "1", str(low_ms), str(high_ms), str(seed)]
        self._delays.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    def ask_and_never_read(self, node_id: int) -> None:
        """A client that sends requests until nothing goes out any more, and reads no answer."""
        client = socket.socket()
        client.setblocking(True)
        client.settimeout(1)
        self._unread.append(client)
        try:
            client.connect((address(node_id), CLIENT_PORT))
            for _ in range(_UNREAD_ASKED):
                client.sendall(_ASK_METADATA * 100)
        except OSError:  # full, or it was thrown out: both are what this is for
            return

    def heal(self) -> None:
        for client in self._unread:
            client.close()
        self._unread.clear()
        for node_id in self._holders:
            _run(*self.inside(node_id), "nft", "flush chain inet chaos arriving")
        if self._delays:
            for node_id in self._holders:
                _run(*self.inside(node_id), "iptables", "-F", "INPUT")
        for holder in self._delays:
            holder.kill()
            holder.wait()
        self._delays.clear()

    def _rule(self, node_id: int, rule: str) -> None:
        _run(*self.inside(node_id), "nft", f"add rule inet chaos arriving {rule}")


def _new_namespace() -> subprocess.Popen[bytes]:
    """A process in a new namespace; killed by the kernel when the runner dies."""
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]
    holder = subprocess.Popen(command)
    own = os.readlink("/proc/self/ns/net")
    deadline = time.perf_counter() + _MADE_S
    while os.readlink(f"/proc/{holder.pid}/ns/net") == own:
        assert holder.poll() is None, "no network namespace: is this root?"
        assert time.perf_counter() < deadline, "no network namespace in time"
        time.sleep(0.01)
    return holder


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
