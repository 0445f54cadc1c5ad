"""Whole brokers in one thread of virtual time: clients, faults, and what must hold at the end."""

from collections.abc import Callable

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


_TRACES = """
import gc, sys
from quorate_broker.testing.simulation.layers import WHOLE
if sys.argv[1] == "2":  # other addresses, and a collector that is about to run
    junk = [bytearray(number % 3_001) for number in range(20_000)]
    del junk[::2]
    gc.set_threshold(100, 2, 2)
print([WHOLE.run(seed, None).trace for seed in (6, 20)])
"""


def test_no_seed_depends_on_hashes_addresses_or_the_collector(
    printed_by_hash_seed: Callable[[str], set[str]],
) -> None:
    assert len(printed_by_hash_seed(_TRACES)) == 1
