"""Counting majorities."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate_broker.raft import quorum
from quorate_broker.raft.messages import Peer
from quorate_broker.raft.quorum import Outcome


@pytest.mark.parametrize(("members", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (9, 5)])
def test_two_majorities_always_share_a_member(members: int, needed: int) -> None:
    assert quorum.majority(members) == needed
    everybody = range(members)
    for left in itertools.combinations(everybody, needed):
        assert len(everybody) - len(left) < needed


@given(st.lists(st.integers(-1, 20), min_size=1, max_size=9))
def test_reached_is_the_greatest_value_that_a_majority_has(values: list[int]) -> None:
    reached = quorum.reached(values)
    needed = quorum.majority(len(values))
    assert sum(value >= reached for value in values) >= needed
    assert sum(value > reached for value in values) < needed


@given(st.integers(1, 7), st.data())
def test_a_ballot_is_won_lost_or_open_and_never_changes_its_mind(
    members: int, data: st.DataObject
) -> None:
    voters = [Peer(number, "a") for number in range(members)]
    votes = {voter: data.draw(st.booleans()) for voter in voters}
    outcomes = [
        quorum.ballot(frozenset(voters), dict(list(votes.items())[:seen]))
        for seen in range(members + 1)
    ]
    assert outcomes[-1] is not Outcome.OPEN
    decided = [outcome for outcome in outcomes if outcome is not Outcome.OPEN]
    assert len(set(decided)) == 1
    granted = sum(votes.values())
    assert (decided[0] is Outcome.WON) == (granted >= quorum.majority(members))


def test_votes_of_strangers_do_not_count() -> None:
    voters = frozenset({Peer(1, "a"), Peer(2, "a"), Peer(3, "a")})
    votes = {Peer(1, "a"): True, Peer(2, "b"): True, Peer(4, "a"): True}
    assert quorum.ballot(voters, votes) is Outcome.OPEN
