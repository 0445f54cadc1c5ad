"""The operator in a world where everything goes wrong: laws that hold, and tests that can fail.

A seed that ever broke a law is pinned in the table below, with what it found.
"""

from __future__ import annotations

import asyncio

import pytest

from quorate_operator.testing.simulation import loop, world
from quorate_operator.testing.simulation.batch import ENOUGH, Batch, run_seed

ROWS = 10
FOUND = {
    52: "a newer leader was forgotten with the broker that told of it",
    85: "a number of pods was let go of although nobody had taken it over",
}

so_far = Batch()


@pytest.mark.parametrize("row", range(ROWS))
def test_no_law_is_broken_and_all_comes_to_rest(row):
    size = ENOUGH // ROWS
    for seed in range(row * size, (row + 1) * size):
        so_far.add(run_seed(seed))
    assert [(one.seed, one.breach, one.options) for one in so_far.failures] == []


def test_every_kind_of_trouble_was_met():
    for seed in range(so_far.seeds, ENOUGH):  # run alone, or after a failure
        so_far.add(run_seed(seed))
    assert so_far.unseen() == []


@pytest.mark.parametrize("seed", FOUND)
def test_what_a_seed_once_found_stays_mended(seed):
    assert world.run(seed).breach == ""


def test_nothing_depends_on_the_hash_seed(printed_by_hash_seed):
    program = (
        "from quorate_operator.testing.simulation import world;"
        "print([world.run(seed).trace for seed in (3, 4)])"
    )
    assert len(printed_by_hash_seed(program)) == 1


def test_time_jumps_to_what_is_due_next_and_a_standstill_is_an_error():
    async def story() -> float:
        clock = loop.VirtualClock()
        await loop.pass_time(86_400)
        return clock.monotonic()

    assert loop.run(story()) == 86_400

    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(loop.Standstill):
        loop.run(forever())
