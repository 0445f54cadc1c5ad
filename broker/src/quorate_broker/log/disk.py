"""The disk: the only file of the broker that touches the operating system's files.

Everything durable goes through this protocol, so that the simulator can put
`quorate_broker.testing.simdisk.SimDisk` in its place: power cuts, torn writes and errors by seed.
Every method may raise `OSError`. Handles are small integers. Paths are strings with `/`.
Who uses it: `log.log` for segments, `log.journal` for votes, `log.datadir` for the identity.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Sequence
from typing import Protocol

Buffer = bytes | bytearray | memoryview

# One pwritev takes at most this many buffers (IOV_MAX of Linux).
_IOV_MAX = 1024
_NO_ROOM = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
)


class Disk(Protocol):
    """Files, seen as narrowly as the log needs them."""

    def open(self, path: str, create: bool = False) -> int:
        """Open for reading and writing; with `create` make it if it is not there."""
        ...

    def close(self, handle: int) -> None:
        """Give the handle back; unsynced bytes stay unsynced."""
        ...

    def pread(self, handle: int, size: int, at: int) -> bytes:
        """Up to `size` bytes from `at`; fewer only at the end of the file."""
        ...

    def pwrite(self, handle: int, buffers: Sequence[Buffer], at: int) -> None:
        """Write all of `buffers` one behind the other, from `at`."""
        ...

    def sync(self, handle: int) -> None:
        """`fdatasync`. After one failure nothing unsynced may be believed: never call it again."""
        ...

    def preallocate(self, handle: int, at: int, size: int) -> None:
        """Reserve space; the file grows to at least `at + size` and reads zeros there."""
        ...

    def truncate(self, handle: int, size: int) -> None:
        """Cut (or grow with zeros) to `size`."""
        ...

    def size(self, handle: int) -> int:
        """Bytes in the file, preallocated zeros included."""
        ...

    def size_of(self, path: str) -> int:
        """The same of a file that is not open."""
        ...

    def next_data(self, handle: int, at: int) -> int | None:
        """A position >= `at` before which all is zeros (a hole); None: zeros to the end."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Atomic replace; durable after `sync_dir` of the folder."""
        ...

    def unlink(self, path: str) -> None:
        """Remove a file."""
        ...

    def listdir(self, path: str) -> list[str]:
        """Names in a folder, sorted."""
        ...

    def mkdirs(self, path: str) -> None:
        """Make a folder and its parents, durably; no error if it is there."""
        ...

    def rmtree(self, path: str) -> None:
        """Remove a folder and all below it."""
        ...

    def sync_dir(self, path: str) -> None:
        """Make creations, renames and removals in this folder durable."""
        ...

    def exists(self, path: str) -> bool:
        """Is there a file or folder of this name?"""
        ...

    def free_bytes(self, path: str) -> int:
        """Space left for us on the file system of `path`."""
        ...

    def lock(self, path: str) -> int | None:
        """Take the exclusive lock of a file (made if need be): a handle, or None if it is held."""
        ...


