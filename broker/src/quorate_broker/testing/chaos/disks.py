"""A small file system for each broker, and what goes wrong with it. Read next: `machines`.

Each is ext4 in an image file, loop-mounted in the runner's own mount namespace: it is unmounted and
its loop device freed by the kernel when the runner ends.

A power cut is the kernel's own shutdown of a file system: what was synced stays, what was not is
gone when it is mounted again. No process may be at a sync just then (`Machines.lose_power`).
"""

from __future__ import annotations

import fcntl
import os
import pathlib
import random
import struct
import subprocess
from collections.abc import Sequence

from quorate_broker.wire import batch

IMAGE_BYTES = 1 << 30
_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_WITHOUT_FLUSH = struct.pack("I", 2)
_BALLAST = "ballast"


class Disks:
    """Mounted under `folder`/node-N."""

    def __init__(self, folder: pathlib.Path, node_ids: Sequence[int]) -> None:
        self._folder = folder
        self._frozen: set[int] = set()
        self._node_ids = tuple(node_ids)
        for node_id in node_ids:
            with self._image(node_id).open("wb") as image:
                image.truncate(IMAGE_BYTES)
            _run("mkfs.ext4", "-q", "-F", str(self._image(node_id)))
            self.path(node_id).mkdir()
            self._mount(node_id)

    def path(self, node_id: int) -> pathlib.Path:
        return self._folder / f"node-{node_id}"

    def data(self, node_id: int) -> pathlib.Path:
        return self.path(node_id) / "data"

    def _image(self, node_id: int) -> pathlib.Path:
        return self._folder / f"node-{node_id}.img"

    def _mount(self, node_id: int) -> None:
        _run("mount", "-o", "loop", str(self._image(node_id)), str(self.path(node_id)))

    def close(self) -> None:
        """When no process uses them any more."""
        self.heal()
        for node_id in self._node_ids:
            _run("umount", str(self.path(node_id)))
            self._image(node_id).unlink()

    # -- trouble

    def fill(self, node_id: int) -> None:
        """Not a block is free."""
        with (self.path(node_id) / _BALLAST).open("wb") as ballast:
            size = 0
            chunk = 1 << 28
            while chunk >= 4096:
                try:
                    os.posix_fallocate(ballast.fileno(), size, chunk)
                    size += chunk
                except OSError:
                    chunk >>= 1

    def freeze(self, node_id: int) -> None:
        """Every write and every sync waits until `thaw`."""
        _run("fsfreeze", "-f", str(self.path(node_id)))
        self._frozen.add(node_id)

    def thaw(self, node_id: int) -> None:
        if node_id in self._frozen:
            _run("fsfreeze", "-u", str(self.path(node_id)))
            self._frozen.remove(node_id)

    def cut_power(self, node_id: int) -> None:
        """From here on every call fails, and what was not synced is lost."""
        handle = os.open(self.path(node_id), os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, _WITHOUT_FLUSH)
        finally:
            os.close(handle)

    def power_on(self, node_id: int) -> None:
        """Mounted anew; the broker must be dead."""
        _run("umount", str(self.path(node_id)))
        self._mount(node_id)

    def tear(self, node_id: int, source: random.Random) -> int:
        """Behind each log's end, part of a batch that was being written; how many logs got it.

        Only what nobody was told to be durable is touched: the bytes behind the last whole batch.
        """
        return sum(tear_segment(last, source) for last in _last_segments(self.data(node_id)))

    def rot(self, node_id: int, source: random.Random) -> str:
        """One byte of a file that was synced long ago is another; which file."""
        groups = self.data(node_id) / "groups"
        sealed = [file for last in _last_segments(self.data(node_id)) for file in _older(last)] * 3
        for other in ("*/*.qindex", "*/checkpoint", "*/state"):
            sealed += sorted(groups.glob(other))
        files = [file for file in sealed if file.stat().st_size > 0]
        if not files:
            return "nothing to rot"
        file = source.choice(files)
        at = source.randrange(file.stat().st_size)
        flip_byte(file, at)
        return f"byte {at} of {file.parent.name[-12:]}/{file.name}"

    def rot_votes(self, node_id: int, source: random.Random) -> str:
        """One byte of what the journal of votes holds is another; which."""
        file = self.data(node_id) / "raft" / "state.log"
        at = source.randrange(len(file.read_bytes().rstrip(b"\0")))
        flip_byte(file, at)
        return f"byte {at} of {file.name}"

    def heal(self) -> None:
        for node_id in self._node_ids:
            self.thaw(node_id)
            (self.path(node_id) / _BALLAST).unlink(missing_ok=True)


def tear_segment(segment: pathlib.Path, source: random.Random) -> bool:
    """Write a part of the batch that would come next; False when the segment is empty.

    Behind it lie preallocated zeros, and a batch ends in zeros of its own: the part ends before
    the last byte that is none, lest the batch be whole after all.
    """
    content = segment.read_bytes()
    whole = _batches(content)
    if not whole:
        return False
    at, header = whole[-1]
    end = at + header.size
    next_one = bytearray(content[at:end])
    batch.stamp(next_one, header.next_offset, header.leader_epoch)
    with segment.open("r+b") as file:
        file.seek(end)
        file.write(next_one[: source.randrange(1, len(next_one.rstrip(b"\0")))])
    return True


def flip_byte(file: pathlib.Path, at: int) -> None:
    """In place, whoever has the file open."""
    with file.open("r+b") as opened:
        opened.seek(at)
        (old,) = opened.read(1)
        opened.seek(at)
        opened.write(bytes([old ^ 0x40]))


def _older(last: pathlib.Path) -> list[pathlib.Path]:
    """The sealed segments beside this one."""
    return [file for file in sorted(last.parent.glob("*.log")) if file.name < last.name]


def _last_segments(data: pathlib.Path) -> list[pathlib.Path]:
    folders = (data / "groups").iterdir() if (data / "groups").is_dir() else ()
    last = [max(folder.glob("*.log"), default=None) for folder in sorted(folders)]
    return [segment for segment in last if segment is not None]


def _batches(content: bytes) -> list[tuple[int, batch.BatchHeader]]:
    """Whole, valid ones from the start; what lies behind the end of the log is no batch."""
    found = []
    at = 0
    while at + batch.HEADER_SIZE <= len(content):
        try:
            header = batch.parse_header(content, at)
            if at + header.size > len(content) or not batch.verify_crc(content, header, at):
                break
        except batch.BatchError:
            break
        found.append((at, header))
        at += header.size
    return found


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
