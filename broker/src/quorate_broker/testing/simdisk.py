"""A disk in memory that forgets like a real one: `log.disk.Disk` for the simulator.

What was written but not synced is lost at a crash, or kept as a prefix, and the write after that
prefix may be torn, or (`hole_rate`) keep any of its sectors without those between. A new, renamed
or removed name survives only after `sync_dir` of its folder. A sync that failed throws away what it
should have written, though reads go on showing it, and the next sync says "done" (fsyncgate). All
of it is drawn from one `random.Random`, so a seed replays it. Time passes nowhere: latency is the
simulator's.

`fault` injects errors, `misread` shows a wrong byte once, `cut_power_after` stops the machine in
the middle of a job, `flip` is rot.
"""

from __future__ import annotations

import errno
import os
import posixpath
import random
from collections import Counter
from collections.abc import Callable, Sequence

from quorate_broker.log.disk import Buffer

Fault = Callable[[str, str], int | None]
"""(operation, path) -> errno, or None."""
Misread = Callable[[str, int], int | None]
"""(path, bytes read) -> which of them is wrong, or None."""

_SECTOR = 512
_HOLE = 64
"""Sectors are as small as the writes of a simulation."""


class PowerCutError(Exception):
    """The machine is off: not an `OSError`, nobody may handle it but whoever calls `crash`."""


