"""The crash points themselves: the list is whole, and nothing of it works in a production start."""

from __future__ import annotations

import errno
import inspect
import os
import pathlib
import subprocess
import sys

import pytest

from quorate_broker.log.disk import Disk, OsDisk, write_whole
from quorate_broker.testing import sabotage

GROUP = "groups/00000000-0000-0000-0000-000000000001-0"


def disk_of(root: pathlib.Path, **environ: str) -> sabotage.SabotagedDisk:
    return sabotage.SabotagedDisk(sabotage.Saboteur(environ), str(root))


def test_every_call_of_the_disk_is_a_step_or_a_mere_look() -> None:
    calls = {name for name, _ in inspect.getmembers(Disk, inspect.isfunction) if name[0] != "_"}
    assert calls == {*sabotage.OPERATIONS, *sabotage.LOOKS} - {"create"}
    watched = {name for name in vars(sabotage.SabotagedDisk) if name[0] != "_"}
    assert set(sabotage.OPERATIONS) - {"create"} <= watched, "each step is watched"


def test_every_step_is_of_an_operation_and_a_kind_that_exist() -> None:
    for operation, kind in sabotage.STEPS:
        assert operation in sabotage.OPERATIONS
        assert kind in sabotage.KINDS
    assert len(set(sabotage.STEPS)) == len(sabotage.STEPS)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("", "data"),
        ("..", "data"),
        ("LOCK", "lock"),
        ("node.json.tmp", "identity"),
        ("settings.json", "settings"),
        ("raft/state.log", "journal"),
        (f"{GROUP}/00000000000000000000.log", "segment"),
        (f"{GROUP}/00000000000000000000.log.copy", "copy"),
        (f"{GROUP}/00000000000000000000.qindex", "index"),
        (f"{GROUP}/checkpoint.tmp", "checkpoint"),
        (GROUP, "group-folder"),
        (f"retired/{GROUP[7:]}.corrupt.1", "retired"),
        ("retired/node-2.0b5c/node.json", "retired"),
        ("notes.txt", None),
    ],
)
def test_a_path_has_its_kind(path: str, kind: str | None) -> None:
    assert sabotage.kind_of(f"/data/1/{path}".rstrip("/"), "/data/1") == kind


@pytest.mark.parametrize(
    "text",
    ["after sync", "soon sync segment", "during sync segment", "after sync segment x"],
)
def test_what_is_no_point_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no crash point"):
        sabotage.Point.parse(text)


DIE = """
import os, sys
from quorate_broker.testing import sabotage
disk = sabotage.SabotagedDisk(sabotage.Saboteur(os.environ), sys.argv[1])
handle = disk.open(sys.argv[1] + "/" + sys.argv[2], create=True)
for number in range(3):
    disk.pwrite(handle, [b"ab", b"cd"], 4 * number)
"""


def die(root: pathlib.Path, file: str, **environ: str) -> int:
    command = [sys.executable, "-c", DIE, str(root), file]
    done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, check=False)
    return done.returncode


@pytest.mark.parametrize(
    ("point", "written"),
    [
        ("before pwrite identity 2", b"abcd"),
        ("during pwrite identity 2", b"abcdab"),
        ("after pwrite identity 2", b"abcdabcd"),
    ],
)
def test_a_process_ends_at_its_point_and_nowhere_else(
    tmp_path: pathlib.Path, point: str, written: bytes
) -> None:
    code = die(tmp_path, "node.json", QUORATE_CRASH_POINT=point)
    assert code == sabotage.EXIT_CRASHED
    assert (tmp_path / "node.json").read_bytes() == written


def test_a_durable_step_that_is_in_no_list_ends_the_process(tmp_path: pathlib.Path) -> None:
    seen = str(tmp_path / "seen")
    assert die(tmp_path, "notes.txt", QUORATE_CRASH_SEEN=seen) == sabotage.EXIT_UNLISTED
    assert die(tmp_path, "notes.txt") == 0, "but only where points are wanted"


def test_each_point_that_is_passed_is_noted_once(tmp_path: pathlib.Path) -> None:
    disk = disk_of(tmp_path, QUORATE_CRASH_SEEN=str(tmp_path / "seen"))
    for _ in range(2):
        write_whole(disk, str(tmp_path), "node.json", b"{}")
    noted = (tmp_path / "seen").read_text().splitlines()
    assert len(noted) == len(set(noted)) == 13
    assert "after rename identity" in noted


def test_an_operation_fails_for_as_long_as_the_file_says_so(tmp_path: pathlib.Path) -> None:
    trouble = tmp_path / "trouble"
    disk = disk_of(tmp_path, QUORATE_SABOTAGE=str(trouble))
    handle = disk.open(str(tmp_path / "node.json"), create=True)
    disk.sync(handle)
    trouble.write_text('{"fails": ["sync"]}')
    with pytest.raises(OSError, match="as the test wishes") as failed:
        disk.sync(handle)
    assert failed.value.errno == errno.EIO
    disk.pwrite(handle, [b"x"], 0)
    trouble.unlink()
    disk.sync(handle)
    disk.close(handle)
    assert OsDisk().exists(str(tmp_path / "node.json"))


def test_the_wall_clock_is_off_by_what_the_file_says(tmp_path: pathlib.Path) -> None:
    trouble = tmp_path / "trouble"
    clock = sabotage.SabotagedClock(sabotage.Saboteur({"QUORATE_SABOTAGE": str(trouble)}))
    before = clock.wall_ms()
    trouble.write_text('{"wall_ms": -3600000}')
    assert clock.wall_ms() < before - 3_500_000
    monotonic = clock.monotonic_ms()
    trouble.unlink()
    assert clock.wall_ms() >= before
    assert clock.monotonic_ms() >= monotonic


def test_a_production_start_refuses_a_crash_point_with_a_sentence(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-m", "quorate_broker", "run", "--set", "node.id=1"]
    environ = {**os.environ, "QUORATE_CRASH_POINT": "after sync journal"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "QUORATE_CRASH_POINT: breaks a broker on purpose, in tests; unset it" in done.stderr
