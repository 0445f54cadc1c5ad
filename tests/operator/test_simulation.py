"""The operator in a world where everything goes wrong: laws that hold, and tests that can fail.

A seed that ever broke a law is pinned in the table below, with what it found.
"""

from __future__ import annotations

import asyncio
import collections

import pytest

from quorate_operator.plan import gate, size
from quorate_operator.testing.simulation import loop, world

SEEDS = 12
STORM_S = 300.0

FOUND = {
    1: "a pass that was cancelled as a request failed went on for ever",
    7: "a member that came in as its pod went was never taken off the list",
}


@pytest.fixture(scope="module")
def batch() -> list[world.Report]:
    return [world.run(seed, storm_s=STORM_S) for seed in range(100, 100 + SEEDS)]


def test_no_law_is_broken_and_all_comes_to_rest(batch):
    assert [(one.seed, one.breach) for one in batch if one.breach] == []


def test_every_kind_of_trouble_was_met(batch):
    seen: collections.Counter[str] = collections.Counter()
    for one in batch:
        seen += one.seen
    wanted = {deed.__name__.strip("_") for deed in world.DEEDS} | {
        "an operator was killed",
        "a lease was lost",
        "a pass failed",
        "operator took a pod",
        "controller took a pod",
        "operator took a volume",
        "blocked: BrokerDown",
        "blocked: UnderReplicated",
        "blocked: Draining",
    }
    assert wanted - set(seen) == set()


@pytest.mark.parametrize("seed", FOUND)
def test_what_a_seed_once_found_stays_mended(seed):
    assert world.run(seed).breach == ""


def test_a_seed_is_replayed_to_the_letter():
    first, second = world.run(3), world.run(3)
    assert len(first.trace) > 50

    def without_names(report: world.Report) -> list[str]:
        """Events have random names."""
        return [line for line in report.trace if "create events/" not in line]

    assert without_names(first) == without_names(second)


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


def drop_the_gate(patch) -> None:
    patch.setattr(gate, "closed", lambda *_: ())


def drop_the_drain(patch) -> None:
    patch.setattr(size, "has_left", lambda *_: True)


CROWDED = (world.World._changes_the_image, world.World._crashes_a_broker)
SIZED = (world.World._changes_the_number,)
MUTATIONS = {drop_the_gate: CROWDED, drop_the_drain: SIZED}
"""Each with what has to happen for it to show."""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.__name__)
def test_whoever_takes_a_safeguard_away_is_caught(mutation, monkeypatch):
    deeds = MUTATIONS[mutation]
    assert [world.run(seed, deeds=deeds).breach for seed in range(3)] == [""] * 3
    mutation(monkeypatch)
    assert any(world.run(seed, deeds=deeds).breach for seed in range(10))
