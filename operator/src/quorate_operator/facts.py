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
class Member:
    """A node as the brokers know it (broker or flanking)."""

    node_id: int
    incarnation: str
    version: str


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
    trouble: str
    """Why a container is not running, as Kubernetes names it; empty when nothing is wrong."""


@dataclasses.dataclass(frozen=True, slots=True)
class VolumeClaim:
    name: str
    uid: str
    size: str
    """What was asked for."""
    capacity: str
    """What is there; empty before there is anything."""


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
