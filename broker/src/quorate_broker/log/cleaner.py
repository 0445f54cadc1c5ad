"""Compaction: of each key only the newest record stays (`cleanup.policy=compact`).

`plan` looks at the sealed segments of a log and decides, without touching a file, whether there is
enough to clean; `Cleaning.run` does it in a disk thread and leaves files beside the log;
`Log.swap` puts them in place. The log serves all the time, from the old segments.

    plan (loop)  ->  Cleaning.run (thread): survey, map of keys, rewrite  ->  Log.swap (loop, a job)

A segment may be cleaned when it is sealed, wholly below what is committed and decided, and below
the replica's checkpoint (so that nobody replays headers from the middle of a gap). Segments are
rewritten in order of their offsets: a tombstone never leaves before what it covers. What a run
writes is bounded, what it keeps in memory too, and `spent` throttles it: it is told of bytes read
and written, and may sleep. Each replica cleans for itself; followers are fed whatever is there.

Where to read next: `cleaner_survey` (what must be known first), `cleaner_filter` (what goes),
`cleaner_output` (writing), `cleaner_files` (what is handed to the log).

Source: Kafka's LogCleaner and Cleaner.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quorate_broker.log.cleaner_files import Cleaned as Cleaned
from quorate_broker.log.cleaner_files import CleanedSegment
from quorate_broker.log.cleaner_filter import Filter, Rules
from quorate_broker.log.cleaner_output import Output
from quorate_broker.log.cleaner_survey import (
    KeyMap,
    Outcome,
    Transactions,
    entries,
    readable_records,
)
from quorate_broker.log.disk import Disk
from quorate_broker.log.index import NO_TIME
from quorate_broker.log.layout import Segment
from quorate_broker.log.log import Log
from quorate_broker.log.reader import Found
from quorate_broker.log.terms import TermTable

FOREVER_MS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class CleanerPolicy:
    """A topic's settings, by Kafka's names, and the node's limits."""

    min_cleanable_dirty_ratio: float = 0.5
    delete_retention_ms: int = 86_400_000
    min_compaction_lag_ms: int = 0
    max_compaction_lag_ms: int = FOREVER_MS
    map_keys: int = 200_000
    """Keys in memory at a time, about 130 bytes each; the rest waits for the next cleaning."""
    max_bytes: int = 4 << 30
    """Written by one run; it is also the room that a run may need on the disk."""


class StoppedError(Exception):
    """Somebody called `Cleaning.stop`."""


def plan(
    log: Log, policy: CleanerPolicy, wall_ms: int, clean_below: int, held_by_all: int
) -> Cleaning | None:
    """A cleaning that is worth its while, or None. On the loop; reads no file.

    `clean_below`: the offset below which all is committed, and every transaction that began has
    ended. `held_by_all`: the offset below which every replica of the group (learners too) is known
    to hold the log; 0 if that is not known, then tombstones stay.
    """
    if log.corrupt is not None or log.failed is not None or log.swapping:
        return None
    region = _region(log, policy, wall_ms, clean_below)
    if not region or not _is_worth_it(log, policy, wall_ms, region):
        return None
    ends = [segment.base_offset for segment in log.segments[1 : len(region) + 1]]
    rules = Rules(wall_ms, policy.delete_retention_ms, log.start_offset, held_by_all)
    return Cleaning(log, policy, rules, list(zip(region, ends, strict=True)))


def _region(log: Log, policy: CleanerPolicy, wall_ms: int, clean_below: int) -> list[Segment]:
    """The segments that may be cleaned: a run from the log's first one on."""
    region: list[Segment] = []
    segments = log.segments
    for segment, behind in itertools.pairwise(segments):
        is_dirty = behind.base_offset > log.clean_to
        newest_allowed = wall_ms - policy.min_compaction_lag_ms
        if (
            not segment.sealed
            or behind.base_offset > clean_below
            or behind.base_index - 1 > log.checkpoint_index
            or (is_dirty and segment.max_timestamp > newest_allowed)
        ):
            break
        region.append(segment)
    return region


def _is_worth_it(log: Log, policy: CleanerPolicy, wall_ms: int, region: Sequence[Segment]) -> bool:
    number = next(
        (
            number
            for number in range(len(region))
            if log.segments[number + 1].base_offset > log.clean_to
        ),
        None,
    )
    if number is None:
        return False
    dirty_bytes = sum(segment.size for segment in region[number:])
    all_bytes = sum(segment.size for segment in region)
    if dirty_bytes >= policy.min_cleanable_dirty_ratio * all_bytes:
        return True
    since = region[number].first_timestamp
    return since != NO_TIME and wall_ms - since > policy.max_compaction_lag_ms


