"""Packets that are held back come late and in another order, and none is lost."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import pytest

from quorate_broker.testing.chaos import delay

HOLD = """
import os, socket, subprocess, sys, time
def run(*command): subprocess.run(command, check=True)
run("ip", "link", "set", "lo", "up")
run("iptables", "-A", "INPUT", "-p", "udp", "-j", "NFQUEUE", "--queue-num", "5", "--queue-bypass")
holder = subprocess.Popen(
    [sys.executable, "-m", "quorate_broker.testing.chaos.delay", "5", "50", "150", "1"],
    stdout=subprocess.PIPE,
)
assert holder.stdout.readline() == b"holding\\n"
receiver, sender = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
receiver.bind(("127.0.0.1", 9))
receiver.settimeout(5)
begun = time.perf_counter()
for number in range(20):
    sender.sendto(b"%d" % number, ("127.0.0.1", 9))
for _ in range(20):
    print(int(receiver.recv(100)), time.perf_counter() - begun)
holder.kill()
holder.wait()
sender.sendto(b"99", ("127.0.0.1", 9))
print(int(receiver.recv(100)), 0)
"""


@pytest.mark.process
def test_packets_come_late_in_another_order_and_all_of_them() -> None:
    command = ["unshare", "--net", sys.executable, "-c", HOLD]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    numbers = [int(number) for number, _ in rows]
    *held, after = numbers
    assert sorted(held) == list(range(20))
    assert held != sorted(held)
    assert after == 99, "without the holder everything passes"
    assert all(float(seconds) >= 0.05 for _, seconds in rows[:-1])


def test_the_kernels_packets_are_told_from_its_other_messages() -> None:
    head = struct.pack("=HH", 11, 1) + struct.pack(">IHB", 7, 0x800, 1) + b"\0"
    packet = struct.pack("=BBH", 2, 0, 0) + struct.pack("=HH", 8, 9) + bytes(4) + head
    one = struct.pack("=IHHII", 16 + len(packet), delay.PACKET, 0, 0, 0) + packet
    other = struct.pack("=IHHII", 20, 2, 0, 0, 0) + bytes(4)
    assert delay.packet_ids(one + other + one) == [7, 7]
    assert delay.packet_ids(b"") == []
