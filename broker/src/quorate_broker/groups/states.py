"""The life of a group, as a table.

::

            a member joins                  all members (re)joined,
            or has an id                    or the rebalance timeout
    Empty ------------------> PreparingRebalance ------------> CompletingRebalance
      |  ^                      |   ^      ^                       |       |
      |  +----------------------+   |      | join, leave, expiry   |       | the leader's
      |     nobody is left          |      +-----------------------+       | assignment
      |                             |                                      v
      |                             +----------------------------------- Stable
      | deleted, or                    join, leave, expiry,
      v nothing is left                the leader rejoins
    Dead

A generation begins with CompletingRebalance and ends with the next PreparingRebalance. Only Stable
and Empty are ever written to the log: the way between them is soft, and lost with the coordinator
that led it; members then find their generation unknown and join again.
Next: `group`, which walks these edges.
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    """The five states, by the names that DescribeGroups and ListGroups show."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.EMPTY: frozenset({State.PREPARING_REBALANCE, State.DEAD}),
    State.PREPARING_REBALANCE: frozenset({State.COMPLETING_REBALANCE, State.EMPTY}),
    State.COMPLETING_REBALANCE: frozenset({State.STABLE, State.PREPARING_REBALANCE}),
    State.STABLE: frozenset({State.PREPARING_REBALANCE}),
    State.DEAD: frozenset(),
}
"""From each state, the states that may follow; anything else is our bug."""
