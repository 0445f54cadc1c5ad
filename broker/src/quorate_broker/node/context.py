"""The node as the Kafka API sees it: implements `api.context.Context`.

Also where the group coordinators live: one machine per local replica of `__consumer_offsets`,
active where that replica leads. Read next: `main`, which makes the parts that meet here.
"""

from __future__ import annotations

import random
import shutil
import typing
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quorate_broker import config, seams
from quorate_broker.api.context import Leadership
from quorate_broker.api.principal import AllowAll, Authorizer
from quorate_broker.cluster import commands
from quorate_broker.cluster.image import Image, Topic
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import placement
from quorate_broker.groups.commands import OffsetFetch
from quorate_broker.groups.coordinator import Coordinator
from quorate_broker.net.peers import Peers
from quorate_broker.node.controller import Controller
from quorate_broker.node.leaders import Leaders
from quorate_broker.node.settings import groups
from quorate_broker.node.shelf import Shelf, group_name
from quorate_broker.node.transfer import Transfers
from quorate_broker.partition.hosted import Host
from quorate_broker.partition.shell import Partition
from quorate_broker.wire.outcome import Machine

OFFSETS_TOPIC = "__consumer_offsets"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the context looks into."""

    live: config.Live
    clock: seams.Clock
    random: random.Random
    peers: Peers
    shelf: Shelf
    leaders: Leaders
    controller: Controller

    @property
    def settings(self) -> config.Settings:
        """As they are now."""
        return self.live.now


class NodeContext:
    """One per broker."""

    OFFSETS_TOPIC = OFFSETS_TOPIC

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._transfers = Transfers(parts.shelf, parts.peers, parts.clock, parts.leaders)
        self._coordinators: dict[tuple[uuid.UUID, int], Host] = {}
        self.authorizer: Authorizer = AllowAll()

    @property
    def settings(self) -> config.Settings:
        return self._parts.settings

    @property
    def live(self) -> config.Live:
        return self._parts.live

    @property
    def clock(self) -> seams.Clock:
        return self._parts.clock

    @property
    def image(self) -> Image:
        return self._parts.controller.image

    @property
    def me(self) -> int:
        return self._parts.settings.node_id

    @property
    def controller_id(self) -> int:
        return self._parts.controller.leader_id

    @property
    def live_brokers(self) -> frozenset[int]:
        return frozenset(i for i in self.image.brokers if self._parts.peers.alive(i))

    def partition(self, topic_id: uuid.UUID, index: int) -> Partition | None:
        return self._parts.shelf.get(topic_id, index)

    def leader(self, topic_id: uuid.UUID, index: int) -> Leadership:
        return self._parts.leaders.get(group_name(topic_id, index))

    async def controller(self, command: object) -> Any:
        return await self._parts.controller.command(
            typing.cast(commands.Command, command), self._parts.peers
        )

    async def new_producer_id(self) -> int:
        return await self._parts.controller.new_producer_id(self._parts.peers)

    async def transfer_leadership(self, topic_id: uuid.UUID, index: int, target: int) -> None:
        leader_id = self.leader(topic_id, index).leader_id
        await self._transfers.transfer(group_name(topic_id, index), leader_id, target)

    def disk_space(self) -> tuple[int, int]:
        usage = shutil.disk_usage(self.settings.data_dir)
        return usage.free, usage.total

    # -- groups

    async def ensure_internal_topic(self) -> None:
        """Make `__consumer_offsets` if it does not exist; a topic that is there already is fine."""
        if OFFSETS_TOPIC in self.image.topics:
            return
        settings = self._parts.settings
        topic = commands.NewTopic(
            OFFSETS_TOPIC,
            settings.offsets_topic_num_partitions,
            settings.offsets_topic_replication_factor,
            config={"cleanup.policy": "compact"},
            internal=True,
        )
        reply = await self.controller(commands.CreateTopics((topic,)))
        result = reply.results[0]
        if result.code not in (0, ErrorCode.TOPIC_ALREADY_EXISTS):
            raise KafkaError(ErrorCode(result.code), result.message)

    async def coordinate(self, group_id: str, command: object) -> Any:
        topic = self.image.topics.get(OFFSETS_TOPIC)
        if topic is None:
            raise KafkaError(ErrorCode.NOT_COORDINATOR, None)
        index = placement.partition_for(group_id, len(topic.partitions))
        host = self._coordinators.get((topic.id, index))
        if host is None:
            raise KafkaError(ErrorCode.NOT_COORDINATOR, None)
        # A member that is told an old offset would commit it again.
        return await host.submit(command, confirmed=isinstance(command, OffsetFetch))

    async def coordinate_all(self, command: object) -> list[Any]:
        """The replies of every coordinator on this broker.

        Raises KafkaError COORDINATOR_LOAD_IN_PROGRESS while one of them still reads its log.
        """
        hosts = [h for h in self._coordinators.values() if h.machine is not None or h.loading]
        return [await host.submit(command) for host in hosts]

    def host_groups(self, topic: Topic, partition: Partition, index: int) -> None:
        """Have a coordinator on a local replica, if it is one of `__consumer_offsets`."""
        if topic.name != OFFSETS_TOPIC:
            return
        self._coordinators[topic.id, index] = Host(
            partition, self._coordinator(index), ErrorCode.NOT_COORDINATOR, self.clock
        )

    def unhost_groups(self, topic_id: uuid.UUID, index: int) -> None:
        """By id: the topic may have been made again under its name."""
        host = self._coordinators.pop((topic_id, index), None)
        if host is not None:
            host.close()

    def configure_groups(self) -> None:
        """The coordinators go by the settings of the day."""
        for host in self._coordinators.values():
            machine = host.machine
            if isinstance(machine, Coordinator):
                machine.configure(groups(self._parts.settings), self.clock.monotonic_ms())
                host.wake()

    def _coordinator(self, index: int) -> Callable[[], Machine]:
        def new_member_id(client_id: str) -> str:
            return f"{client_id}-{seams.new_uuid(self._parts.random)}"

        return lambda: Coordinator(
            index, groups(self._parts.settings), new_member_id, self.clock.wall_ms
        )