class _File:
    """An inode: what reads show, what is on the platter, and the way from one to the other."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.durable = bytearray()
        self.unsynced: list[tuple[int, bytes | None]] = []  # (at, bytes), or (size, None): cut

    def change(self, at: int, data: bytes | None) -> None:
        _apply(self.content, at, data)
        self.unsynced.append((at, data))

    def sync(self) -> None:
        for at, data in self.unsynced:
            _apply(self.durable, at, data)
        self.unsynced.clear()


def _apply(content: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        if at < len(content):
            del content[at:]
        else:
            content.extend(bytes(at - len(content)))
        return
    if at > len(content):
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


class SimDisk:
    """Implements `log.disk.Disk`. `seen` counts operations and what crashes did, for coverage."""

    def __init__(self, source: random.Random, capacity: int = 1 << 40) -> None:
        self.fault: Fault | None = None
        self.misread: Misread | None = None
        self.cut_power_after: int | None = None
        self.hole_rate = 0.0
        self.holed = False
        """The last crash left a hole inside a write."""
        self.seen: Counter[str] = Counter()
        self.capacity = capacity
        self._random = source
        self._folders = {"/", "."}
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        # Per folder, in order: (path, file or None, path that vanishes with it or None).
        self._name_changes: dict[str, list[tuple[str, _File | None, str | None]]] = {}
        self._handles: dict[int, tuple[str, _File]] = {}
        self._locks: dict[str, int] = {}
        self._next_handle = 3
        self._is_off = False

    # --------------------------------------------------------------------------------- files

    def open(self, path: str, create: bool = False) -> int:
        path = posixpath.normpath(path)
        self._before("open", path)
        if path not in self._names:
            if not create:
                raise _error(errno.ENOENT, path)
            if posixpath.dirname(path) not in self._folders:
                raise _error(errno.ENOENT, path)
            self._changing()
            self._link(path, _File())
        handle = self._next_handle
        self._next_handle += 1
        self._handles[handle] = (path, self._names[path])
        return handle

    def close(self, handle: int) -> None:
        path, _ = self._file(handle)
        self._before("close", path)
        del self._handles[handle]
        if self._locks.get(path) == handle:
            del self._locks[path]

    def pread(self, handle: int, size: int, at: int) -> bytes:
        path, file = self._file(handle)
        self._before("pread", path)
        data = bytes(file.content[at : at + size])
        wrong = self.misread(path, len(data)) if self.misread is not None and data else None
        if wrong is None:
            return data
        self.seen["misread"] += 1
        return data[:wrong] + bytes([data[wrong] ^ 0x10]) + data[wrong + 1 :]

    def pwrite(self, handle: int, buffers: Sequence[Buffer], at: int) -> None:
        path, file = self._file(handle)
        self._before("pwrite", path)
        self._changing()
        data = b"".join(buffers)
        self._must_fit(len(data), path)
        file.change(at, data)

    def sync(self, handle: int) -> None:
        path, file = self._file(handle)
        try:
            self._before("sync", path)
        except OSError:
            self.seen["sync failed"] += 1
            file.unsynced.clear()
            raise
        self._changing()
        file.sync()

    def preallocate(self, handle: int, at: int, size: int) -> None:
        path, file = self._file(handle)
        self._before("preallocate", path)
        self._changing()
        self._must_fit(size, path)
        if at + size > len(file.content):
            file.change(at + size, None)

    def truncate(self, handle: int, size: int) -> None:
        path, file = self._file(handle)
        self._before("truncate", path)
        self._changing()
        file.change(size, None)

    def size(self, handle: int) -> int:
        path, file = self._file(handle)
        self._before("size", path)
        return len(file.content)

    def size_of(self, path: str) -> int:
        path = posixpath.normpath(path)
        self._before("size", path)
        if path not in self._names:
            raise _error(errno.ENOENT, path)
        return len(self._names[path].content)

    def next_data(self, handle: int, at: int) -> int | None:
        path, file = self._file(handle)
        self._before("next_data", path)
        rest = bytes(file.content[at:])
        data = rest.lstrip(b"\0")
        return at + len(rest) - len(data) if data else None

    # --------------------------------------------------------------------------------- names

    def rename(self, source: str, target: str) -> None:
        source, target = posixpath.normpath(source), posixpath.normpath(target)
        self._before("rename", target)
        self._changing()
        if source in self._folders:
            self._move_folder(source, target)
            return
        if source not in self._names:
            raise _error(errno.ENOENT, source)
        file = self._names.pop(source)
        self._names[target] = file
        self._changes_of(target).append((target, file, source))

    def unlink(self, path: str) -> None:
        path = posixpath.normpath(path)
        self._before("unlink", path)
        self._changing()
        if path not in self._names:
            raise _error(errno.ENOENT, path)
        del self._names[path]
        self._changes_of(path).append((path, None, None))

    def listdir(self, path: str) -> list[str]:
        path = posixpath.normpath(path)
        self._before("listdir", path)
        if path not in self._folders:
            raise _error(errno.ENOENT, path)
        below = {*self._names, *self._folders} - {path}
        return sorted(posixpath.basename(name) for name in below if posixpath.dirname(name) == path)

    def mkdirs(self, path: str) -> None:
        path = posixpath.normpath(path)
        self._before("mkdirs", path)
        self._changing()
        while path and path not in self._folders:
            self._folders.add(path)
            path = posixpath.dirname(path)
        self._folders.add("")

    def rmtree(self, path: str) -> None:
        path = posixpath.normpath(path)
        self._before("rmtree", path)
        self._changing()
        if path not in self._folders:
            raise _error(errno.ENOENT, path)
        inside = path + "/"
        for names in (self._names, self._durable_names):
            for name in [name for name in names if name.startswith(inside)]:
                del names[name]
        gone = {folder for folder in self._folders if (folder + "/").startswith(inside)}
        self._folders -= gone
        for folder in gone:
            self._name_changes.pop(folder, None)

    def sync_dir(self, path: str) -> None:
        path = posixpath.normpath(path)
        self._before("sync_dir", path)
        self._changing()
        for change in self._name_changes.pop(path, []):
            self._apply_name(change)

    def exists(self, path: str) -> bool:
        path = posixpath.normpath(path)
        self._before("exists", path)
        return path in self._names or path in self._folders

    def free_bytes(self, path: str) -> int:
        self._before("free_bytes", path)
        return max(0, self.capacity - sum(len(file.content) for file in self._names.values()))

    def lock(self, path: str) -> int | None:
        path = posixpath.normpath(path)
        if path in self._locks:
            return None
        handle = self.open(path, create=True)
        self._locks[path] = handle
        return handle

    # -------------------------------------------------------------------------------- faults

    def let_go(self) -> None:
        """The process is dead: its handles and locks are gone, what it wrote is not."""
        self._handles.clear()
        self._locks.clear()

    def crash(self) -> None:
        """Power off and on: unsynced bytes and names are lost or kept as a prefix."""
        for changes in self._name_changes.values():
            for change in changes[: self._random.randint(0, len(changes))]:
                self._apply_name(change)
        self._name_changes.clear()
        self.holed = False
        self._names = dict(self._durable_names)
        for file in dict.fromkeys(self._names.values()):
            self._lose(file)
        self._handles.clear()
        self._locks.clear()
        self.cut_power_after = None
        self._is_off = False

    def _lose(self, file: _File) -> None:
        kept = self._random.randint(0, len(file.unsynced))
        lost = file.unsynced[kept:]
        file.unsynced = file.unsynced[:kept]
        file.sync()
        if lost:
            self.seen["lost"] += 1
            at, data = lost[0]
            if data and self.hole_rate and self._random.random() < self.hole_rate:
                self._leave_holes(file, at, data)
            elif data and self._random.random() < 0.5:
                self.seen["torn"] += 1
                _apply(file.durable, at, self._torn(data))
        elif kept:
            self.seen["kept"] += 1
        file.content = bytearray(file.durable)

    def _leave_holes(self, file: _File, at: int, data: bytes) -> None:
        """Pages reach the platter in any order: some sectors of one write, whichever they are."""
        for begin in range(0, len(data), _HOLE):
            if self._random.random() < 0.5:
                _apply(file.durable, at + begin, data[begin : begin + _HOLE])
                self.holed = True
        self.seen["holed"] += self.holed

    def _torn(self, data: bytes) -> bytes:
        """A part of one write: its beginning, and sometimes a sector of garbage behind."""
        kept = self._random.randrange(len(data))
        garbage = self._random.randint(0, min(_SECTOR, len(data) - kept))
        return data[:kept] + self._random.randbytes(garbage * self._random.randint(0, 1))

    def flip(self, path: str, at: int, mask: int = 0x01) -> None:
        """Rot: change one byte of what is on the platter."""
        file = self._names[posixpath.normpath(path)]
        file.content[at] ^= mask
        if at < len(file.durable):
            file.durable[at] ^= mask

    def content(self, path: str) -> bytes:
        """What reads show of a file."""
        return bytes(self._names[posixpath.normpath(path)].content)

    # -------------------------------------------------------------------------------- inside

    def _file(self, handle: int) -> tuple[str, _File]:
        if self._is_off:
            raise PowerCutError
        if handle not in self._handles:
            raise _error(errno.EBADF, str(handle))
        return self._handles[handle]

    def _before(self, operation: str, path: str) -> None:
        if self._is_off:
            raise PowerCutError
        self.seen[operation] += 1
        number = self.fault(operation, path) if self.fault is not None else None
        if number is not None:
            self.seen[f"{operation} error"] += 1
            raise _error(number, path)

    def _changing(self) -> None:
        if self.cut_power_after is None:
            return
        if self.cut_power_after <= 0:
            self._is_off = True
            raise PowerCutError
        self.cut_power_after -= 1

    def _must_fit(self, size: int, path: str) -> None:
        if self.capacity < 1 << 40 and size > self.free_bytes(path):
            self.seen["no room"] += 1
            raise _error(errno.ENOSPC, path)

    def _link(self, path: str, file: _File) -> None:
        self._names[path] = file
        self._changes_of(path).append((path, file, None))

    def _changes_of(self, path: str) -> list[tuple[str, _File | None, str | None]]:
        return self._name_changes.setdefault(posixpath.dirname(path), [])

    def _apply_name(self, change: tuple[str, _File | None, str | None]) -> None:
        path, file, vanishing = change
        if file is None:
            self._durable_names.pop(path, None)
        else:
            self._durable_names[path] = file
        if vanishing is not None:
            self._durable_names.pop(vanishing, None)

    def _move_folder(self, source: str, target: str) -> None:
        """Folders are moved durably at once: only retired groups are."""
        inside = source + "/"
        for names in (self._names, self._durable_names):
            for name in [name for name in names if name.startswith(inside)]:
                names[target + name[len(source) :]] = names.pop(name)
        for folder in sorted(self._folders):
            if (folder + "/").startswith(inside):
                self._folders.remove(folder)
                self._folders.add(target + folder[len(source) :])


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
