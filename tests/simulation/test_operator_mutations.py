"""The operator's simulation can fail: each safeguard, taken away, is caught.

Pinned seeds are tried first; a change of the code may move what they meet, then others are tried,
up to a thousand, and it is time to pin those that catch it now.
"""

from __future__ import annotations

import itertools

import pytest

from quorate_operator.testing.simulation import world
from quorate_operator.testing.simulation.mutations import MOST_SEEDS, MUTATIONS, no_preconditions
from quorate_operator.testing.simulation.stories import STORIES, tell

PINNED: dict[str, tuple[int, ...]] = {
    "no_gate": (2, 3, 5),
    "leader_not_last": (2, 3, 4),
    "no_fence": (3, 4, 5),
    "no_drain": (2, 4, 5),
    "no_lending": (0, 1, 2),
    "no_look_for_copies": (4, 5, 6),
    "no_waking": (7, 5, 3),
    "no_resync": (13, 18),
    "no_farewell": (16, 19, 25),
    "no_second_look": (10, 14, 17),
}

LATE_S = (28, 24, 20, 32, 36, 40)
"""How late a write comes: within the restart of another broker."""
CAUGHT = (11, 28.0)


@pytest.mark.parametrize("name", PINNED)
def test_a_safeguard_that_is_taken_away_is_missed(name, monkeypatch):
    mutation = MUTATIONS[name]
    mutation.apply(monkeypatch)
    seeds = itertools.chain(PINNED[name], range(MOST_SEEDS))
    assert any(world.run(seed, mutation.deeds).breach for seed in seeds)


def test_an_operator_that_names_no_version_takes_down_a_second_broker(monkeypatch):
    no_preconditions(monkeypatch)
    effects = tell(STORIES["roll"]).effects
    others = ((k, float(seconds)) for seconds in LATE_S for k in range(1, effects + 1))
    lates = itertools.chain([CAUGHT], others)
    assert any(tell(STORIES["roll"], late=late).breach for late in lates)


@pytest.mark.parametrize("name", PINNED)
def test_with_the_safeguard_the_same_seed_finds_nothing(name):
    seed = PINNED[name][0]
    assert world.run(seed, MUTATIONS[name].deeds).breach == ""
