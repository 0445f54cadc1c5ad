"""Who asks, and whether they may.

Every request carries a `Principal` from its connection to the place that acts on it, also across
forwarding between brokers, and every place that acts asks the `Authorizer`. The first authorizer
allows all; what matters from the first day is that there is one question, asked everywhere.
Next: `api.context`, which hands the authorizer to the handlers.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol


class Operation(enum.IntEnum):
    """Kafka's ACL operations with their codes on the wire."""

    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12


class ResourceType(enum.IntEnum):
    """Kafka's resource types with their codes on the wire."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5


CLUSTER_NAME = "kafka-cluster"
"""The one name that a resource of type CLUSTER has."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is on the other side of a connection."""

    name: str
    kind: str = "User"

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


ANONYMOUS = Principal("ANONYMOUS")
"""Whoever comes in on a listener with `authentication = "none"`."""


class Authorizer(Protocol):
    """The one question about rights."""

    def allows(
        self, principal: Principal, operation: Operation, resource: ResourceType, name: str
    ) -> bool:
        """Whether `principal` may do `operation` on the resource of that type and name."""
        ...


class AllowAll:
    """Everybody may do everything: the only authorizer until there are ACLs."""

    def allows(
        self, principal: Principal, operation: Operation, resource: ResourceType, name: str
    ) -> bool:
        return True
