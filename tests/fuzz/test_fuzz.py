"""Every reader of foreign bytes under atheris: briefly here, for ten minutes each in the long run.

A run starts from the corpus beside this file and from a fixed seed, so the short one always does
the same. A crash, an input that takes a minute (of the clock: the machine may be busy), or 1 GB of
memory fails it, with the input in the output; that input then goes to the corpus, and what it
showed becomes a test of its own.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

import pytest

from quorate_broker.testing.fuzzing.targets import TARGETS

CORPUS = pathlib.Path(__file__).parent / "corpus"
MINUTES = 10
SLOW = {
    **dict.fromkeys(("checkpoint", "index", "rot"), 300),
    **dict.fromkeys(("segment", "node", "journal"), 1_000),
}
"""Those with a disk in them, and how often they run here; the others do 4,000 times."""
RUNS = {name: SLOW.get(name, 4_000) for name in TARGETS}


def fuzz(targets: Sequence[str], folder: pathlib.Path, *options: str) -> None:
    """Run them; what they learn goes to `folder`, what breaks one into the failure's text."""
    learnt = folder / "learnt"
    for name in targets:
        (learnt / name).mkdir(parents=True)
    command = [sys.executable, "-m", "quorate_broker.testing.fuzzing", ",".join(targets)]
    limits = ("-timeout=60", "-rss_limit_mb=1024", "-max_len=2048", "-verbosity=0")
    done = subprocess.run(
        [*command, f"{learnt}/{{}}", f"{CORPUS}/{{}}", *limits, *options],
        capture_output=True,
        cwd=folder,
        check=False,
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )
    broken = {path.name: path.read_bytes() for path in folder.glob("*-*") if path.is_file()}
    shutil.rmtree(learnt)
    text = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, f"{broken}\n{text[-4_000:]}"
    assert not broken


def test_each_target_has_a_corpus_and_each_corpus_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_that_was_found_breaks_a_reader_again(target: str) -> None:
    inputs = sorted((CORPUS / target).iterdir())
    assert inputs
    for path in inputs:
        TARGETS[target](path.read_bytes())


@pytest.mark.process
@pytest.mark.parametrize("runs", sorted(set(RUNS.values())))
def test_readers_say_no_to_what_they_cannot_read(runs: int, tmp_path: pathlib.Path) -> None:
    fuzz([name for name in TARGETS if RUNS[name] == runs], tmp_path, f"-runs={runs}", "-seed=1")


@pytest.mark.full
@pytest.mark.timeout(60 * MINUTES + 300)
@pytest.mark.parametrize("target", TARGETS)
def test_ten_minutes_find_nothing_that_breaks_a_reader(target: str, tmp_path: pathlib.Path) -> None:
    fuzz([target], tmp_path, f"-max_total_time={60 * MINUTES}")
