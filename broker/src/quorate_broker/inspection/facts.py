"""The facts that `inspect` prints, as plain frozen values; as JSON they have the same names.

`damage` lists what is wrong with the bytes; `notes` what is worth knowing, but harms nobody.
Next: `read`, which finds them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Batch:
    """One entry of a segment."""

    position: int
    size: int
    base_offset: int
    last_offset: int
    index: int | None
    """Raft index of its first record; None in a segment that is looked at alone."""
    term: int
    kind: str
    """records, empty (compaction took them), marker, or the kind of an internal entry."""
    count: int
    codec: str
    producer_id: int
    producer_epoch: int
    base_sequence: int
    max_timestamp: int
    crc_holds: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment file."""

    name: str
    base_offset: int
    next_offset: int
    file_bytes: int
    entry_bytes: int
    """Up to the end of the last sound entry."""
    synced_bytes: int | None
    """As the checkpoint has it; None: it names no such segment (or there is none)."""
    index_entries: int | None
    batches: int
    records: int
    first_term: int
    last_term: int
    max_timestamp: int
    producers: list[int]
    listed: list[Batch] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Group:
    """One replica's folder."""

    name: str
    term: int | None
    vote: str | None
    checkpoint: dict[str, Any] | None
    state: dict[str, Any] | None
    membership: dict[str, Any] | None
    segments: list[Segment]
    damage: list[str]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found."""

    path: str
    kind: str
    """data directory, group or segment."""
    held_by: int | None
    """The process that runs here."""
    node: dict[str, Any] | None
    journal: dict[str, dict[str, Any]] | None
    groups: list[Group]
    segment: Segment | None
    retired: list[str]
    damage: list[str]
    notes: list[str]

    @property
    def all_damage(self) -> list[str]:
        """Every sentence about damage, each with where it is."""
        found = list(self.damage)
        for group in self.groups:
            found += [f"{group.name}: {text}" for text in group.damage]
            for segment in group.segments:
                found += [f"{group.name}/{segment.name}: {text}" for text in segment.damage]
        if self.segment is not None:
            found += [f"{self.segment.name}: {text}" for text in self.segment.damage]
        return found
