"""Brokers as a client is told of them: live ones, by the address of the client's own listener.

Next: `metadata` and `describe_cluster`, the two answers that list them.
"""

from __future__ import annotations

from collections.abc import Iterator

from quorate_broker.api.context import Context
from quorate_broker.cluster.image import Broker, Image
from quorate_broker.cluster.records import Endpoint


def reachable(context: Context, image: Image, listener: str) -> Iterator[tuple[Broker, Endpoint]]:
    """Live brokers that serve `listener`, by node id."""
    for node_id in sorted(context.live_brokers & image.brokers.keys()):
        broker = image.brokers[node_id]
        endpoint = broker.endpoint(listener)
        if endpoint is not None:
            yield broker, endpoint


def controller(context: Context, reachable_ids: frozenset[int]) -> int:
    """Whom clients should send admin requests to; any broker forwards them.

    The metadata leader where clients can reach it, else this broker, else -1. Clients wait for a
    controller before they create topics: while none is known there must be none in the answer.
    """
    if context.controller_id in reachable_ids:
        return context.controller_id
    if context.controller_id >= 0 and context.me in reachable_ids:
        return context.me
    return -1
