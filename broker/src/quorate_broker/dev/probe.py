"""Does it serve yet? Asked of the nodes' Admin API, as any supervisor would.

A handful of lines of HTTP/1.0 instead of a client library: `dev` should be up before its nodes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from quorate_broker.dev.plan import HOST, Node

TIMEOUT_SECONDS = 1.0


async def get(port: int, path: str) -> tuple[int, object]:
    """(status, JSON body); OSError or ValueError if there is no such answer."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
            answer = await reader.read(-1)
        finally:
            writer.close()
            await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(maxsplit=2)[1]), json.loads(body)


async def not_ready(nodes: Sequence[Node]) -> list[str]:
    """A few words for each node that does not serve yet; empty when all do."""
    words = await asyncio.gather(*(_why_not(node, nodes) for node in nodes))
    return [word for word in words if word]


async def _why_not(node: Node, nodes: Sequence[Node]) -> str:
    """A broker must be ready itself and see a leader and every other broker alive."""
    try:
        status, _ = await get(node.admin_port, "/v1/status/ready")
        if status != 200:
            return f"node {node.node_id} is booting"
        if not node.is_broker:
            return ""
        _, health = await get(node.admin_port, "/v1/cluster/health_overview")
    except (OSError, ValueError, IndexError, TimeoutError):
        return f"node {node.node_id} does not answer"
    brokers = sum(1 for other in nodes if other.is_broker)
    if not isinstance(health, dict) or len(health.get("all_nodes", ())) != brokers:
        return f"node {node.node_id} does not know all brokers"
    if not health.get("is_healthy"):
        return f"node {node.node_id}: {', '.join(health.get('unhealthy_reasons', ()))}"
    return ""
