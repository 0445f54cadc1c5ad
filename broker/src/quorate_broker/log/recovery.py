"""Opening a log: what is on disk, which of it may be believed, and making the rest durable.

1. The checkpoint says what was synced; its segments must be there, at least that long.
2. From its position on, entries are scanned while they are whole and in line.
3. Behind the first bad byte nothing valid may follow: then it is a torn tail, never synced, and is
   cut (zeros are preallocated space, not even torn). A valid batch behind it means rot: corruption
   (decision 10); then nothing on disk is touched. But a power cut may leave a hole inside one
   write, whose sectors reach the disk in any order: where a whole sector is still zeros as before
   the write, in the newest segment, the write was not synced, and its rest is cut like any tail.
4. What was scanned is copied to a new file, synced and renamed into place (decision 12): after a
   failed sync the kernel may show pages that never reach the disk. Only the tail is copied: it
   becomes a segment of its own; then the old file is cut where the checkpoint ended.
   The old checkpoint still holds for what lies before; the next one, a few seconds later, names
   all of it. Until then a restart does the same again.

A new log has nothing but a checkpoint.

A power cut inside any of these steps leads back to step 1 with the same outcome. `open_log` is
called by `log.Log.open`, before anything votes, acknowledges or serves. Next: `jobs`.
"""

from __future__ import annotations

import errno
from contextlib import ExitStack
from dataclasses import dataclass, replace

from quorate_broker.log import checkpoint as checkpoints
from quorate_broker.log import statefile
from quorate_broker.log.disk import Disk, write_whole
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.files import COPY, carry_out, load_index, opened, sweep
from quorate_broker.log.index import Place
from quorate_broker.log.layout import Layout, Segment, segment_name
from quorate_broker.log.reader import follow
from quorate_broker.log.scan import data_end, inspect_rest, sound_entries
from quorate_broker.log.told import Told
from quorate_broker.wire.batch import HEADER_SIZE

