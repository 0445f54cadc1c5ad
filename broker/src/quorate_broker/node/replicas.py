"""Keeps the replicas on this node as committed metadata wants them: opened, or closed and deleted.

Level-triggered: each look compares all of the image with what is open, so that nothing depends on
having seen a certain record. Folders of topics that are gone are deleted only when this node has
caught up with the metadata leader of its day: an image that is still behind knows too little.
Read next: `shelf`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid

from quorate_broker.cluster.image import PartitionInfo, Topic
from quorate_broker.cluster.records import Member
from quorate_broker.log.datadir import DataDir
from quorate_broker.node.context import NodeContext, Parts
from quorate_broker.node.disks import Disks
from quorate_broker.node.settings import topic_log, topic_raft
from quorate_broker.node.shelf import METADATA_TOPIC, Wanted, group_name

log = logging.getLogger(__name__)

OPEN_AT_ONCE = 16
RETRY_S = 5.0


class Replicas:
    """One per broker; `run` is its task."""

    def __init__(self, parts: Parts, context: NodeContext, datadir: DataDir, disks: Disks) -> None:
        self._parts = parts
        self._context = context
        self._datadir = datadir
        self._disks = disks
        self._me = Member(parts.peers.me.node_id, parts.peers.me.incarnation)
        self._look = asyncio.Event()
        self._seen_folders = False
        self._again = False
        """Something could not be opened: look again, metadata moved or not."""
        self._open: set[tuple[uuid.UUID, int]] = set()

    def look(self) -> None:
        """Metadata has moved."""
        self._look.set()

    async def run(self) -> None:
        while True:
            await self._until_due()
            self._look.clear()
            self._again = False
            await self._open_missing()
            await self._remove_gone()

    async def _until_due(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S if self._again else None):
                await self._look.wait()

    async def _open_missing(self) -> None:
        image = self._parts.controller.image
        missing = [
            (topic, info)
            for topic in tuple(image.topics.values())
            for info in topic.partitions
            if self._me in info.voters and (topic.id, info.index) not in self._open
        ]
        gate = asyncio.Semaphore(OPEN_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for topic, info in missing:
                tasks.create_task(self._open_one(gate, topic, info))

    async def _open_one(self, gate: asyncio.Semaphore, topic: Topic, info: PartitionInfo) -> None:
        settings = self._parts.settings
        wanted = Wanted(
            topic.id,
            info.index,
            info.voters,
            topic_log(settings, topic.config),
            topic_raft(settings, topic.internal),
        )
        async with gate:
            try:
                partition = await self._parts.shelf.open(wanted)
            except OSError as error:
                log.error("cannot open %s: %s", group_name(topic.id, info.index), error)
                self._again = True
                return
        self._open.add((topic.id, info.index))
        self._context.host_groups(topic, partition, info.index)

    async def _remove_gone(self) -> None:
        image = self._parts.controller.image
        gone = [key for key in self._open if key[0] not in image.topics_by_id]
        if not self._seen_folders and self._parts.controller.caught_up:
            self._seen_folders = True
            gone += await self._forgotten_folders()
        for topic_id, index in gone:
            self._open.discard((topic_id, index))
            self._context.unhost_groups(topic_id, index)
            self._parts.leaders.forget([group_name(topic_id, index)])
            try:
                await self._parts.shelf.remove(topic_id, index)
            except OSError as error:
                log.error("cannot remove %s: %s", group_name(topic_id, index), error)

    async def _forgotten_folders(self) -> list[tuple[uuid.UUID, int]]:
        """Folders of topics that were deleted while this node was down."""
        image = self._parts.controller.image
        folders = await self._disks.call(self._datadir.groups)
        return [
            (topic_id, index)
            for topic_id, index in folders
            if topic_id != METADATA_TOPIC
            and topic_id not in image.topics_by_id
            and (topic_id, index) not in self._open
        ]
