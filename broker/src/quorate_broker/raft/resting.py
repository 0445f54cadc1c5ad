"""Rest: a group in which nothing happens costs nothing.

When everybody has everything, knows that it is committed, and nothing has happened for a while,
the leader's heartbeats say so. A follower that agrees has no deadline from then on, and answers
that it rests; once all have, the leader is silent, too. A leader without followers is so from the
beginning: nobody hears its heartbeats, and a thousand such groups would beat as one broker starts.
Anything wakes either of them: an entry, a message, a lost connection (the leader's lease holds
until then), or whoever watches over the nodes. Who wakes gives the others a whole time-out to be
heard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate_broker.raft.state import State

if TYPE_CHECKING:
    from quorate_broker.raft.leading import Leading


def may_rest(state: State, leading: Leading) -> bool:
    last_index = state.log.last_index
    if (
        state.now_ms - leading.busy_ms < state.settings.rest_ms
        or leading.transferee is not None
        or leading.leaving
        or not state.commit_index == state.log.synced_index == last_index
        or leading.wanted not in (None, state.members)
    ):
        return False
    followers = leading.followers.values()
    return all(each.match == last_index and not each.life for each in followers)


def is_silent(leading: Leading) -> bool:
    """Nothing has to be done before something happens."""
    return leading.resting or not leading.followers


def settle(state: State, leading: Leading) -> None:
    rested = all(follower.rests for follower in leading.followers.values())
    leading.resting = rested and may_rest(state, leading)


def wake(state: State, leading: Leading) -> None:
    """Something happened, or may have."""
    leading.busy_ms = state.now_ms
    if leading.resting:
        leading.resting = False
        leading.waking = True
        leading.heartbeat_ms = state.now_ms


def woken(state: State, leading: Leading) -> None:
    """It knows the time again: everybody has a whole time-out from here."""
    leading.waking = False
    leading.busy_ms = leading.heartbeat_ms = state.now_ms
    for follower in leading.followers.values():
        follower.heard_ms = follower.moved_ms = follower.caught_up_ms = state.now_ms
        follower.rests = False
