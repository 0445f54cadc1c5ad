"""What the clients did and saw, as plain data; `judge` reads it, `workload` writes it.

Times are seconds since the run began. Several threads append; each owns what it appended until
the threads have ended, and nobody judges before that.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping

NO_OFFSET = -1


@dataclasses.dataclass(slots=True)
class Send:
    """One value written. No `ended_s`: nobody ever said what became of it."""

    value: int
    producer: str
    """One life of one idempotent producer: the order of its values is promised."""
    partition: int
    begun_s: float
    ended_s: float | None = None
    offset: int = NO_OFFSET
    error: str | None = None

    @property
    def acked(self) -> bool:
        return self.ended_s is not None and self.error is None


@dataclasses.dataclass(frozen=True, slots=True)
class Poll:
    """One value that a member of the group was given."""

    session: str
    """One assignment of one member: from being given the partitions to losing them."""
    at_s: float
    partition: int
    offset: int
    value: int


@dataclasses.dataclass(slots=True)
class Commit:
    """Offsets by partition; `ended_s` only when the broker said yes."""

    begun_s: float
    offsets: Mapping[int, int]
    ended_s: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Committed:
    """The group's offsets by partition, as somebody else was told; absent: there is none."""

    begun_s: float
    offsets: Mapping[int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class FinalRead:
    """A partition from its start to its end, when all was quiet: (offset, value)."""

    reader: str
    partition: int
    records: tuple[tuple[int, int], ...]


@dataclasses.dataclass(slots=True)
class TopicOperation:
    """`create` or `delete`; `ok` is None when nobody knows."""

    kind: str
    topic: str
    ok: bool | None = None


@dataclasses.dataclass(slots=True)
class History:
    """Everything of one run."""

    sends: list[Send] = dataclasses.field(default_factory=list)
    polls: list[Poll] = dataclasses.field(default_factory=list)
    commits: list[Commit] = dataclasses.field(default_factory=list)
    committed: list[Committed] = dataclasses.field(default_factory=list)
    operations: list[TopicOperation] = dataclasses.field(default_factory=list)
    reads: list[FinalRead] = dataclasses.field(default_factory=list)
    topics: set[str] = dataclasses.field(default_factory=set)
    """Those that exist at the end."""

    def save(self, path: pathlib.Path) -> None:
        """One JSON object a line, each with the name of its list."""
        with path.open("w", encoding="utf-8") as file:
            for name in ("sends", "polls", "commits", "committed", "operations", "reads"):
                for one in getattr(self, name):
                    file.write(json.dumps({name: dataclasses.asdict(one)}) + "\n")
            file.write(json.dumps({"topics": sorted(self.topics)}) + "\n")
