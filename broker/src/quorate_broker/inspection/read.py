"""Gathers the facts of a data directory, a group's folder or one segment file, without writing.

Files change while it reads in the directory of a running node, so a group that looks damaged there
is read a second time.
Next: `segments`, `show`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from quorate_broker.inspection.facts import Group, Report, Segment
from quorate_broker.inspection.segments import Claim, Expected, read_segment
from quorate_broker.log import checkpoint as checkpoints
from quorate_broker.log import datadir, journal, statefile
from quorate_broker.log.checkpoint import Checkpoint
from quorate_broker.log.cleaner_files import CLEANED
from quorate_broker.log.disk import ReadOnlyDisk, read_whole
from quorate_broker.log.errors import CorruptLogError, DataDirError, JournalError
from quorate_broker.log.index import SparseIndex
from quorate_broker.log.layout import index_name, segment_name
from quorate_broker.log.terms import TermTable
from quorate_broker.raft import membership as memberships

_SEGMENT = re.compile(r"(\d{20})\.log")
_JOURNAL = "raft/state.log"
T = TypeVar("T")

_PASSING = (".tmp", ".copy", CLEANED)


class NothingHereError(Exception):
    """The path is not something to inspect; the message is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to look at. `quick`: no segment is opened. `batches`: each one is listed."""

    quick: bool = False
    batches: bool = False


def inspect(path: str, options: Options) -> Report:
    """All about `path`; raises NothingHereError, and OSError as it comes."""
    disk = ReadOnlyDisk()
    path = path.rstrip("/") or "/"
    if not disk.exists(path):
        raise NothingHereError(f"{path} does not exist")
    if not disk.is_folder(path):
        return _lone_segment(disk, path, options)
    names = disk.listdir(path)
    if "node.json" in names or "groups" in names or "raft" in names:
        return _data_directory(disk, path, options)
    if checkpoints.NAME in names or any(map(_SEGMENT.fullmatch, names)):
        root = posixpath.dirname(posixpath.dirname(posixpath.abspath(path)))
        holder = disk.holder(f"{root}/LOCK")
        group = _group(disk, path, options, None, holder is not None)
        return _report(path, "group", holder, groups=[group])
    raise NothingHereError(
        f"{path} is no data directory (node.json, raft/, groups/) and no folder of a group "
        "(checkpoint, segments)"
    )


def _report(path: str, kind: str, held_by: int | None, **found: Any) -> Report:
    nothing: dict[str, Any] = {
        "node": None,
        "journal": None,
        "groups": [],
        "segment": None,
        "retired": [],
        "damage": [],
        "notes": [],
    }
    return Report(path=path, kind=kind, held_by=held_by, **(nothing | found))


def _lone_segment(disk: ReadOnlyDisk, path: str, options: Options) -> Report:
    name = posixpath.basename(path)
    found = _SEGMENT.fullmatch(name.removesuffix(CLEANED))
    if found is None:
        raise NothingHereError(f"{path} is no segment: those are 20 digits and .log")
    segment = read_segment(disk, path, Expected(int(found[1])), Claim(options.batches))
    return _report(path, "segment", None, segment=segment)


def _data_directory(disk: ReadOnlyDisk, path: str, options: Options) -> Report:
    holder = disk.holder(f"{path}/LOCK")
    damage: list[str] = []
    node = _guarded(damage, lambda: datadir.read_node(disk, path))
    if node is None and not damage:
        damage.append("node.json is gone: whose data this is cannot be told")
    states = _guarded(damage, lambda: journal.read_states(disk, f"{path}/{_JOURNAL}"))
    names = _names(disk, f"{path}/groups")
    if states is None and names and not damage:
        damage.append(f"{_JOURNAL} is gone: the votes of {len(names)} groups are lost")
    groups = []
    for name in names:
        state = None if states is None else states.get(name)
        groups.append(_group(disk, f"{path}/groups/{name}", options, state, holder is not None))
    return _report(
        path,
        "data directory",
        holder,
        node=None if node is None else asdict(node),
        journal=None if states is None else {key: _state(states[key]) for key in sorted(states)},
        groups=groups,
        retired=_names(disk, f"{path}/retired"),
        damage=damage,
    )


def _state(state: journal.TermAndVote) -> dict[str, Any]:
    return {"term": state.term, "vote": None if state.vote is None else state.vote._asdict()}


def _names(disk: ReadOnlyDisk, path: str) -> list[str]:
    return disk.listdir(path) if disk.exists(path) else []


def _guarded(damage: list[str], read: Callable[[], T]) -> T | None:
    """What `read` gives; what it says is wrong goes to `damage`."""
    try:
        return read()
    except (CorruptLogError, DataDirError, JournalError, ValueError) as error:
        damage.append(str(error))
        return None


def _group(
    disk: ReadOnlyDisk,
    path: str,
    options: Options,
    state: journal.TermAndVote | None,
    in_use: bool,
) -> Group:
    """A replica that is at work may roll, clean or checkpoint between two reads: only what looks
    damaged twice is."""
    group = _Folder(disk, path, options).read(state)
    if in_use and (group.damage or any(segment.damage for segment in group.segments)):
        return _Folder(disk, path, options).read(state)
    return group


class _Folder:
    """One group's folder."""

    def __init__(self, disk: ReadOnlyDisk, path: str, options: Options) -> None:
        self._disk = disk
        self._path = path
        self._options = options
        self._damage: list[str] = []
        self._notes: list[str] = []

    def read(self, state: journal.TermAndVote | None) -> Group:
        """All about it."""
        known = _guarded(
            self._damage, lambda: checkpoints.load(self._disk, self._path, founding=b"")
        )
        names = _names(self._disk, self._path)
        hosted = _guarded(self._damage, lambda: statefile.load(self._disk, self._path))
        if known is None and not self._damage and any(map(_SEGMENT.fullmatch, names)):
            self._damage.append("there are segments but no checkpoint")
        passing = [name for name in names if name.endswith(_PASSING)]
        if passing:
            self._notes.append(f"unfinished, removed or taken up by the next start: {passing}")
        segments = [] if self._options.quick else self._segments(known, names)
        return Group(
            name=posixpath.basename(self._path),
            term=None if state is None else state.term,
            vote=None if state is None or state.vote is None else f"node {state.vote.node_id}",
            checkpoint=None if known is None else _checkpoint_facts(known),
            state=None if hosted is None else {"index": hosted[0], "bytes": len(hosted[1])},
            membership=None if known is None else self._membership(known),
            segments=segments,
            damage=self._damage,
            notes=self._notes,
        )

    def _membership(self, known: Checkpoint) -> dict[str, Any] | None:
        index, content = (known.memberships or [known.founding or (-1, b"")])[-1]
        members = _guarded(self._damage, lambda: memberships.decode(content))
        if members is None or not members.voters:
            return None
        return {
            "index": index,
            "voters": [peer.node_id for peer in members.voters],
            "outgoing": [peer.node_id for peer in members.outgoing],
            "learners": [peer.node_id for peer in members.learners],
        }

    def _segments(self, known: Checkpoint | None, names: list[str]) -> list[Segment]:
        bases = {int(match[1]) for name in names if (match := _SEGMENT.fullmatch(name))}
        claims = {} if known is None else {facts.base_offset: facts for facts in known.segments}
        for base in sorted(set(claims) - bases):
            self._damage.append(f"{segment_name(base)} is gone, but was synced")
        wanted = sorted(self._of_this_log(known, bases))
        found: list[Segment] = []
        for base in wanted:
            facts = claims.get(base)
            claim = Claim(self._options.batches, is_last=base == wanted[-1])
            if facts is not None:
                claim = replace(claim, synced_bytes=facts.size, index_entries=facts.index_entries)
            expected = Expected(
                base,
                None if facts is None else facts.base_index,
                max(0, found[-1].last_term) if found and not found[-1].damage else 0,
            )
            if known is not None:
                expected.terms = TermTable(known.base_index, known.base_term, known.terms)
                expected.known_to = known.next_index - 1
            segment = self._segment(base, expected, claim, known)
            if segment is None:
                continue
            if found and found[-1].next_offset != base and not found[-1].damage:
                self._damage.append(
                    f"{segment.name} does not follow {found[-1].name}: offsets are missing"
                )
            if facts is not None:
                segment.notes.extend(self._index_notes(base, facts))
            found.append(segment)
        return found

    def _of_this_log(self, known: Checkpoint | None, bases: set[int]) -> set[int]:
        """Without those that a job was about to remove."""
        if known is None:
            return bases
        claimed = {facts.base_offset for facts in known.segments}
        if known.sweeping:
            return bases & claimed
        merged = {base for swap in known.swaps for base in swap.also}
        old = {base for base in bases if base < min(claimed, default=known.next_offset)}
        if old | (merged & bases):
            self._notes.append(f"{len(old | (merged & bases))} old segments wait to be removed")
        return bases - merged - old

    def _segment(
        self, base: int, expected: Expected, claim: Claim, known: Checkpoint | None
    ) -> Segment | None:
        name = segment_name(base)
        swapping = known is not None and any(swap.base_offset == base for swap in known.swaps)
        if swapping and self._disk.exists(f"{self._path}/{name}{CLEANED}"):
            name += CLEANED
        try:
            return read_segment(self._disk, f"{self._path}/{name}", expected, claim)
        except FileNotFoundError:
            self._damage.append(f"{name} went away while it was read")
            return None

    def _index_notes(self, base: int, facts: checkpoints.SegmentFacts) -> list[str]:
        name = f"{self._path}/{index_name(base)}"
        try:
            data = read_whole(self._disk, name) if facts.index_entries else b""
        except FileNotFoundError:
            data = b""
        if SparseIndex.decode(data, facts.index_entries, 1, facts.tail) is None:
            return ["its index is damaged or gone, and is built again when it is needed"]
        return []


def _checkpoint_facts(known: Checkpoint) -> dict[str, Any]:
    return {
        "start_offset": known.start_offset,
        "next_offset": known.next_offset,
        "first_index": known.base_index + 1,
        "last_index": known.next_index - 1,
        "terms": [{"term": term, "first_index": index} for term, index in known.terms],
        "internal_entries": known.internals_base + len(known.internals),
        "clean_to": known.clean_to,
        "replica_state_at": known.extra_index,
        "replica_state_bytes": len(known.extra),
        "hollow": known.hollow,
        "unfinished_swaps": len(known.swaps),
    }
