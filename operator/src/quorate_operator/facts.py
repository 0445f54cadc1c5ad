"""What was seen, as frozen data: the input of `plan`. Pure; the talkers fill these in.

An unreachable broker is a fact like any other, never an exception.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from quorate_operator.model import BrokerClusterSpec
from quorate_operator.names import Key, Names, Role

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """A broker says: this node leads in this term."""

    node_id: int
    term: int


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """Where a broker is with the cluster's settings."""

    version: int
    restart: bool
    """Only a restart brings it to what they say."""
    invalid: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    """What is set for this broker alone."""


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A node as the brokers know it (broker or flanking)."""

    node_id: int
    incarnation: str
    version: str
    draining: bool = False
    """What it stores is being moved to others, so that it can go."""
    feature_level: int = 0
    """The highest that it knows; 0: it has not said so."""
    config: Standing | None = None
    """None: it has not said so."""
    rack: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """One broker's answer to /v1/watch."""

    version: int
    cluster_id: str
    leader: Claim | None
    transitions: int
    members: tuple[Member, ...]
    flanking: tuple[Member, ...]
    healthy: bool
    unhealthy_reasons: tuple[str, ...]
    feature_level: int = 0
    """Of the cluster's metadata; 0: it is not told."""
    config: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What the cluster sets, as it was written."""
    config_version: int = 0
    """0: it sets nothing yet, and the brokers go by their files."""
    under_replicated: bool = False
    """Some partition is short of a replica in sync."""
    departed: tuple[int, ...] = ()
    """Node ids that were decommissioned: nobody joins under them until they are recommissioned."""

    def member(self, node_id: int) -> Member | None:
        return next((one for one in self.members if one.node_id == node_id), None)


@dataclasses.dataclass(frozen=True, slots=True)
class Pod:
    """The small part of a pod that decisions need."""

    name: str
    uid: str
    role: Role
    ordinal: int
    ip: str
    ready: bool
    terminating: bool
    labelled_leader: bool
    revision: str
    idle: bool
    """Its container certainly does not run: nothing could be taken away from it."""
    trouble: str
    """Why a container is not running, as Kubernetes names it; empty when nothing is wrong."""
    resource_version: str
    image: str
    config_hash: str
    restart: str
    """The restart that was asked for when it was made, as the annotation says it."""
    resources: str
    """Requests and limits as canonical JSON."""
    spared: str
    """The permit (its token) that it was spared from."""
    stranded_since: datetime.datetime | None
    """Since when it can run nowhere, or should be gone and is not; None: neither."""
    node: str = ""
    """Where it runs; empty before it was placed."""
    host_ip: str = ""
    rack: str = ""
    rack_from: str = ""
    advertised: str = ""
    """What it was told, as its annotations say."""


@dataclasses.dataclass(frozen=True, slots=True)
class VolumeClaim:
    name: str
    uid: str
    ordinal: int
    """Of the broker whose volume it is."""
    size: str
    """What was asked for."""
    capacity: str
    """What is there; empty before there is anything."""
    resource_version: str
    terminating: bool
    drained: bool
    """Marked by an earlier pass: its broker was seen to be no member any more."""
    storage_class: str
    bound: bool
    """There is a volume behind it."""
    cluster_id: str
    """Whose data it holds, as an earlier pass noted; empty: not noted yet."""


@dataclasses.dataclass(frozen=True, slots=True)
class Partition:
    """One partition as the leader tells it; node ids."""

    path: str
    leader: int
    """-1: nobody leads it."""
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Survey:
    """What the leader said when it was asked, in this very pass."""

    leader: Claim
    """The answers are one leader's; whoever acts on them compares it with the one he knows."""
    members: tuple[int, ...]
    """Node ids of all admitted brokers."""
    nodes_down: tuple[int, ...]
    partitions: tuple[Partition, ...]
    stuck: Mapping[int, str]
    """By node id of a draining broker: why what it stores cannot be moved."""


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A node of Kubernetes, or why it could not be looked at."""

    labels: Mapping[str, str]
    trouble: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class KeptSpec:
    """A ControllerRevision of ours."""

    name: str
    uid: str
    resource_version: str
    generation: int
    """Of the `BrokerCluster` that had this spec."""
    spec: Json


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """Everything one reconcile pass looked at."""

    key: Key
    cluster: Json
    """The BrokerCluster as the API server has it."""
    children: Mapping[tuple[str, str], Json]
    """Live children by (kind, name)."""
    pods: tuple[Pod, ...]
    volumes: tuple[VolumeClaim, ...]
    views: Mapping[str, View]
    """Fresh answers of brokers by pod; a broker that does not answer is not in it."""
    now: datetime.datetime
    places: Mapping[str, Place] = dataclasses.field(default_factory=dict)
    """Nodes of Kubernetes by name: those whose label somebody still has to be told."""
    specs: tuple[KeptSpec, ...] = ()
    """Specs that could be read, as earlier passes kept them."""

    @property
    def generation(self) -> int:
        return int(self.cluster["metadata"].get("generation", 0))

    def pods_of(self, role: Role) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.pods if pod.role == role)


@dataclasses.dataclass(frozen=True, slots=True)
class DefaultImage:
    """What the operator runs where a cluster does not say."""

    repository: str
    tag: str
    namespace: str = ""
    """Where the operator itself runs; empty outside of Kubernetes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """What is rendered: the wish, whose it is, and the three facts that outlive it."""

    spec: BrokerClusterSpec
    names: Names
    uid: str
    image: str
    cluster_id: str
    """Empty until the brokers have formed; from then on empty disks may only join."""
    claim_size: str
    """Size in the claim template, which cannot be edited; volumes grow one by one."""
    brokers: int
    """How many of them now: on the way to `spec.replicas`."""
    operator: str = ""
    """The operator's namespace: from there it reaches the Admin API."""
    disruptions: int = 1
    """How many brokers a drain of Kubernetes nodes may take at once."""
    restart: str = ""
    """The last restart that somebody asked for; another one makes all brokers' pods outdated."""
