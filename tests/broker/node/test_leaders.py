"""Who leads what, as clients are told."""

from __future__ import annotations

from quorate_broker.node.leaders import Lead, Leaders


def test_a_leader_seen_first_hand_is_in_sync_with_itself() -> None:
    leaders = Leaders()
    assert leaders.observe("t-0", 1, 3)
    assert leaders.get("t-0").isr == (3,)
    leaders.learn(Lead("t-0", 1, 3, (1, 2, 3)))
    leaders.observe("t-0", 2, -1)
    assert leaders.get("t-0").isr == ()
    leaders.observe("t-0", 2, 2)
    assert leaders.get("t-0").isr == (2,)


def test_a_lower_term_is_not_heard() -> None:
    leaders = Leaders()
    leaders.learn(Lead("t-0", 5, 1, (1, 2)))
    assert not leaders.observe("t-0", 4, 2)
    assert not leaders.learn(Lead("t-0", 4, 2, (2,)))
    assert (leaders.get("t-0").leader_id, leaders.get("t-0").epoch) == (1, 5)
