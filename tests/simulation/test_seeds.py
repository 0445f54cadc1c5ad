"""A cluster of real replicas and logs, 200 seeds: safety after every event, liveness at the end."""

import os
import subprocess
import sys

import pytest

from quorate_broker.testing.simulation.batch import Batch, run_seed
from quorate_broker.testing.simulation.run import simulate

ROWS = 8
SEEDS_PER_ROW = 25

seen_so_far = Batch()


@pytest.mark.parametrize("row", range(ROWS))
def test_seeds_find_nothing(row: int) -> None:
    for seed in range(row * SEEDS_PER_ROW, (row + 1) * SEEDS_PER_ROW):
        run_seed(seed, seen_so_far)
    found = [f"seed {each.seed}: {each.error}\n{each.options}" for each in seen_so_far.failures]
    assert not found, "\n".join(found)


def test_the_seeds_met_every_kind_of_trouble() -> None:
    if seen_so_far.seeds < ROWS * SEEDS_PER_ROW:  # run alone, or after a failure
        for seed in range(seen_so_far.seeds, ROWS * SEEDS_PER_ROW):
            run_seed(seed, seen_so_far)
    assert seen_so_far.unseen == []
    assert seen_so_far.acked > 10_000


def test_a_seed_replays_to_the_last_message() -> None:
    for seed in (0, 1, 2):
        assert simulate(seed).trace == simulate(seed).trace


def test_nothing_depends_on_the_hash_seed() -> None:
    program = (
        "from quorate_broker.testing.simulation.run import simulate;"
        "print([simulate(seed).trace for seed in (4, 5, 6)])"
    )
    traces = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(traces) == 1
