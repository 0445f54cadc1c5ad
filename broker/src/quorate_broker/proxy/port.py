"""What the HTTP Proxy needs of the cluster: `ProxyPort`. Shells: `local` and `remote`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from quorate_broker.errors import ErrorCode


@dataclasses.dataclass(frozen=True, slots=True)
class ProxyRecord:
    """A record to produce; `partition` only where the client insists."""

    key: bytes | None
    value: bytes | None
    partition: int | None = None

    @property
    def size(self) -> int:
        return len(self.key or b"") + len(self.value or b"")


@dataclasses.dataclass(frozen=True, slots=True)
class Placed:
    """Where a record went, or why not (then the offset is -1)."""

    partition: int
    offset: int
    error: ErrorCode = ErrorCode.NONE


class ProxyPort(Protocol):
    """A way to the brokers. It never creates a topic."""

    @property
    def ready(self) -> bool: ...

    async def topics(self) -> list[str]:
        """Names of the topics that are not internal, sorted. KafkaError if nobody can tell."""
        ...

    async def brokers(self) -> list[int]:
        """Node ids of the brokers that are alive, sorted."""
        ...

    async def produce(self, topic: str, records: Sequence[ProxyRecord]) -> list[Placed]:
        """Append with acks=all; one answer per record, in their order.

        Raises KafkaError if no record was tried, UNKNOWN_TOPIC_OR_PARTITION if there is no such
        topic.
        """
        ...
