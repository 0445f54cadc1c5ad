"""Hold packets back for a drawn while each, so that they come late and in another order.

Run inside a node's network namespace, as `Network.delay` does:

    python -m quorate_broker.testing.chaos.delay QUEUE LOW_MS HIGH_MS SEED

It takes what an NFQUEUE rule gives it (the kernel's nfnetlink_queue, spoken to without a library)
and says "accept" of each when its time has come. When it ends, the kernel drops what it holds and
the rule lets everything through: the peers' TCP makes up for both. Read next: `network`.
"""

from __future__ import annotations

import heapq
import random
import select
import socket
import struct
import sys
import time

NETLINK_NETFILTER = 12
PACKET, VERDICT, CONFIG = 0x300, 0x301, 0x302
"""Message types: subsystem 3, the queue's, and its own number."""
_REQUEST = 1
_NLMSG = struct.Struct("=IHHII")
_NFGEN = struct.Struct(">BBH")
_ATTRIBUTE = struct.Struct("=HH")
_BIND, _COPY_META, _ACCEPT = 1, 1, 1
_CONFIG_COMMAND, _CONFIG_PARAMS, _CONFIG_LENGTH = 1, 2, 3
_PACKET_HEAD, _VERDICT_HEAD = 1, 2
_QUEUE_PACKETS = 65_536


def message(kind: int, queue: int, attribute: int, content: bytes) -> bytes:
    """One request with one attribute."""
    body = _NFGEN.pack(socket.AF_UNSPEC, 0, queue)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(content), attribute) + content
    body += bytes(-len(body) % 4)
    return _NLMSG.pack(_NLMSG.size + len(body), kind, _REQUEST, 0, 0) + body


def packet_ids(data: bytes) -> list[int]:
    """The kernel's numbers of the packets that these messages tell of."""
    found = []
    at = 0
    while at + _NLMSG.size <= len(data):
        length, kind, *_ = _NLMSG.unpack_from(data, at)
        if length < _NLMSG.size:
            break
        if kind == PACKET:
            found += _ids_of(data[at + _NLMSG.size + _NFGEN.size : at + length])
        at += (length + 3) & ~3
    return found


def _ids_of(attributes: bytes) -> list[int]:
    found = []
    at = 0
    while at + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, at)
        if kind & 0x3FFF == _PACKET_HEAD:
            found.append(int.from_bytes(attributes[at + 4 : at + 8], "big"))
        at += max(4, (length + 3) & ~3)
    return found


def hold(queue: int, low_ms: float, high_ms: float, source: random.Random) -> None:
    """For ever."""
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    netlink.bind((0, 0))
    command = struct.pack(">BxH", _BIND, 0)
    netlink.send(message(CONFIG, queue, _CONFIG_COMMAND, command))
    netlink.send(message(CONFIG, queue, _CONFIG_PARAMS, struct.pack(">IB", 0, _COPY_META)))
    netlink.send(message(CONFIG, queue, _CONFIG_LENGTH, struct.pack(">I", _QUEUE_PACKETS)))
    sys.stdout.write("holding\n")
    sys.stdout.flush()
    held: list[tuple[float, int]] = []
    while True:
        now = time.perf_counter()
        while held and held[0][0] <= now:
            _, number = heapq.heappop(held)
            verdict = struct.pack(">II", _ACCEPT, number)
            netlink.send(message(VERDICT, queue, _VERDICT_HEAD, verdict))
        wait_s = max(0.0, held[0][0] - now) if held else 1.0
        if select.select([netlink], [], [], wait_s)[0]:
            now = time.perf_counter()
            for number in packet_ids(netlink.recv(1 << 20)):
                due = now + source.uniform(low_ms, high_ms) / 1000
                heapq.heappush(held, (due, number))


if __name__ == "__main__":
    hold(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), random.Random(int(sys.argv[4])))
