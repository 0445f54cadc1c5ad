"""Counting: majorities of votes, of match indexes, of times; of both halves of a joint group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from quorate_broker.raft.membership import Halves
from quorate_broker.raft.messages import Peer


class Outcome(Enum):
    """Where a ballot stands."""

    WON = "won"
    OPEN = "open"
    LOST = "lost"


def majority(members: int) -> int:
    """The smallest number that two disjoint halves cannot both reach."""
    assert members > 0, "a group has a voter"
    return members // 2 + 1


def ballot(voters: frozenset[Peer], votes: Mapping[Peer, bool]) -> Outcome:
    """The outcome of `votes`; only voters count."""
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    needed = majority(len(voters))
    if granted >= needed:
        return Outcome.WON
    if refused > len(voters) - needed:
        return Outcome.LOST
    return Outcome.OPEN


def verdict(halves: Halves, votes: Mapping[Peer, bool]) -> Outcome:
    """The outcome where every half has to be won."""
    outcomes = [ballot(voters, votes) for voters in halves]
    if Outcome.LOST in outcomes:
        return Outcome.LOST
    return Outcome.OPEN if Outcome.OPEN in outcomes else Outcome.WON


def reached(values: Iterable[int]) -> int:
    """The greatest value that a majority has reached; one value per voter."""
    ordered = sorted(values, reverse=True)
    return ordered[majority(len(ordered)) - 1]


def agreed(halves: Halves, value: Callable[[Peer], int]) -> int:
    """The greatest value that a majority of every half has reached."""
    return min(reached(map(value, voters)) for voters in halves)
