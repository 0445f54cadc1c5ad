"""An operator that is killed after its k-th effect, for every k: the end is the same.

A few k of each story run with the tests, all of them with the long ones.
"""

from __future__ import annotations

import functools

import pytest

from quorate_operator.testing.simulation.stories import STORIES, End, tell

FEW = 5
"""How many k of each story run with the tests."""


@functools.cache
def undisturbed(name: str) -> End:
    return tell(STORIES[name])


def moments(effects: int, few: int | None) -> range:
    """Effects after which something happens: so many, evenly spread, or each of them."""
    return range(1, effects + 1, 1 if few is None else effects // few + 1)


def die_after_each(name: str, few: int | None) -> None:
    whole = undisturbed(name)
    for k in moments(whole.effects, few):
        end = tell(STORIES[name], dies_after=k)
        assert (k, end.breach) == (k, "")
        assert (k, end.picture) == (k, whole.picture)


@pytest.mark.parametrize("name", STORIES)
def test_a_story_comes_to_its_end(name):
    whole = undisturbed(name)
    assert whole.breach == ""
    assert whole.effects > 0 or name == "delete"


@pytest.mark.parametrize("name", STORIES)
def test_an_operator_that_dies_on_the_way_is_followed_by_one_that_ends_it(name):
    die_after_each(name, FEW)


def late(name: str, seconds: float, few: int | None) -> None:
    whole = undisturbed(name)
    for k in moments(whole.effects, few):
        end = tell(STORIES[name], late=(k, seconds))
        assert (k, end.breach, end.picture) == (k, "", whole.picture)


@pytest.mark.parametrize("name", ["roll", "scale_in"])
def test_what_an_operator_decided_and_sends_late_does_no_harm(name):
    late(name, 30.0, FEW)


@pytest.mark.full
@pytest.mark.parametrize("seconds", [16.0, 22.0, 28.0, 34.0, 40.0])
@pytest.mark.parametrize("name", STORIES)
def test_however_late_it_does_no_harm(name, seconds):
    late(name, seconds, None)


@pytest.mark.full
@pytest.mark.parametrize("name", STORIES)
def test_wherever_it_dies_the_end_is_the_same(name):
    die_after_each(name, None)
