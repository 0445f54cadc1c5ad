"""Chaos over real processes: three minutes of it with every run, twenty in the long part.

By hand it is `make chaos MINUTES=20`, with another draw each time.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from quorate_broker.testing.chaos.faults import FAULTS

pytestmark = pytest.mark.process

SEED, LONG_SEED = 20, 2026
LIVE_WITHIN_S = "30"
"""The machine is shared with other tests; a quiet one is judged by the default of the runner."""


def run(folder: pathlib.Path, minutes: int, seed: int) -> str:
    command = [sys.executable, "-m", "quorate_broker.testing.chaos", "--minutes", str(minutes)]
    command += ["--seed", str(seed), "--live-within", LIVE_WITHIN_S, "--dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no violation" in done.stdout
    assert "<svg" in (folder / "report.html").read_text()
    return done.stdout


def test_nothing_acknowledged_is_lost_whatever_happens(tmp_path: pathlib.Path) -> None:
    run(tmp_path / "run", 3, SEED)


@pytest.mark.full
@pytest.mark.timeout(2400)
def test_nothing_acknowledged_is_lost_in_twenty_minutes_of_trouble(tmp_path: pathlib.Path) -> None:
    said = run(tmp_path / "run", 20, LONG_SEED)
    assert f"kinds of faults: {len(FAULTS)} of {len(FAULTS)}" in said
