"""The doors of a member: Kafka's listeners, and the HTTP proxy. They open last and close first.

Read next: `net.server`, `proxy.app`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import uuid

from quorate_broker import config
from quorate_broker.admin import serve as http
from quorate_broker.net import server
from quorate_broker.net.limits import Limits
from quorate_broker.node import requests
from quorate_broker.node.context import NodeContext, Parts
from quorate_broker.proxy import app as proxy_app
from quorate_broker.proxy.local import LocalPort


async def open_all(
    stack: contextlib.AsyncExitStack,
    tasks: asyncio.TaskGroup,
    parts: Parts,
    context: NodeContext,
) -> list[server.Server]:
    """Open them; `stack` closes them again. Raises OSError when a port is taken."""
    settings = parts.settings
    opened = []
    for listener in settings.listeners:
        opened.append(await server.serve(context, listener, limits(settings), tasks))
        stack.push_async_callback(opened[-1].close)

    def limit() -> None:
        for each in opened:
            each.limit(limits(parts.settings))

    parts.live.listen(("socket.request.max.bytes", "max.connections"), limit)

    async def append(topic_id: uuid.UUID, index: int, batch: bytearray, timeout_ms: int) -> int:
        """What the proxy produces, appended wherever the partition is led."""
        asked = requests.Produce(str(topic_id), index, timeout_ms)
        return await requests.append_anywhere(parts, asked, batch)

    proxy = proxy_app.build(LocalPort(context, append), settings.proxy_request_max_bytes)
    parts.live.listen(
        ("proxy.request.max.bytes",),
        lambda: proxy.state.limit(parts.settings.proxy_request_max_bytes),
    )
    await stack.enter_async_context(http.serving(proxy, settings.proxy_host, settings.proxy_port))
    return opened


def limits(settings: config.Settings) -> Limits:
    """A listener's share of the settings."""
    return dataclasses.replace(
        Limits(),
        max_frame_bytes=settings.socket_request_max_bytes,
        max_connections=settings.max_connections,
    )
