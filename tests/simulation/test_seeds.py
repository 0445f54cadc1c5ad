"""A cluster of real replicas and logs, 200 seeds: safety after every event, liveness at the end."""

from collections.abc import Callable

import pytest

from quorate_broker.testing.simulation.batch import CORE, Batch, run_twice

ROWS = 8
SEEDS_PER_ROW = 25
TWICE = 8

seen_so_far = Batch()


def run(seed: int) -> None:
    """Every eighth twice: a seed that does not replay proves nothing. `make sim` does all twice."""
    outcome = CORE.run(seed, None) if seed % TWICE else run_twice(CORE, seed)
    seen_so_far.add(outcome)


@pytest.mark.parametrize("row", range(ROWS))
def test_seeds_find_nothing(row: int) -> None:
    for seed in range(row * SEEDS_PER_ROW, (row + 1) * SEEDS_PER_ROW):
        run(seed)
    found = [f"seed {each.seed}: {each.error}\n{each.options}" for each in seen_so_far.failures]
    assert not found, "\n".join(found)


def test_the_seeds_met_every_kind_of_trouble() -> None:
    if seen_so_far.seeds < ROWS * SEEDS_PER_ROW:  # run alone, or after a failure
        for seed in range(seen_so_far.seeds, ROWS * SEEDS_PER_ROW):
            run(seed)
    assert seen_so_far.unseen(CORE) == []
    assert seen_so_far.acked > 10_000


def test_nothing_depends_on_the_hash_seed(
    printed_by_hash_seed: Callable[[str], set[str]],
) -> None:
    program = (
        "from quorate_broker.testing.simulation.run import simulate;"
        "print([simulate(seed).trace for seed in (4, 5, 6)])"
    )
    assert len(printed_by_hash_seed(program)) == 1
