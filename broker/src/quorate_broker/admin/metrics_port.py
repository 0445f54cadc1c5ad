"""A port that tells how a node is and takes no orders: what a scraper may reach, and others may not
be kept from.

The Admin API has the same pages; whoever reaches that can also move leaders and remove brokers.
"""

from __future__ import annotations

import contextlib

from starlette.applications import Starlette
from starlette.routing import Route

from quorate_broker import config
from quorate_broker.admin import serve

PATHS = ("/public_metrics", "/metrics")


def build(admin: Starlette) -> Starlette:
    """Those pages of the Admin API, and nothing else."""
    return Starlette(routes=[Route(path, admin, methods=["GET"]) for path in PATHS])


async def open_if_wanted(
    stack: contextlib.AsyncExitStack, admin: Starlette, settings: config.Settings
) -> None:
    """Serve until `stack` ends. OSError if the port cannot be had."""
    if settings.metrics_port:
        pages = build(admin)
        await stack.enter_async_context(
            serve.serving(pages, settings.metrics_host, settings.metrics_port)
        )
