"""Keeps the replicas on this node as committed metadata wants them: opened, or closed and deleted.

Level-triggered: each look compares all of the image with what is open, so that nothing depends on
having seen a certain record. Whoever may be part of a group keeps a replica; a partition that has
never moved is founded by those it was made for, any other replica begins hollow and is filled by
its leader. Nothing is deleted before this node has caught up with the metadata leader of its day:
an image that is still behind knows too little. And a replica of a topic that lives goes only when
its group's leader agrees (`leaving`). Read next: `steering`, then `shelf`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid

from quorate_broker.cluster.image import PartitionInfo, Topic
from quorate_broker.cluster.records import Member
from quorate_broker.log.datadir import DataDir
from quorate_broker.node import leaving
from quorate_broker.node.context import NodeContext, Parts
from quorate_broker.node.disks import Disks
from quorate_broker.node.settings import topic_log, topic_raft
from quorate_broker.node.shelf import METADATA_GROUP, METADATA_TOPIC, Wanted, group_name
from quorate_broker.raft.messages import HardState

log = logging.getLogger(__name__)

OPEN_AT_ONCE = 16
RETRY_S = 1.0
LOOK_AGAIN_S = 0.02


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
        self._topics: frozenset[uuid.UUID] | None = None
        """Those of the last look for what is gone."""
        self._left: set[tuple[uuid.UUID, int]] = set()
        """Folders of partitions that had moved away while this node was down."""
        self._again = False
        """Something could not be opened: look again, metadata moved or not."""
        self._open: set[tuple[uuid.UUID, int]] = set()
        self._all_tried = asyncio.Event()
        """Whatever metadata said at first is open, or could not be opened."""

    def look(self) -> None:
        """Metadata has moved."""
        self._look.set()

    async def run(self) -> None:
        while True:
            await self._until_due()
            self._look.clear()
            self._again = False
            is_whole = self._parts.controller.caught_up
            await self._open_missing()
            if is_whole:
                self._all_tried.set()
            if self._parts.controller.caught_up:
                await self._remove_gone()
                await self._leave()
            else:
                self._again = True

    async def opened(self) -> None:
        """Until a client need not be told that a partition which is here has no leader yet.

        Only once this node has caught up. What needs others' votes, or cannot be opened, is not
        waited for.
        """
        self._look.set()
        await self._all_tried.wait()
        while True:
            if not any(partition.replica.leads_soon for partition in self._parts.shelf):
                return
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _until_due(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S if self._again else None):
                await self._look.wait()

    # -- opening

    async def _open_missing(self) -> None:
        image = self._parts.controller.image
        missing = [
            (topic, info)
            for topic in tuple(image.topics.values())
            for info in topic.partitions
            if self._me in info.holders and (topic.id, info.index) not in self._open
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
            self._founders(topic, info),
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
        self._left.discard((topic.id, info.index))
        self._context.host_groups(topic, partition, info.index)

    def _founders(self, topic: Topic, info: PartitionInfo) -> tuple[Member, ...] | None:
        """None: the group lives without this replica, which has nothing, or lost what it had."""
        is_new = self._disks.hard_state(group_name(topic.id, info.index)) == HardState()
        return info.voters if is_new and info.moves == 0 and self._me in info.voters else None

    # -- removing

    async def _remove_gone(self) -> None:
        """What belongs to topics that are gone."""
        image = self._parts.controller.image
        before, self._topics = self._topics, frozenset(image.topics_by_id)
        if not self._seen_folders:
            self._seen_folders = True
            self._left = await self._unknown_folders()
        for topic_id, index in tuple(self._open | self._left):
            if topic_id not in image.topics_by_id:
                await self._remove(topic_id, index)
        if before is None or before - self._topics:
            self._forget_gone()

    def _forget_gone(self) -> None:
        """Terms and votes outlive a replica that lives elsewhere now, but not their topic."""
        living = {
            group_name(topic.id, info.index)
            for topic in self._parts.controller.image.topics.values()
            for info in topic.partitions
        }
        self._disks.forget_all_but(living | {METADATA_GROUP})

    async def _leave(self) -> None:
        """What metadata puts elsewhere, as far as the leaders of those groups agree."""
        image = self._parts.controller.image
        for key in tuple(self._open | self._left):
            topic = image.topics_by_id.get(key[0])
            if topic is None or key[1] >= len(topic.partitions):
                continue
            if self._me in topic.partitions[key[1]].holders:
                continue
            partition = self._parts.shelf.get(*key)
            if partition is not None and not await leaving.may_leave(self._parts, partition):
                self._again = True
                continue
            if partition is not None:
                # At once: wanted again, it would acknowledge what is deleted when its turn comes.
                partition.close()
            log.info("%s lives elsewhere now: its replica here is deleted", group_name(*key))
            await self._remove(*key)

    async def _remove(self, topic_id: uuid.UUID, index: int) -> None:
        self._open.discard((topic_id, index))
        self._left.discard((topic_id, index))
        self._context.unhost_groups(topic_id, index)
        if topic_id not in self._parts.controller.image.topics_by_id:
            self._parts.leaders.forget([group_name(topic_id, index)])
        try:
            await self._parts.shelf.remove(topic_id, index)
        except OSError as error:
            log.error("cannot remove %s: %s", group_name(topic_id, index), error)

    async def _unknown_folders(self) -> set[tuple[uuid.UUID, int]]:
        """Folders that nothing here asked for: deleted or moved away while this node was down."""
        folders = await self._disks.call(self._datadir.groups)
        return {key for key in folders if key[0] != METADATA_TOPIC and key not in self._open}