_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What opening found. `corrupt` set: no vote, no campaign, no serving; read-only."""

    torn_bytes: int = 0
    copied_bytes: int = 0  # beyond the checkpoint: copied, synced and renamed into place
    scanned_batches: int = 0
    corrupt: str | None = None
    wall_ms: int = 0


@dataclass(frozen=True, slots=True)
class Recovered:
    """What `log.Log` starts from. `checkpoint` is the one on disk: it may lag behind `layout`."""

    layout: Layout
    checkpoint: checkpoints.Checkpoint | None
    state: tuple[int, bytes] | None
    report: RecoveryReport


@dataclass(slots=True)
class _Source:
    """A file with bytes behind the checkpoint: from `begin` on; sound up to `end`."""

    base_offset: int
    begin: int
    handle: int
    end: int = 0
    segment: Segment | None = None  # where its sound entries were placed


def open_log(
    disk: Disk, path: str, index_interval: int, wall_ms: int, founding: bytes | None
) -> Recovered:
    """Recover the log in folder `path`, or begin one there. Blocking; raises OSError.

    One that begins has the `founding` membership; without it it is hollow.
    """
    recovery = _Recovery(disk, path, index_interval, founding)
    corrupt = None
    try:
        recovery.run()
    except CorruptLogError as error:
        corrupt = f"{path}: {error}"
    report = RecoveryReport(
        torn_bytes=recovery.torn_bytes,
        copied_bytes=0 if corrupt else recovery.copied_bytes,
        scanned_batches=recovery.scanned_batches,
        corrupt=corrupt,
        wall_ms=wall_ms,
    )
    return Recovered(recovery.layout, recovery.known, recovery.state, report)


class _Recovery:
    def __init__(self, disk: Disk, path: str, index_interval: int, founding: bytes | None) -> None:
        self.disk = disk
        self.founding = founding
        self.path = path
        self.names: list[str] = []
        """What the folder held at first."""
        self.layout = Layout(index_interval)
        self.known: checkpoints.Checkpoint | None = None
        self.state: tuple[int, bytes] | None = None
        self.torn_bytes = 0
        self.copied_bytes = 0
        self.scanned_batches = 0

    def run(self) -> None:
        self.names = self._listed()
        self.known = known = checkpoints.load(self.disk, self.path, self.founding)
        if known is None:
            if any(name.endswith(".log") or name == statefile.NAME for name in self.names):
                raise CorruptLogError("there is data but no checkpoint")
            self._begin()
            return
        if statefile.NAME in self.names:
            self.state = statefile.load(self.disk, self.path)
        if known.swaps or known.sweeping:
            self.known = known = self._finish_job(known)
            self.names = self.disk.listdir(self.path)
        self.layout = checkpoints.to_layout(known, self.layout.index_interval)
        bases = [int(name[:-4]) for name in self.names if name.endswith(".log")]
        self._check_known(set(bases))
        with ExitStack() as files:
            sources = self._sources(bases, files)
            for number, source in enumerate(sources):
                self._scan(source, sources[number + 1 :])
            self._settle(sources)
            self._load_index(sources)
        sweep(self.disk, self.path, self.names, self._kept())

    def _listed(self) -> list[str]:
        try:
            return self.disk.listdir(self.path)
        except FileNotFoundError:
            self.disk.mkdirs(self.path)
            return []

    def _begin(self) -> None:
        """The first checkpoint: from then on segments without one are corruption."""
        self.layout.told = Told((-1, self.founding or b""))
        self.layout.hollow = self.founding is None
        self.known = checkpoints.of_layout(self.layout, -1, b"")
        write_whole(self.disk, self.path, checkpoints.NAME, checkpoints.encode(self.known))

    def _finish_job(self, known: checkpoints.Checkpoint) -> checkpoints.Checkpoint:
        """A power cut came in the middle of a reset or a swap, behind the point of no return."""
        self.disk.sync_dir(self.path)  # that point is seen, and perhaps not yet kept
        if known.sweeping:
            kept = {facts.base_offset for facts in known.segments}
            sweep(self.disk, self.path, self.names, kept)
        carry_out(self.disk, self.path, known.swaps)
        known = replace(known, swaps=[], sweeping=False)
        write_whole(self.disk, self.path, checkpoints.NAME, checkpoints.encode(known))
        return known

    # ------------------------------------------------------------------ what must be there

    def _check_known(self, bases: set[int]) -> None:
        for segment in self.layout.segments:
            if segment.base_offset not in bases:
                raise CorruptLogError(f"{segment.name} is gone")
            segment.allocated = self.disk.size_of(f"{self.path}/{segment.name}")
            if segment.allocated < segment.size:
                raise CorruptLogError(f"{segment.name} is shorter than what was synced")

    def _sources(self, bases: list[int], files: ExitStack) -> list[_Source]:
        """Opened."""
        segments = self.layout.segments
        first, last = (segments[0].base_offset, segments[-1].base_offset) if segments else (-1, -1)
        strange = {base for base in bases if first < base < last} - self._kept()
        if strange:
            raise CorruptLogError(f"{segment_name(min(strange))} is not of this log")
        # Without any, older ones were left behind by retention.
        least = last + 1 if segments else self.layout.next_offset
        begins = [(last, segments[-1].size)] if segments else []
        begins += [(base, 0) for base in sorted(bases) if base >= least]
        return [_Source(base, begin, self._opened(base, files)) for base, begin in begins]

    def _opened(self, base_offset: int, files: ExitStack) -> int:
        return files.enter_context(opened(self.disk, f"{self.path}/{segment_name(base_offset)}"))

    # ------------------------------------------------------------------ what may be believed

    def _scan(self, source: _Source, later: list[_Source]) -> None:
        layout, handle = self.layout, source.handle
        source.end = source.begin
        if later and self._was_copied(source, later[0]):
            return
        end = data_end(self.disk, handle, source.begin)
        in_line = source.begin > 0 or source.base_offset == layout.next_offset
        if layout.segments and source.base_offset == layout.active.base_offset:
            in_line = True
        start = Place(layout.next_offset, layout.next_index, source.begin)
        if in_line:
            for found in sound_entries(self.disk, handle, start, layout.terms.last, end):
                if source.segment is None:
                    source.segment = self._target(source)
                layout.place(found.header, found.data)
                source.end = found.end_position
                self.scanned_batches += 1
        rest = inspect_rest(self.disk, handle, source.end, end, layout.next_offset)
        if rest.torn_bytes:
            self._look_twice(source, end)
        is_torn = rest.valid_at is None or (rest.is_hole and in_line and not later)
        if not is_torn:
            raise CorruptLogError(
                f"{segment_name(source.base_offset)}: bad bytes at {source.end}, but a valid batch "
                f"behind them at {rest.valid_at}"
            )
        self.torn_bytes += rest.torn_bytes

    def _look_twice(self, source: _Source, end: int) -> None:
        """A disk that reads one thing now and another then must not cost what lies on it."""
        layout = self.layout
        place = Place(layout.next_offset, layout.next_index, source.end)
        if any(sound_entries(self.disk, source.handle, place, layout.terms.last, end)):
            name = f"{self.path}/{segment_name(source.base_offset)}"
            raise OSError(errno.EIO, f"reads differ at {source.end}", name)

    def _was_copied(self, source: _Source, later: _Source) -> bool:
        """A power cut within step 4: this tail already stands in the next file."""
        if source.begin == 0 or later.base_offset != self.layout.next_offset:
            return False
        mine = self.disk.pread(source.handle, HEADER_SIZE, source.begin)
        return mine == self.disk.pread(later.handle, HEADER_SIZE, 0) and any(mine)

    def _target(self, source: _Source) -> Segment:
        """The segment that takes this source's entries; a tail gets one of its own."""
        segments = self.layout.segments
        if segments and self.layout.next_offset == segments[-1].base_offset:
            self._load(segments[-1], source)
            return segments[-1]  # no offset in it yet: same name, so the whole file is copied
        return self.layout.roll()

    def _load_index(self, sources: list[_Source]) -> None:
        """Of the segment that is written on: unless it has just been made."""
        if self.layout.segments and self.layout.active.index is None:
            self._load(self.layout.active, sources[0])

    def _load(self, segment: Segment, source: _Source) -> None:
        assert segment.base_offset == source.base_offset, "known, and the last one"
        segment.handle = source.handle
        load_index(self.disk, self.path, segment, self.layout)
        segment.handle = None

    # ------------------------------------------------------------------ making it durable

    def _settle(self, sources: list[_Source]) -> None:
        for segment in self.layout.segments:
            parts = [source for source in sources if source.segment is segment]
            if parts:
                self._copy(segment, parts)
        self.disk.sync_dir(self.path)  # also names that a failed job left behind
        copied = {source.segment.base_offset for source in sources if source.segment is not None}
        for source in sources:
            # A copy took the name, and with it the old bytes; of what is not kept all will go.
            if source.base_offset in self._kept() - copied:
                self._cut(source)
        for segment in self.layout.segments[:-1]:
            segment.sealed = True

    def _copy(self, segment: Segment, parts: list[_Source]) -> None:
        """Copy the scanned parts (and what of the segment came before them) into its place.

        There are two parts when a tail held internal entries only: the next file has the offset
        that the tail's own segment is named by, so they become one.
        """
        name = f"{self.path}/{segment.name}"
        size = 0
        with opened(self.disk, name + COPY, create=True) as writing:
            self.disk.truncate(writing, 0)  # one that was begun before may lie there
            for source in parts:
                begin = 0 if source.base_offset == segment.base_offset else source.begin
                size = self._copy_part(writing, size, source, begin)
            self.disk.sync(writing)
            assert size == segment.size, "every entry placed here is in one of the parts"
            self._verify(writing, segment, parts)
        self.disk.rename(name + COPY, name)
        self.copied_bytes += size
        segment.index_entries = 0
        segment.has_file = True
        segment.handed = segment.written = segment.allocated = size

    def _verify(self, writing: int, segment: Segment, parts: list[_Source]) -> None:
        """The copy takes the place of the original, so nothing misread may be in it.

        What lies below the checkpoint was not scanned: there the original itself may be bad.
        """
        sound = self._sound_until(writing, segment)
        if sound == segment.size:
            return
        own = [part for part in parts if part.base_offset == segment.base_offset]
        if any(
            sound < part.begin and self._sound_until(part.handle, segment) == sound for part in own
        ):
            raise CorruptLogError(f"{segment.name}: bad bytes at {sound}, that was synced")
        name = f"{self.path}/{segment.name}{COPY}"
        raise OSError(errno.EIO, f"a copy is not what was read, at {sound}", name)

    def _sound_until(self, handle: int, segment: Segment) -> int:
        """Up to where a file holds the entries of a segment."""
        place = Place(segment.base_offset, segment.base_index, 0)
        for found in sound_entries(self.disk, handle, place, 0, segment.size):
            if self.layout.terms.at(place.index) != found.header.leader_epoch:
                break
            place = follow(place, found.header)
        return place.position

    def _copy_part(self, writing: int, at: int, source: _Source, begin: int) -> int:
        for position in range(begin, source.end, _STEP):
            size = min(_STEP, source.end - position)
            chunk = self.disk.pread(source.handle, size, position)
            self.disk.pwrite(writing, [chunk], at)
            at += len(chunk)
        return at

    def _cut(self, source: _Source) -> None:
        """What was copied away or torn; also when nothing is to be seen there: a failed sync may
        have left it on the disk."""
        self.disk.truncate(source.handle, source.begin)
        self.disk.sync(source.handle)
        self.layout.segment_of_offset(source.base_offset).allocated = source.begin

    def _kept(self) -> set[int]:
        return {segment.base_offset for segment in self.layout.segments}
