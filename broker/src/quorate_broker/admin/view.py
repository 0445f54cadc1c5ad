"""What the Admin API sees of the node: `AdminView`, implemented by `node`, faked in tests.

Everything that a supervisor asks often is one synchronous look at a prepared picture (`Overview`):
it never waits for a quorum, so a survivor without one still answers at once, and says so. Only
what must reach a leader is async, and raises `KafkaError`. Read next: `app`, which turns this
into paths and JSON.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

import msgspec

from quorate_broker.admin.flanking_registry import FlankingNode
from quorate_broker.cluster.commands import ChangeSettings, SettingsResult
from quorate_broker.config import Settings

NO_LEADER = -1
CONTROLLER_GROUP_ID = 0


@dataclasses.dataclass(frozen=True, slots=True)
class DiskSpace:
    """A file system that a broker writes to, in bytes."""

    path: str
    free: int
    total: int


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """Where a broker is with the cluster's settings: the version it heard of, and what it cannot.

    Told by each to all others. `own`: what is set for this broker alone.
    """

    version: int = 0
    restart: bool = False
    """It began with values that only another start can change."""
    invalid: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    own: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BrokerInfo:
    """A member of the metadata group, registered or not yet."""

    node_id: int
    incarnation: str
    is_alive: bool
    """By the word of the metadata leader if this node hears it, else by this node's own sight."""
    rpc_host: str
    rpc_port: int
    rack: str = ""
    version: str = ""
    num_cores: int = 1
    membership_status: str = "active"
    disks: tuple[DiskSpace, ...] = ()
    feature_level: int = 0
    """The highest that it says it knows; 0 before it has said so."""
    standing: Standing | None = None
    """None before it has told."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PartitionState:
    """One partition, or the metadata group itself (namespace `redpanda`, topic `controller`)."""

    namespace: str
    topic: str
    partition: int
    group_id: int
    """Number that /v1/raft/{group} knows it by; 0 is the metadata group."""
    leader_id: int = NO_LEADER
    term: int = -1
    replicas: tuple[int, ...] = ()
    in_sync: tuple[int, ...] = ()
    status: str = "done"
    """`in_progress` while it moves, also onto another disk of the same broker."""
    high_watermark: int = -1
    internal: bool = False

    @property
    def path(self) -> str:
        return f"{self.namespace}/{self.topic}/{self.partition}"

    @property
    def under_replicated(self) -> bool:
        """Not every replica that there shall be has everything, as far as its leader tells."""
        return len(self.in_sync) < len(self.replicas) or self.status != "done"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """One partition that has still to leave a broker."""

    namespace: str
    topic: str
    partition: int
    moving_to: tuple[int, ...]
    """The brokers that get it instead; none while its turn has not come."""
    size_bytes: int
    """As far as it is known here."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Decommission:
    """How far a broker is drained."""

    finished: bool
    """It holds nothing, and is a member no longer."""
    partitions: tuple[Leaving, ...] = ()
    stuck: tuple[str, ...] = ()
    """`ns/topic/partition` of those that no other broker can take."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The cluster as this node knows it at one moment. `version` moves when anything else does."""

    version: int
    cluster_id: str
    controller_id: int
    """Node id of the metadata leader, -1 when this node knows of none that a quorum follows."""
    term: int
    """Term of that leader; -1 without one."""
    transitions: int
    """Committed leader terms of the metadata group so far."""
    members: tuple[BrokerInfo, ...]
    departed: tuple[int, ...] = ()
    """Node ids that were decommissioned: nobody joins under them until they are recommissioned."""
    flanking: tuple[FlankingNode, ...] = ()
    unavailable_partitions: tuple[str, ...] = ()
    """`ns/topic/partition` of those that nobody leads."""
    under_replicated_partitions: tuple[str, ...] = ()
    feature_level: int = 0
    newest_level: int = 0
    """The highest that this node knows."""
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What the cluster sets, by Kafka's names, as texts."""
    settings_version: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What this process has counted since it started."""

    uptime_seconds: float
    cpu_seconds: float
    resident_bytes: int
    disk_free_bytes: int = 0
    disk_total_bytes: int = 0
    local_partitions: int = 0
    leaders: int = 0
    # What is not counted is None, and no metric.
    produced_bytes: int | None = None
    produced_records: int | None = None
    fetched_bytes: int | None = None
    connections: int | None = None
    requests: int | None = None


class AdminView(Protocol):
    """The node, as the Admin API sees it. Nothing here blocks; only the coroutines wait."""

    @property
    def settings(self) -> Settings: ...

    @property
    def version(self) -> str:
        """Version of the program."""
        ...

    @property
    def ready(self) -> bool:
        """This process serves: it is part of a formed cluster and its own id is not down.

        Never the cluster's health: one broker that is down must not take the others out of their
        Services.
        """
        ...

    def overview(self) -> Overview: ...

    def partitions(self) -> Sequence[PartitionState]:
        """Every partition of the cluster, the metadata group first."""
        ...

    def load(self) -> tuple[int, int]:
        """Replicas that this broker shall hold; and how many of them have caught up."""
        ...

    def counters(self) -> Counters: ...

    def changed(self, after: int) -> Awaitable[None]:
        """Resolved when `overview().version` is greater than `after` (at once if it is).

        Must not leave anything behind when the waiting task is cancelled.
        """
        ...

    async def transfer_leadership(self, group_id: int, target: int | None) -> None:
        """Move the leadership of a group, wherever it is led, to `target` or to the best follower.

        Raises KafkaError: UNKNOWN_TOPIC_OR_PARTITION, REPLICA_NOT_AVAILABLE (target is no
        replica), NOT_LEADER_OR_FOLLOWER (nobody leads), REQUEST_TIMED_OUT.
        """
        ...

    async def change_settings(self, command: ChangeSettings) -> SettingsResult:
        """Raises KafkaError UNSUPPORTED_VERSION, NOT_CONTROLLER."""
        ...

    async def raise_level(self, level: int) -> None:
        """Raises KafkaError INVALID_REQUEST (a broker does not know it), NOT_CONTROLLER."""
        ...

    async def decommission(self, node_id: int, draining: bool) -> None:
        """Begin to drain a broker, which ends its membership; or (False) take that back.

        Raises KafkaError RESOURCE_NOT_FOUND, INVALID_REQUEST (it is the last one), NOT_CONTROLLER.
        """
        ...

    def decommission_status(self, node_id: int) -> Decommission | None:
        """None for a broker that is not, and was not, decommissioned. KeyError: never heard of."""
        ...

    async def register_flanking(self, node: FlankingNode) -> None:
        """Tell the metadata leader, forwarded when needed; KafkaError NOT_CONTROLLER if none."""
        ...

    async def remove_flanking(self, node_id: int, incarnation: str) -> None:
        """A flanking node says goodbye; forwarded like `register_flanking`."""
        ...


class FlankingView(Protocol):
    """A flanking node, as its own small Admin API sees it."""

    @property
    def settings(self) -> Settings: ...

    @property
    def version(self) -> str: ...

    @property
    def ready(self) -> bool:
        """Its proxy has reached the brokers."""
        ...

    @property
    def registered(self) -> bool:
        """A broker took its last registration."""
        ...

    @property
    def uptime_seconds(self) -> float: ...
