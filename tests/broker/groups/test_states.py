from __future__ import annotations

import itertools

import pytest

from quorate_broker.groups.group import Group
from quorate_broker.groups.states import TRANSITIONS, State

EDGES = {(a, b) for a, after in TRANSITIONS.items() for b in after}


@pytest.mark.parametrize(("before", "after"), sorted(itertools.product(State, State), key=str))
def test_a_group_walks_the_edges_of_the_table_and_no_others(before: State, after: State) -> None:
    group = Group("g", wall_ms=0)
    group.state = before
    if (before, after) in EDGES:
        group.transition(after, wall_ms=5)
        assert (group.state, group.previous_state, group.changed_wall_ms) == (after, before, 5)
    else:
        with pytest.raises(AssertionError):
            group.transition(after, wall_ms=5)


def test_dead_is_the_end_and_every_other_state_can_be_reached() -> None:
    assert not TRANSITIONS[State.DEAD]
    assert {b for _, b in EDGES} == set(State)
