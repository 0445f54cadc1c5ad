"""A member tells the cluster where it listens and what it knows, each time it starts, and again
when it is told something new of itself.

Read next: `told`, `cluster.members`.
"""

from __future__ import annotations

import asyncio
import logging

from quorate_broker import config
from quorate_broker.cluster import commands, records
from quorate_broker.cluster.image import Broker
from quorate_broker.errors import KafkaError
from quorate_broker.node import told as telling
from quorate_broker.node.context import Parts

log = logging.getLogger(__name__)

AGAIN_S = 0.5
LOOK_AGAIN_S = 0.02
READ_AGAIN_S = 1.0


async def register(parts: Parts, version: str) -> None:
    """Until the committed metadata says of this broker what it says of itself."""
    told = telling.read(parts.settings.pod_info_dir)
    while True:
        known = parts.controller.image.brokers.get(parts.settings.node_id)
        mine = _registration(parts, version, told, known)
        if parts.controller.caught_up and known is not None and _same(mine, known):
            return
        try:
            await parts.controller.command(mine, parts.peers)
        except KafkaError as error:
            log.info("not registered yet: %s", error)
            await asyncio.sleep(AGAIN_S)
        else:
            await asyncio.sleep(LOOK_AGAIN_S)


async def follow(parts: Parts, version: str) -> None:
    """Look at what the pod is told, for as long as the broker lives, and pass news on."""
    folder = parts.settings.pod_info_dir
    before = telling.read(folder)
    while True:
        await asyncio.sleep(READ_AGAIN_S)
        now = telling.read(folder)
        if now != before:
            log.info("told anew: %s", now)
            await register(parts, version)
            before = now


def _registration(
    parts: Parts, version: str, told: telling.Told, known: Broker | None
) -> commands.RegisterBroker:
    settings = parts.settings
    rpc = settings.rpc_advertised
    return commands.RegisterBroker(
        settings.node_id,
        parts.peers.me.incarnation,
        rpc.host,
        rpc.port,
        telling.endpoints(settings, told, known),
        telling.rack(settings, told, known),
        version,
        parts.controller.knows,
        settings.feature_level_raise == "auto",
    )


def _same(mine: commands.RegisterBroker, known: Broker) -> bool:
    return all(
        getattr(mine, field) == getattr(known, field)
        for field in commands.RegisterBroker.__struct_fields__
        if field != "raises"
    )


def version_of(settings: config.Settings, version: str) -> str:
    """What this broker says it is; one that stands for an older version does not hide it."""
    level = records.known(settings.feature_level_known)
    return version if level == records.FEATURE_LEVEL else f"{version}-level{level}"
