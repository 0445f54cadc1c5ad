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
    end: int = 0
    segment: Segment | None = None  # where its sound entries were placed


def open_log(
    disk: Disk, path: str, index_interval: int, wall_ms: int, founding: bytes | None
) -> Recovered:
    """Recover the log in folder `path`, or begin one there. Blocking; raises OSError.

    One that begins has the `founding` membership; without it it is hollow.
    """
    disk.mkdirs(path)
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
        self.layout = Layout(index_interval)
        self.known: checkpoints.Checkpoint | None = None
        self.state: tuple[int, bytes] | None = None
        self.torn_bytes = 0
        self.copied_bytes = 0
        self.scanned_batches = 0

    def run(self) -> None:
        self.known = checkpoints.load(self.disk, self.path, self.founding)
        if self.known is None:
            names = self.disk.listdir(self.path)
            if any(name.endswith(".log") or name == statefile.NAME for name in names):
                raise CorruptLogError("there is data but no checkpoint")
            self._begin()
            return
        self.disk.sync_dir(self.path)  # names that a failed job left behind are seen, not yet kept
        self.state = statefile.load(self.disk, self.path)
        self._finish_job(self.known)
        names = self.disk.listdir(self.path)
        bases = [int(name[:-4]) for name in names if name.endswith(".log")]
        self.layout = checkpoints.to_layout(self.known, self.layout.index_interval)
        self._check_known(set(bases))
        sources = self._sources(bases)
        for number, source in enumerate(sources):
            self._scan(source, sources[number + 1 :])
        self._settle(sources)
        sweep(self.disk, self.path, self._kept())

    def _begin(self) -> None:
        """The first checkpoint: from then on segments without one are corruption."""
        self.layout.told = Told((-1, self.founding or b""))
        self.layout.hollow = self.founding is None
        self.known = checkpoints.of_layout(self.layout, -1, b"")
        write_whole(self.disk, self.path, checkpoints.NAME, checkpoints.encode(self.known))

    def _finish_job(self, known: checkpoints.Checkpoint) -> None:
        """A power cut came in the middle of a reset or a swap, behind the point of no return."""
        if not (known.swaps or known.sweeping):
            return
        if known.sweeping:
            sweep(self.disk, self.path, {facts.base_offset for facts in known.segments})
        carry_out(self.disk, self.path, known.swaps)
        self.known = replace(known, swaps=[], sweeping=False)
        write_whole(self.disk, self.path, checkpoints.NAME, checkpoints.encode(self.known))

    # ------------------------------------------------------------------ what must be there

    def _check_known(self, bases: set[int]) -> None:
        for segment in self.layout.segments:
            if segment.base_offset not in bases:
                raise CorruptLogError(f"{segment.name} is gone")
            with opened(self.disk, f"{self.path}/{segment.name}") as handle:
                segment.allocated = self.disk.size(handle)
                if segment.allocated < segment.size:
                    raise CorruptLogError(f"{segment.name} is shorter than what was synced")
        if self.layout.segments:
            active = self.layout.active
            with opened(self.disk, f"{self.path}/{active.name}") as active.handle:
                load_index(self.disk, self.path, active, self.layout)
            active.handle = None

    def _sources(self, bases: list[int]) -> list[_Source]:
        segments = self.layout.segments
        first, last = (segments[0].base_offset, segments[-1].base_offset) if segments else (-1, -1)
        strange = {base for base in bases if first < base < last} - self._kept()
        if strange:
            raise CorruptLogError(f"{segment_name(min(strange))} is not of this log")
        if not segments:
            # Older ones were left behind by retention.
            return [_Source(base, 0) for base in sorted(bases) if base >= self.layout.next_offset]
        newer = [_Source(base, 0) for base in sorted(bases) if base > last]
        return [_Source(last, segments[-1].size), *newer]

    # ------------------------------------------------------------------ what may be believed

    def _scan(self, source: _Source, later: list[_Source]) -> None:
        layout = self.layout
        source.end = source.begin
        with opened(self.disk, f"{self.path}/{segment_name(source.base_offset)}") as handle:
            if later and self._was_copied(handle, source, later[0]):
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
                self._look_twice(handle, source, end)
        is_torn = rest.valid_at is None or (rest.is_hole and in_line and not later)
        if not is_torn:
            raise CorruptLogError(
                f"{segment_name(source.base_offset)}: bad bytes at {source.end}, but a valid batch "
                f"behind them at {rest.valid_at}"
            )
        self.torn_bytes += rest.torn_bytes

    def _look_twice(self, handle: int, source: _Source, end: int) -> None:
        """A disk that reads one thing now and another then must not cost what lies on it."""
        layout = self.layout
        place = Place(layout.next_offset, layout.next_index, source.end)
        if any(sound_entries(self.disk, handle, place, layout.terms.last, end)):
            name = f"{self.path}/{segment_name(source.base_offset)}"
            raise OSError(errno.EIO, f"reads differ at {source.end}", name)

    def _was_copied(self, handle: int, source: _Source, later: _Source) -> bool:
        """A power cut within step 4: this tail already stands in the next file."""
        if source.begin == 0 or later.base_offset != self.layout.next_offset:
            return False
        with opened(self.disk, f"{self.path}/{segment_name(later.base_offset)}") as other:
            head = self.disk.pread(other, HEADER_SIZE, 0)
        mine = self.disk.pread(handle, HEADER_SIZE, source.begin)
        return mine == head and any(mine)

    def _target(self, source: _Source) -> Segment:
        """The segment that takes this source's entries; a tail gets one of its own."""
        segments = self.layout.segments
        if segments and self.layout.next_offset == segments[-1].base_offset:
            return segments[-1]  # no offset in it yet: same name, so the whole file is copied
        return self.layout.roll()

    # ------------------------------------------------------------------ making it durable

    def _settle(self, sources: list[_Source]) -> None:
        for segment in self.layout.segments:
            parts = [source for source in sources if source.segment is segment]
            if parts:
                self._copy(segment, parts)
        copied = {source.segment.base_offset for source in sources if source.segment is not None}
        for source in sources:
            if source.base_offset not in copied:  # a copy took the name, and with it the old bytes
                self._clean(source)
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
            self.disk.truncate(writing, 0)
            for source in parts:
                begin = 0 if source.base_offset == segment.base_offset else source.begin
                size = self._copy_part(writing, size, source, begin)
            self.disk.sync(writing)
            assert size == segment.size, "every entry placed here is in one of the parts"
            self._verify(writing, segment, parts)
        self.disk.rename(name + COPY, name)
        self.disk.sync_dir(self.path)
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
        known = max((p.begin for p in parts if p.base_offset == segment.base_offset), default=0)
        if sound < known:
            with opened(self.disk, f"{self.path}/{segment.name}") as reading:
                if self._sound_until(reading, segment) == sound:
                    raise CorruptLogError(f"{segment.name}: bad bytes at {sound}, that was synced")
        name = f"{self.path}/{segment.name}{COPY}"
        raise OSError(errno.EIO, f"a copy is not what was read, at {sound}", name)

    def _sound_until(self, handle: int, segment: Segment) -> int:
        """Up to where a file holds the entries of a segment."""
        place = Place(segment.base_offset, segment.base_index, 0)
        for found in sound_entries(self.disk, handle, place, 0):
            if self.layout.terms.at(place.index) != found.header.leader_epoch:
                break
            place = follow(place, found.header)
        return place.position

    def _copy_part(self, writing: int, at: int, source: _Source, begin: int) -> int:
        with opened(self.disk, f"{self.path}/{segment_name(source.base_offset)}") as reading:
            for position in range(begin, source.end, _STEP):
                chunk = self.disk.pread(reading, min(_STEP, source.end - position), position)
                self.disk.pwrite(writing, [chunk], at)
                at += len(chunk)
        return at

    def _clean(self, source: _Source) -> None:
        """Cut what was copied away or torn; a file of which nothing is left goes."""
        name = f"{self.path}/{segment_name(source.base_offset)}"
        if source.base_offset not in self._kept():
            self.disk.unlink(name)
            self.disk.sync_dir(self.path)
            return
        # Also when nothing is to be seen there: a failed sync may have left it on the disk.
        with opened(self.disk, name) as handle:
            self.disk.truncate(handle, source.begin)
            self.disk.sync(handle)
        self.layout.segment_of_offset(source.base_offset).allocated = source.begin

    def _kept(self) -> set[int]:
        return {segment.base_offset for segment in self.layout.segments}