class Cleaning:
    """One cleaning of one log. `run` once, in a disk thread."""

    def __init__(
        self,
        log: Log,
        policy: CleanerPolicy,
        rules: Rules,
        region: list[tuple[Segment, int]],
    ) -> None:
        self._log = log
        self._policy = policy
        self._rules = rules
        self._region = region  # each segment with the offset behind it
        self._disk: Disk = log.disk
        self._path = log.path
        self._segment_bytes = log.settings.segment_bytes
        self._index_interval = log.settings.index_interval_bytes
        self._clean_to = log.clean_to
        terms = log.terms
        self._terms = TermTable(terms.base_index, terms.base_term, terms.ranges)
        self._stopped = False
        self._spent: Callable[[int], None] = _ignore

    @property
    def bytes_before(self) -> int:
        """Of the segments that will be read."""
        return sum(segment.size for segment, _ in self._region)

    def stop(self) -> None:
        """From the loop: `run` ends at the next entry, with nothing left behind."""
        self._stopped = True

    @property
    def is_current(self) -> bool:
        """On the loop: whether the log still has these segments. If not, what `run` returned or
        raised says nothing about the log: retention or a reset took the files away."""
        known = self._log.segments
        return all(any(segment is other for other in known) for segment, _ in self._region)

    def run(self, spent: Callable[[int], None] | None = None) -> Cleaned | None:
        """Write the cleaned files and sync them. Blocking; None when it was stopped, or when
        there was nothing that it could do.

        Raises CorruptLogError when synced bytes do not hold, OSError as it comes. The log itself is
        never touched here: after any error it goes on as it is.
        """
        self._spent = spent or _ignore
        try:
            transactions = self._survey()
            keys = self._map(transactions)
            return self._rewrite(keys, transactions)
        except StoppedError:
            return None

    def _account(self, size: int) -> None:
        if self._stopped:
            raise StoppedError
        self._spent(size)

    # ---------------------------------------------------------------------------- what is known

    def _survey(self) -> Transactions:
        transactions = Transactions(self._policy.map_keys)
        for number, (segment, _) in enumerate(self._region):
            if transactions.is_full:
                del self._region[number:]
                break
            for found in entries(self._disk, self._path, segment, self._terms, self._account):
                transactions.note(found)
        return transactions

    def _map(self, transactions: Transactions) -> KeyMap:
        """Of the dirty part, from `clean_to` on, as far as the map has room."""
        keys = KeyMap(self._policy.map_keys, self._clean_to)
        for segment, end in self._region:
            if end <= self._clean_to:
                continue
            for found in entries(self._disk, self._path, segment, self._terms, self._account):
                if found.header.base_offset < self._clean_to:
                    continue
                outcome = transactions.outcome(found.header)
                if outcome is Outcome.OPEN or not keys.has_room(found.header):
                    return keys
                _note_keys(keys, found, outcome)
            keys.end_offset = end
        return keys

    # ---------------------------------------------------------------------------- what is written

    def _rewrite(self, keys: KeyMap, transactions: Transactions) -> Cleaned | None:
        done: list[CleanedSegment] = []
        outputs: list[Output] = []
        entry_filter = Filter(self._rules, keys, transactions)
        written, clean_to = 0, keys.end_offset
        try:
            for group in self._groups():
                if group[0][0].base_offset >= keys.end_offset:
                    break
                if written and written + _size(group) > self._policy.max_bytes:
                    clean_to = self._clean_to  # the rest comes next time
                    break
                output = Output(self._disk, self._path, [s for s, _ in group], self._account)
                outputs.append(output)
                self._fill(output, group, entry_filter)
                if output.changed:
                    done.append(output.finish(group[-1][1]))
                    written += output.size
                else:
                    output.remove()
            if done:
                self._disk.sync_dir(self._path)
        except BaseException:
            _remove(outputs)
            raise
        if not done and clean_to == self._clean_to:
            return None  # a transaction that ended behind these segments: later, then
        return Cleaned(
            segments=tuple(done),
            clean_to=clean_to,
            bytes_before=sum(old.size for new in done for old in new.replaces),
            bytes_after=written,
            records_removed=entry_filter.records_removed,
            tombstones_removed=entry_filter.tombstones_removed,
        )

    def _fill(self, output: Output, group: list[tuple[Segment, int]], entry_filter: Filter) -> None:
        output.begin(self._index_interval)
        for segment, _ in group:
            for found in entries(self._disk, self._path, segment, self._terms, self._account):
                output.add(found, entry_filter.apply(found))

    def _groups(self) -> list[list[tuple[Segment, int]]]:
        """Neighbours that together fit into one segment, by the sizes they have now."""
        groups: list[list[tuple[Segment, int]]] = []
        for part in self._region:
            if groups and _size(groups[-1]) + part[0].size <= self._segment_bytes:
                groups[-1].append(part)
            else:
                groups.append([part])
        return groups


def _note_keys(keys: KeyMap, found: Found, outcome: Outcome) -> None:
    header = found.header
    if outcome is Outcome.VISIBLE and header.count and not header.is_control:
        keys.note(header.base_offset, readable_records(found) or ())
    keys.end_offset = header.next_offset


def _size(group: list[tuple[Segment, int]]) -> int:
    return sum(segment.size for segment, _ in group)


def _remove(outputs: list[Output]) -> None:
    """As well as it goes: what stays is a stray that the next opening removes."""
    for output in outputs:
        with contextlib.suppress(OSError):
            output.remove()


def _ignore(_: int) -> None:
    pass
