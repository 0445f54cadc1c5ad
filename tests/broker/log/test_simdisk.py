"""The disk that forgets: it forgets as a real one may, and no more; a seed tells how."""

from __future__ import annotations

import contextlib
import errno
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from quorate_broker.log.disk import Disk, OsDisk, read_whole, write_whole
from quorate_broker.testing.simdisk import PowerCutError, SimDisk


def make(seed: int = 1) -> SimDisk:
    disk = SimDisk(random.Random(seed))
    disk.mkdirs("/d")
    return disk


def written(disk: SimDisk, *parts: bytes, sync_after: int = 0) -> None:
    handle = disk.open("/d/f", create=True)
    disk.sync_dir("/d")
    at = 0
    for number, part in enumerate(parts, 1):
        disk.pwrite(handle, [part], at)
        at += len(part)
        if number == sync_after:
            disk.sync(handle)


def test_synced_bytes_survive_and_unsynced_ones_may_not() -> None:
    ends = set()
    for seed in range(50):
        disk = make(seed)
        written(disk, b"a" * 10, b"b" * 10, b"c" * 10, sync_after=1)
        disk.crash()
        content = disk.content("/d/f")
        assert content.startswith(b"a" * 10)
        ends.add(len(content))
    assert {10, 20, 30} < ends  # nothing, a write, all, and torn ones


def test_writes_are_kept_in_order() -> None:
    for seed in range(50):
        disk = make(seed)
        written(disk, b"a" * 600, b"b" * 600)
        disk.crash()
        content = disk.content("/d/f")
        assert len(content) <= 600 or content[:600] == b"a" * 600


def test_the_same_seed_forgets_the_same() -> None:
    def run(seed: int) -> bytes:
        disk = make(seed)
        written(disk, b"a" * 600, b"b" * 600, b"c" * 600)
        disk.crash()
        return disk.content("/d/f")

    assert [run(seed) for seed in range(20)] == [run(seed) for seed in range(20)]


def test_a_name_survives_only_by_a_sync_of_its_folder() -> None:
    found = set()
    for seed in range(30):
        disk = make(seed)
        disk.close(disk.open("/d/new", create=True))
        disk.crash()
        found.add(disk.exists("/d/new"))
        disk.close(disk.open("/d/new", create=True))
        disk.sync_dir("/d")
        disk.crash()
        assert disk.exists("/d/new")
    assert found == {True, False}


def test_a_rename_is_atomic() -> None:
    for seed in range(40):
        disk = make(seed)
        write_whole(disk, "/d", "f", b"old")
        disk.cut_power_after = seed % 8
        with contextlib.suppress(PowerCutError):
            write_whole(disk, "/d", "f", b"new")
        disk.crash()
        assert read_whole(disk, "/d/f") in (b"old", b"new")


def test_a_failed_sync_loses_the_bytes_but_shows_them() -> None:
    disk = make()
    written(disk, b"kept", sync_after=1)
    handle = disk.open("/d/f")
    disk.pwrite(handle, [b"lost"], 4)
    disk.fault = lambda operation, _: errno.EIO if operation == "sync" else None
    with pytest.raises(OSError, match="Input/output"):
        disk.sync(handle)
    disk.fault = None
    disk.sync(handle)
    assert disk.content("/d/f") == b"keptlost"
    disk.crash()
    assert disk.content("/d/f") == b"kept"


def test_nothing_works_while_the_power_is_off() -> None:
    disk = make()
    handle = disk.open("/d/f", create=True)
    disk.cut_power_after = 0
    with pytest.raises(PowerCutError):
        disk.pwrite(handle, [b"x"], 0)
    with pytest.raises(PowerCutError):
        disk.pread(handle, 1, 0)
    disk.crash()
    with pytest.raises(OSError, match="Bad file descriptor"):
        disk.pread(handle, 1, 0)


def test_a_full_disk_says_so() -> None:
    disk = SimDisk(random.Random(1), capacity=100)
    disk.mkdirs("/d")
    handle = disk.open("/d/f", create=True)
    disk.pwrite(handle, [b"x" * 60], 0)
    with pytest.raises(OSError, match="No space"):
        disk.pwrite(handle, [b"x" * 60], 60)
    assert disk.free_bytes("/d") == 40


@pytest.fixture(params=["os", "sim"])
def any_disk(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Disk, str]:
    if request.param == "os":
        return OsDisk(), str(tmp_path)
    return SimDisk(random.Random(1)), "/root"


def test_both_disks_do_the_same(any_disk: tuple[Disk, str]) -> None:
    disk, root = any_disk
    folder = f"{root}/a/b"
    disk.mkdirs(folder)
    disk.mkdirs(folder)
    handle = disk.open(f"{folder}/f", create=True)
    disk.pwrite(handle, [b"ab", memoryview(b"cd"), bytearray(b"ef")], 2)
    assert disk.pread(handle, 100, 0) == b"\0\0abcdef"
    disk.preallocate(handle, 8, 8_192)
    assert disk.size(handle) == 8_200
    assert disk.next_data(handle, 0) in (0, 2)
    assert disk.pread(handle, 3, 8) == b"\0\0\0"
    disk.truncate(handle, 4)
    assert disk.next_data(handle, 4) is None
    disk.sync(handle)
    disk.close(handle)
    disk.rename(f"{folder}/f", f"{folder}/g")
    disk.sync_dir(folder)
    assert disk.listdir(folder) == ["g"]
    assert (disk.exists(f"{folder}/f"), disk.exists(f"{folder}/g")) == (False, True)
    assert disk.free_bytes(folder) > 0
    disk.unlink(f"{folder}/g")
    with pytest.raises(FileNotFoundError):
        disk.open(f"{folder}/g")
    lock = disk.lock(f"{root}/LOCK")
    assert lock is not None
    assert disk.lock(f"{root}/LOCK") is None
    disk.close(lock)
    disk.rmtree(f"{root}/a")
    assert disk.listdir(root) == ["LOCK"]


def test_many_buffers_are_written_whole(tmp_path: Path) -> None:
    disk = OsDisk()
    handle = disk.open(str(tmp_path / "f"), create=True)
    disk.pwrite(handle, [bytes([number % 256]) * 3 for number in range(3_000)], 5)
    data = disk.pread(handle, 10_000, 5)
    assert len(data) == 9_000
    assert data == b"".join(bytes([number % 256]) * 3 for number in range(3_000))
    disk.close(handle)


def test_a_short_write_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    real: Callable[..., int] = os.pwritev

    def short(handle: int, buffers: list[bytes], at: int) -> int:
        first = memoryview(buffers[0])
        return real(handle, [first[: max(1, len(first) // 2)]], at)

    monkeypatch.setattr(os, "pwritev", short)
    disk = OsDisk()
    handle = disk.open(str(tmp_path / "f"), create=True)
    disk.pwrite(handle, [b"abcdefg", b"hij", b"", b"k"], 0)
    assert disk.pread(handle, 100, 0) == b"abcdefghijk"
    disk.close(handle)
