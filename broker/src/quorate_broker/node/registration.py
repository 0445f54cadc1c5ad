"""A member tells the cluster where it listens and what it knows, each time it starts.

Read next: `cluster.members`.
"""

from __future__ import annotations

import asyncio
import logging

from quorate_broker.cluster import commands
from quorate_broker.cluster.image import Broker
from quorate_broker.cluster.records import FEATURE_LEVEL, Endpoint
from quorate_broker.errors import KafkaError
from quorate_broker.node.context import Parts

log = logging.getLogger(__name__)

AGAIN_S = 0.5
LOOK_AGAIN_S = 0.02


async def register(parts: Parts, version: str) -> None:
    """Until the committed metadata says of this broker what it says of itself."""
    mine = _registration(parts, version)
    while True:
        image = parts.controller.image
        known = image.brokers.get(mine.node_id)
        if parts.controller.caught_up and known is not None and _same(mine, known):
            return
        try:
            await parts.controller.command(mine, parts.peers)
        except KafkaError as error:
            log.info("not registered yet: %s", error)
            await asyncio.sleep(AGAIN_S)
        else:
            await asyncio.sleep(LOOK_AGAIN_S)


def _registration(parts: Parts, version: str) -> commands.RegisterBroker:
    settings = parts.settings
    rpc = settings.rpc_advertised
    endpoints = tuple(
        Endpoint(each.name, each.advertised_address.host, each.advertised_address.port)
        for each in settings.listeners
    )
    return commands.RegisterBroker(
        settings.node_id,
        parts.peers.me.incarnation,
        rpc.host,
        rpc.port,
        endpoints,
        settings.rack or None,
        version,
        FEATURE_LEVEL,
    )


def _same(mine: commands.RegisterBroker, known: Broker) -> bool:
    return all(
        getattr(mine, field) == getattr(known, field)
        for field in commands.RegisterBroker.__struct_fields__
    )
