"""The node as the Admin API sees it: implements `admin.view.AdminView`.

The picture that supervisors ask for is drawn on events, those of a moment (`pace`) together, and
handed out as it is; its version moves only when something in it has changed, and that is what a
long poll waits for. Read next: `admin.app`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import resource
import shutil
import uuid
from collections.abc import Iterator, Sequence

from quorate_broker import config
from quorate_broker.admin.flanking_registry import FlankingNode
from quorate_broker.admin.view import (
    CONTROLLER_GROUP_ID,
    NO_LEADER,
    BrokerInfo,
    Counters,
    Decommission,
    DiskSpace,
    Overview,
    PartitionState,
)
from quorate_broker.cluster import commands
from quorate_broker.cluster.image import Topic
from quorate_broker.cluster.records import Member
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.net.server import Server
from quorate_broker.node import context as node_context
from quorate_broker.node import draining, pace
from quorate_broker.node.flank import Flank
from quorate_broker.node.shelf import METADATA_GROUP, group_name, group_names
from quorate_broker.node.transfer import Transfers
from quorate_broker.partition.shell import Traffic

DRAWN_US = 5


class NodeView:
    """One per broker; exists before the cluster is formed and then shows an empty picture."""

    def __init__(self, live: config.Live, version: str, started_ms: int) -> None:
        self._live = live
        self._version = version
        self._started_ms = started_ms
        self._loop = asyncio.get_running_loop()
        self._parts: node_context.Parts | None = None
        self._flank: Flank | None = None
        self._transfers: Transfers | None = None
        self._redraw: asyncio.TimerHandle | None = None
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._overview = Overview(
            version=1, cluster_id="", controller_id=NO_LEADER, term=-1, transitions=0, members=()
        )
        self.serving = False
        self.servers: list[Server] = []

    def attach(self, parts: node_context.Parts, flank: Flank, transfers: Transfers) -> None:
        """The node is a member now: there is something to see."""
        self._parts, self._flank, self._transfers = parts, flank, transfers
        self.refresh()

    # -- what is seen

    @property
    def settings(self) -> config.Settings:
        return self._live.now

    @property
    def version(self) -> str:
        return self._version

    @property
    def ready(self) -> bool:
        return self.serving

    def overview(self) -> Overview:
        return self._overview

    def partitions(self) -> Sequence[PartitionState]:
        return tuple(self._partition_states())

    def load(self) -> tuple[int, int]:
        parts = self._parts
        if parts is None:
            return 1, 0
        me = parts.settings.node_id
        held = [
            (topic.id, info.index)
            for topic in parts.controller.image.topics.values()
            for info in topic.partitions
            if me in info.replicas
        ]
        ready = sum(
            local is not None
            and local.replica.is_current
            and me in parts.leaders.get(group_name(topic_id, index)).isr
            for topic_id, index in held
            for local in (parts.shelf.get(topic_id, index),)
        )
        return 1 + len(held), parts.controller.caught_up + ready

    def counters(self) -> Counters:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        disk = self._disk()
        parts = self._parts
        local = list(parts.shelf) if parts is not None else []
        now_ms = parts.clock.monotonic_ms() if parts is not None else self._started_ms
        traffic = parts.shelf.traffic if parts is not None else Traffic()
        return Counters(
            produced_bytes=traffic.produced_bytes,
            produced_records=traffic.produced_records,
            fetched_bytes=traffic.fetched_bytes,
            connections=sum(server.connections for server in self.servers),
            uptime_seconds=(now_ms - self._started_ms) / 1000,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            resident_bytes=_resident_bytes(),
            disk_free_bytes=disk.free,
            disk_total_bytes=disk.total,
            local_partitions=len(local),
            leaders=sum(1 for partition in local if partition.is_leader),
        )

    # -- waiting for change

    async def changed(self, after: int) -> None:
        while self._overview.version <= after:
            future: asyncio.Future[None] = self._loop.create_future()
            self._waiting[future] = None
            try:
                await future
            finally:
                self._waiting.pop(future, None)

    def refresh_soon(self) -> None:
        """Something may have changed: draw anew in a moment."""
        if self._redraw is None:
            parts = self._parts
            count = 0 if parts is None else parts.controller.image.partition_count
            self._redraw = self._loop.call_later(pace.pause_s(count, DRAWN_US), self.refresh)

    def refresh(self) -> None:
        """Draw anew, and wake who waits if the picture is another one."""
        if self._redraw is not None:
            self._redraw.cancel()
            self._redraw = None
        drawn = self._draw()
        if drawn == self._overview:
            return
        self._overview = dataclasses.replace(drawn, version=self._overview.version + 1)
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def close(self) -> None:
        if self._redraw is not None:
            self._redraw.cancel()

    # -- asking for something

    async def transfer_leadership(self, group_id: int, target: int | None) -> None:
        if self._transfers is None:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, "this broker is still starting")
        for state in self._partition_states():
            if state.group_id == group_id:
                break
        else:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"no group {group_id}")
        if target is not None and target not in state.replicas:
            raise KafkaError(
                ErrorCode.REPLICA_NOT_AVAILABLE, f"broker {target} has no replica of {state.path}"
            )
        await self._transfers.transfer(self._group(group_id), state.leader_id, target)

    async def change_settings(self, command: commands.ChangeSettings) -> commands.SettingsResult:
        reply = await self._command(command)
        assert isinstance(reply, commands.SettingsResult)
        return reply

    async def raise_level(self, level: int) -> None:
        await self._command(commands.RaiseFeatureLevel(level))

    async def _command(self, command: commands.Command) -> commands.Reply:
        parts = self._parts
        if parts is None:
            raise KafkaError(ErrorCode.NOT_CONTROLLER, "this broker is still starting")
        return await parts.controller.command(command, parts.peers)

    async def decommission(self, node_id: int, draining: bool) -> None:
        await self._command(commands.DrainBroker(node_id, draining))

    def decommission_status(self, node_id: int) -> Decommission | None:
        parts = self._parts
        if parts is None:
            raise KafkaError(ErrorCode.NOT_CONTROLLER, "this broker is still starting")
        return draining.status(parts, node_id)

    async def register_flanking(self, node: FlankingNode) -> None:
        await self._require_flank().register(node)

    async def remove_flanking(self, node_id: int, incarnation: str) -> None:
        await self._require_flank().remove(node_id, incarnation)

    def _require_flank(self) -> Flank:
        if self._flank is None:
            raise KafkaError(ErrorCode.NOT_CONTROLLER, "this broker is still starting")
        return self._flank

    # -- drawing

    def _draw(self) -> Overview:
        parts = self._parts
        if parts is None or self._flank is None:
            return self._overview
        controller = parts.controller
        leader_id = controller.leader_id
        unavailable, under_replicated = troubled(parts)
        return Overview(
            version=self._overview.version,
            cluster_id=parts.peers.cluster_id,
            controller_id=leader_id,
            term=controller.partition.leader_epoch if leader_id != NO_LEADER else -1,
            transitions=controller.transitions,
            members=tuple(self._members(parts)),
            departed=tuple(sorted(controller.image.departed)),
            flanking=self._flank.nodes(),
            unavailable_partitions=unavailable,
            under_replicated_partitions=under_replicated,
            feature_level=controller.image.feature_level,
            newest_level=controller.knows,
            settings=controller.image.settings.get(0, {}),
            settings_version=controller.image.settings_version,
        )

    def _members(self, parts: node_context.Parts) -> Iterator[BrokerInfo]:
        image = parts.controller.image
        addresses = {seed.node_id: (seed.host, seed.port) for seed in parts.settings.seeds}
        addresses |= image.addresses
        for voter in parts.controller.members:
            broker = image.brokers.get(voter.node_id)
            rpc_host, rpc_port = addresses.get(voter.node_id, ("", 0))
            yield BrokerInfo(
                node_id=voter.node_id,
                incarnation=voter.incarnation,
                is_alive=self._alive(parts, voter),
                rpc_host=rpc_host,
                rpc_port=rpc_port,
                rack=(broker.rack or "") if broker else "",
                version=broker.version if broker else "",
                membership_status="draining" if voter.node_id in image.draining else "active",
                disks=(self._disk(),) if voter.node_id == parts.settings.node_id else (),
                feature_level=broker.feature_level if broker else 0,
                standing=parts.leaders.standings.get(voter.node_id),
            )

    @staticmethod
    def _alive(parts: node_context.Parts, voter: Member) -> bool:
        if voter.node_id == parts.settings.node_id:
            return True
        same = parts.peers.incarnation(voter.node_id) == voter.incarnation
        return same and parts.peers.alive(voter.node_id)

    def _partition_states(self) -> Iterator[PartitionState]:
        parts = self._parts
        if parts is None:
            return
        controller = parts.controller
        leads = controller.partition.leader_id
        yield PartitionState(
            namespace="redpanda",
            topic="controller",
            partition=0,
            group_id=CONTROLLER_GROUP_ID,
            leader_id=leads,
            term=controller.partition.leader_epoch,
            replicas=tuple(voter.node_id for voter in controller.members),
            in_sync=parts.leaders.get(METADATA_GROUP).isr,
            high_watermark=controller.partition.high_watermark,
            internal=True,
        )
        for topic in controller.image.topics.values():
            yield from self._topic_states(parts, topic)

    def _topic_states(self, parts: node_context.Parts, topic: Topic) -> Iterator[PartitionState]:
        for info in topic.partitions:
            lead = parts.leaders.get(group_name(topic.id, info.index))
            local = parts.shelf.get(topic.id, info.index)
            yield PartitionState(
                namespace="kafka",
                topic=topic.name,
                partition=info.index,
                group_id=group_number(topic.id, info.index),
                leader_id=lead.leader_id,
                term=lead.epoch,
                replicas=info.replicas,
                in_sync=lead.isr,
                status="done" if info.target is None else "in_progress",
                high_watermark=local.high_watermark if local is not None else -1,
                internal=topic.internal,
            )

    def _group(self, group_id: int) -> str:
        assert self._parts is not None
        if group_id == CONTROLLER_GROUP_ID:
            return METADATA_GROUP
        return next(
            group_name(topic.id, info.index)
            for topic in self._parts.controller.image.topics.values()
            for info in topic.partitions
            if group_number(topic.id, info.index) == group_id
        )

    def _disk(self) -> DiskSpace:
        path = self.settings.data_dir
        try:
            usage = shutil.disk_usage(path)
        except OSError:  # it has none of its own: a simulator's
            return DiskSpace(path, 0, 0)
        return DiskSpace(path, usage.free, usage.total)


def troubled(parts: node_context.Parts) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Paths of the partitions that nobody leads, and of those that lack replicas in sync.

    What `PartitionState` says of one, without one: most of them are well, and this is asked often.
    """
    unavailable: list[str] = []
    under_replicated: list[str] = []
    for topic in parts.controller.image.topics.values():
        groups = group_names(topic.id, len(topic.partitions))
        for info, group in zip(topic.partitions, groups, strict=True):
            lead = parts.leaders.get(group)
            if lead.leader_id == NO_LEADER:
                unavailable.append(f"kafka/{topic.name}/{info.index}")
            elif info.target is not None or len(lead.isr) < len(info.voters):
                under_replicated.append(f"kafka/{topic.name}/{info.index}")
    return tuple(unavailable), tuple(under_replicated)


def group_number(topic_id: uuid.UUID, index: int) -> int:
    """A partition's number in paths of the Admin API; fits into the integers of JSON readers."""
    return ((topic_id.int & (1 << 32) - 1) << 16 | index) + 1


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
