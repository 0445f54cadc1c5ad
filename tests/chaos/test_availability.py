"""How long writers wait when a leader goes, and when a disk is slow: bars, on real brokers."""

from __future__ import annotations

import pathlib
import re
import statistics
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

ROUNDS = 20
KILLED_P95_S, TERMINATED_S = 2.0, 1.0
SYNC_MS = 1000.0
"""What one sync of the slow disk takes: who waits for that disk waits at least so long."""


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", "quorate_broker.testing.chaos", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=590, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def slow_disk(folder: pathlib.Path, seconds: int) -> tuple[float, float]:
    """p99 in milliseconds before, and of the others while one disk is slow."""
    last = run("--slow-disk", str(seconds), "--dir", str(folder)).splitlines()[-1]
    before, others, own, alone, failed = re.findall(r"[\d.]+", last)
    assert failed == "0", "nobody is refused anything"
    assert float(alone) >= SYNC_MS, "that disk was slow: who waits for it alone waits"
    assert float(own) < SYNC_MS, "a slow leader answers by the word of the others"
    return float(before), float(others)


def test_one_slow_disk_is_waited_for_by_nobody(tmp_path: pathlib.Path) -> None:
    _, others = slow_disk(tmp_path / "run", 8)
    assert others < SYNC_MS / 2, "beside other tests: no figure, only that nobody waited"


@pytest.mark.full
def test_one_slow_disk_at_most_doubles_the_p99_of_the_others(tmp_path: pathlib.Path) -> None:
    measured = [slow_disk(tmp_path / str(number), 30) for number in range(3)]
    assert statistics.median(others / before for before, others in measured) <= 2


@pytest.mark.full
def test_writers_wait_two_seconds_for_a_killed_leader_and_one_for_a_leaving_one(
    tmp_path: pathlib.Path,
) -> None:
    out = run("--availability", str(ROUNDS), "--dir", str(tmp_path / "run"))
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[-2:]}
    rounds, _, killed_p95, _ = rows["SIGKILL"]
    assert int(rounds) == ROUNDS
    assert float(killed_p95) <= KILLED_P95_S
    assert float(rows["SIGTERM"][3]) <= TERMINATED_S