class OsDisk:
    """Linux files by position: no shared file offset, so threads need no lock of ours."""

    def open(self, path: str, create: bool = False) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        return os.open(path, flags, 0o640)

    def close(self, handle: int) -> None:
        os.close(handle)

    def pread(self, handle: int, size: int, at: int) -> bytes:
        data = os.pread(handle, size, at)
        if len(data) == size or not data:
            return data
        parts = [data]
        got = len(data)
        while got < size and (data := os.pread(handle, size - got, at + got)):
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def pwrite(self, handle: int, buffers: Sequence[Buffer], at: int) -> None:
        for first in range(0, len(buffers), _IOV_MAX):
            at = self._pwrite_some(handle, buffers[first : first + _IOV_MAX], at)

    def _pwrite_some(self, handle: int, buffers: Sequence[Buffer], at: int) -> int:
        left = sum(map(len, buffers))
        while left:
            written = os.pwritev(handle, buffers, at)
            at += written
            left -= written
            if left:
                buffers = _after(buffers, written)
        return at

    def sync(self, handle: int) -> None:
        os.fdatasync(handle)

    def preallocate(self, handle: int, at: int, size: int) -> None:
        os.posix_fallocate(handle, at, size)

    def truncate(self, handle: int, size: int) -> None:
        os.ftruncate(handle, size)

    def size(self, handle: int) -> int:
        return os.fstat(handle).st_size

    def size_of(self, path: str) -> int:
        return os.stat(path).st_size

    def next_data(self, handle: int, at: int) -> int | None:
        # Preallocated, never written blocks count as holes, so a zero tail of megabytes costs
        # one system call. File systems without holes answer `at` itself.
        try:
            return os.lseek(handle, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def mkdirs(self, path: str) -> None:
        if os.path.isdir(path):
            return
        parent = os.path.dirname(os.path.abspath(path))
        self.mkdirs(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o750)
        self.sync_dir(parent)

    def rmtree(self, path: str) -> None:
        shutil.rmtree(path)

    def sync_dir(self, path: str) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def free_bytes(self, path: str) -> int:
        facts = os.statvfs(path)
        return facts.f_bavail * facts.f_frsize

    def lock(self, path: str) -> int | None:
        handle = self.open(path, create=True)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        return handle


class ReadOnlyDisk(OsDisk):
    """For looking at files that may be another process's: nothing is written, made or locked."""

    def open(self, path: str, create: bool = False) -> int:
        if create:
            raise _read_only(path)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def pwrite(self, handle: int, buffers: Sequence[Buffer], at: int) -> None:
        raise _read_only()

    def truncate(self, handle: int, size: int) -> None:
        raise _read_only()

    def preallocate(self, handle: int, at: int, size: int) -> None:
        raise _read_only()

    def rename(self, source: str, target: str) -> None:
        raise _read_only(source)

    def unlink(self, path: str) -> None:
        raise _read_only(path)

    def mkdirs(self, path: str) -> None:
        raise _read_only(path)

    def rmtree(self, path: str) -> None:
        raise _read_only(path)

    def lock(self, path: str) -> int | None:
        raise _read_only(path)

    def is_folder(self, path: str) -> bool:
        """Whether this name is a folder."""
        return os.path.isdir(path)

    def holder(self, path: str) -> int | None:
        """The process that holds the lock of a file, if it can be seen from here; asks the kernel's
        list, because trying the lock would keep a node from starting for that moment."""
        try:
            inode = str(os.stat(path).st_ino)
            with open("/proc/locks") as locks:
                held = [line.split() for line in locks]
        except OSError:
            return None
        for fields in held:
            if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode:
                pid = int(fields[4])
                if _has_open(pid, os.path.realpath(path)):
                    return pid
        return None


def _read_only(path: str = "") -> OSError:
    return OSError(errno.EROFS, os.strerror(errno.EROFS), path)


def _has_open(pid: int, path: str) -> bool:
    """Inodes are numbered per file system: is it this file that the process has locked?"""
    folder = f"/proc/{pid}/fd"
    try:
        return any(os.path.realpath(f"{folder}/{name}") == path for name in os.listdir(folder))
    except OSError:
        return os.path.exists(f"/proc/{pid}")  # somebody else's process: the number must do


def _after(buffers: Sequence[Buffer], written: int) -> list[Buffer]:
    """What is left of `buffers` behind their first `written` bytes."""
    for number, buffer in enumerate(buffers):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *buffers[number + 1 :]]
        written -= len(buffer)
    return []


def let_go(disk: Disk, handle: int) -> None:
    """Close a file of which nothing is expected any more: what counts in it was synced."""
    with contextlib.suppress(OSError):
        disk.close(handle)


def reserve(disk: Disk, handle: int, at: int, size: int) -> bool:
    """Preallocate if there is room; a later write will say so if there is none for itself."""
    try:
        disk.preallocate(handle, at, size)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        return False
    return True


def write_whole(disk: Disk, folder: str, name: str, content: Buffer) -> None:
    """Replace `folder/name` by `content`: wholly or not at all, and durable when this returns."""
    temporary = f"{folder}/{name}.tmp"
    handle = disk.open(temporary, create=True)
    try:
        disk.truncate(handle, 0)
        disk.pwrite(handle, [content], 0)
        disk.sync(handle)
    finally:
        let_go(disk, handle)
    disk.rename(temporary, f"{folder}/{name}")
    disk.sync_dir(folder)


def read_if_there(disk: Disk, path: str) -> bytes | None:
    """All of a file; None if there is none."""
    try:
        return read_whole(disk, path)
    except FileNotFoundError:
        return None


def read_whole(disk: Disk, path: str) -> bytes:
    """All of a file."""
    handle = disk.open(path)
    try:
        return disk.pread(handle, disk.size(handle), 0)
    finally:
        let_go(disk, handle)
