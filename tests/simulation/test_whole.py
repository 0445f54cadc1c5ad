"""Whole brokers in one thread of virtual time: clients, faults, and what must hold at the end."""

import pytest

from quorate_broker.testing.simulation.batch import Batch, run_twice
from quorate_broker.testing.simulation.layers import WHOLE

ROWS = 4
SEEDS_PER_ROW = 5

seen_so_far = Batch()


@pytest.mark.parametrize("row", range(ROWS))
def test_whole_brokers_lose_nothing(row: int) -> None:
    for seed in range(row * SEEDS_PER_ROW, (row + 1) * SEEDS_PER_ROW):
        outcome = WHOLE.run(seed, None) if seed % SEEDS_PER_ROW else run_twice(WHOLE, seed)
        seen_so_far.add(outcome)
    found = [f"seed {each.seed}: {each.error}\n{each.options}" for each in seen_so_far.failures]
    assert not found, "\n".join(found)
    assert seen_so_far.acked > 100 * (row + 1)
