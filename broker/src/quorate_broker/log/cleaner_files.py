"""What a cleaning leaves beside the log, ready to take the place of sealed segments.

`cleaner.Cleaning.run` writes `<base>.log.cleaned` and `<base>.qindex.cleaned`, both synced, and
syncs the folder. Nothing names these files: after a crash they are strays, which recovery removes.
`Log.swap` gives them the names of what they replace, and the checkpoint their sizes, in a job.
A new segment stands for one or more neighbours (small ones grow together): it begins at the offset
and index of the first of them and ends where the last one ended. Next: `cleaner`.
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate_broker.log.index import SparseIndex
from quorate_broker.log.layout import Segment, index_name, segment_name

CLEANED = ".cleaned"
"""Ending of the files, behind the whole name of the segment or index that they will be."""


@dataclass(frozen=True, slots=True)
class CleanedSegment:
    """One new segment, written and synced."""

    replaces: tuple[Segment, ...]
    """Sealed neighbours, in order, as they were in the layout when the cleaning was planned."""
    size: int
    index: SparseIndex
    """Complete; the index file holds all of its entries."""

    @property
    def base_offset(self) -> int:
        return self.replaces[0].base_offset

    @property
    def base_index(self) -> int:
        return self.replaces[0].base_index

    @property
    def segment_file(self) -> str:
        """Name in the log's folder."""
        return segment_name(self.base_offset) + CLEANED

    @property
    def index_file(self) -> str:
        """Name in the log's folder."""
        return index_name(self.base_offset) + CLEANED


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What a cleaning did, for `Log.swap`.

    `segments` may be empty (nothing had to go): `clean_to` moves all the same. If any replaced
    segment has left the layout meanwhile (retention), all of it is void: the files go, the log
    stays as it is, and the next plan begins anew.
    """

    segments: tuple[CleanedSegment, ...]
    clean_to: int
    """Everything below this offset was cleaned once: no key below it has a newer record there."""
    bytes_before: int = 0
    bytes_after: int = 0
    records_removed: int = 0
    tombstones_removed: int = 0
