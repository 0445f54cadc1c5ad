"""Brings the groups that this node leads to the members that metadata wants of them.

    metadata: target --want_members--> the group's leader --learners, joint, final--> settled
    --SettlePartitions--> metadata: that is where it lives

Level-triggered: each pass says again what is wanted, so a new leader takes up where the last one
was lost. Partitions are steered only while this node has applied what the metadata leader of its
day has committed; an image that is older could only cause detours, never loss, because nobody
votes before it has caught up. The metadata group itself is steered by its own leader, which also
moves what lies on draining brokers, a few partitions at a time, and ends their membership when
nothing does any more. Read next: `replicas`, which opens what a target names.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Iterable

from quorate_broker.cluster import commands, members, reassignment
from quorate_broker.cluster.image import Image
from quorate_broker.cluster.records import Member
from quorate_broker.errors import KafkaError
from quorate_broker.node import pace
from quorate_broker.node.context import Parts
from quorate_broker.partition.shell import Partition
from quorate_broker.raft.messages import Peer

log = logging.getLogger(__name__)

AGAIN_S = 0.1
"""While something is on its way."""
DRAIN_AT_ONCE = 8
STEERED_US = 12


class Steering:
    """One per broker; `run` is its task."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._look = asyncio.Event()
        self._busy = False
        self._said: dict[tuple[uuid.UUID, int], tuple[int, tuple[Member, ...]]] = {}
        """What groups that are where they shall be were told last, and in which term."""

    def look(self) -> None:
        """Metadata has moved, or this node leads something new."""
        self._look.set()

    async def run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S if self._busy else None):
                    await self._look.wait()
            self._look.clear()
            try:
                await self._step()
            except KafkaError as error:
                self._busy = True
                log.info("metadata could not be told what has moved: %s", error)
            image = self._parts.controller.image
            await asyncio.sleep(pace.pause_s(image.partition_count, STEERED_US))

    async def _step(self) -> None:
        controller = self._parts.controller
        if not controller.caught_up:
            self._busy = self._steer_metadata() or True
            return
        self._busy = self._steer_metadata()
        settled, moving = self._steer_partitions(controller.image)
        self._busy = self._busy or moving
        if settled:
            await self._command(commands.SettlePartitions(tuple(settled)))
        if controller.leads and controller.image.draining:
            self._busy = True
            await self._drain(controller.image)

    async def _command(self, command: commands.Command) -> commands.Reply:
        return await self._parts.controller.command(command, self._parts.peers)

    def _steer_metadata(self) -> bool:
        """Whether the metadata group is on its way."""
        controller = self._parts.controller
        image = controller.image
        if not controller.leads or not image.cluster_id:
            return False
        voters = image.metadata_voters
        partition = controller.partition
        return not self._want(partition, voters, set(image.members) - set(voters))

    def _steer_partitions(self, image: Image) -> tuple[list[commands.Settled], bool]:
        """Those led here that have got where they shall be; and whether others have not."""
        settled: list[commands.Settled] = []
        self._said = {key: said for key, said in self._said.items() if key[0] in image.topics_by_id}
        moving = False
        for topic in tuple(image.topics.values()):
            for info in topic.partitions:
                partition = self._parts.shelf.get(topic.id, info.index)
                if partition is None or not partition.is_leader:
                    continue
                said = (partition.leader_epoch, info.wanted)
                if info.target is None and self._said.get((topic.id, info.index)) == said:
                    continue  # a leader remembers it as long as it leads
                done = self._want(partition, info.wanted)
                moving = moving or not done or info.target is not None
                if done and info.target is None:
                    self._said[topic.id, info.index] = said
                if done and info.target is not None:
                    settled.append(
                        commands.Settled(str(topic.id), info.index, info.moves, info.target)
                    )
        return settled, moving

    def _want(
        self, partition: Partition, voters: Iterable[Member], learners: Iterable[Member] = ()
    ) -> bool:
        """Say it to the group; whether it is so already."""
        now_ms = self._parts.clock.monotonic_ms()
        replica = partition.replica
        replica.want_members(peers_of(voters), now_ms, peers_of(learners))
        if replica.membership_settled:
            return True
        partition.kick()
        return False

    async def _drain(self, image: Image) -> None:
        for node_id in sorted(image.draining):
            member = image.member(node_id)
            if member is not None and not members.held_by(image, member):
                log.info("broker %d holds nothing any more and leaves the cluster", node_id)
                await self._command(commands.RemoveBroker(node_id, member.incarnation))
                return
        wishes, _ = reassignment.drain_step(image, DRAIN_AT_ONCE)
        if wishes:
            await self._command(commands.ReassignPartitions(tuple(wishes)))


def peers_of(some: Iterable[Member]) -> frozenset[Peer]:
    """As Raft calls them."""
    return frozenset(Peer(one.node_id, one.incarnation) for one in some)
