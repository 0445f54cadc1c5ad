"""How a leader brings its group from one membership to another.

    voters A -- newcomers learn --> A + learners -- all caught up --> A and B jointly --> voters B

What is wanted is told again and again, by whoever decides (level-triggered), and dies with the
leadership; each step is read off the membership that is in effect, so that a new leader resumes
where the last one ended. `plan` is that table:

- One step at a time: the next one when the last is committed, and only by a leader that has
  committed an entry of its own term, so that no step of an earlier leader can still come back.
- Newcomers learn first, without a vote, until they have nearly everything: nothing waits for them.
- A joint group goes on to its voters if those are wanted, else back to the outgoing ones. Going
  back needs no commit of the joint entry, which may need votes of newcomers that are dead: every
  membership that anybody may act upon then contains a majority of the outgoing ones, because a
  final entry of an earlier leader was ruled out by the commit in the own term.

A leader that is no voter in the end hands over when the end is committed, and steps down. Those
who left are told so for a while, so that they do not stand for election in a group that has gone on
(Ongaro's dissertation, 4.2). Next: `leading`.
"""

from __future__ import annotations

from collections.abc import Callable

from quorate_broker.raft import leading, membership, quorum
from quorate_broker.raft.leading import Leading
from quorate_broker.raft.membership import Membership
from quorate_broker.raft.messages import Peer
from quorate_broker.raft.progress import NEVER_MS
from quorate_broker.raft.state import State


def plan(
    members: Membership, wanted: Membership, is_committed: bool, is_ready: Callable[[Peer], bool]
) -> Membership | None:
    """The next membership of a leader that serves, None while there is nothing to do or to wait.

    `is_committed`: the present one is; `is_ready`: whether someone has nearly the whole log.
    """
    newcomers = frozenset(wanted.voters) - frozenset(members.voters)
    if members.joint:
        if wanted.voters == members.voters:
            return membership.of(wanted.voters, (), wanted.learners) if is_committed else None
        newcomers = frozenset(wanted.voters) - frozenset(members.outgoing)
        return membership.of(members.outgoing, (), newcomers.union(wanted.learners))
    if not is_committed:
        return None
    learning = membership.of(members.voters, (), newcomers.union(wanted.learners))
    if learning != members:
        return learning
    if wanted.voters == members.voters or not _may_vote(wanted.voters, newcomers, is_ready):
        return None
    return membership.of(wanted.voters, members.voters, wanted.learners)


def _may_vote(
    voters: tuple[Peer, ...], newcomers: frozenset[Peer], is_ready: Callable[[Peer], bool]
) -> bool:
    """All newcomers, and a majority of the voters to be: or the joint entry might never commit."""
    ready = frozenset(filter(is_ready, voters))
    return newcomers <= ready and len(ready) >= quorum.majority(len(voters))


def is_settled(state: State, leader: Leading) -> bool:
    """Whether what is wanted is in effect and committed."""
    return state.members == leader.wanted and is_committed(state, leader)


def is_committed(state: State, leader: Leading) -> bool:
    return state.commit_index >= max(state.members_index, leader.term_start)


def is_ready(state: State, leader: Leading, peer: Peer) -> bool:
    """Whether `peer` lives and has nearly everything, its own admission included.

    A new leader knows nothing of anybody: who has not answered it yet may have lost its log.
    """
    if peer == state.me:
        return True
    follower = leader.followers.get(peer)
    return (
        follower is not None
        and follower.agreed_ms > NEVER_MS
        and not follower.life
        and follower.match >= state.members_index
        and follower.caught_up_ms >= state.now_ms - state.settings.promote_lag_ms
    )


def step(state: State, leader: Leading) -> None:
    """Append the next membership, or leave, if it is time for that."""
    if state.commit_index < leader.term_start or leader.transferee is not None:
        return
    if leading.is_removed(state, leader):
        _leave(state, leader)
        return
    if leader.wanted is None or state.members == leader.wanted:
        return
    following = plan(
        state.members,
        leader.wanted,
        state.commit_index >= state.members_index,
        lambda peer: is_ready(state, leader, peer),
    )
    if following is not None:
        leading.append_members(state, leader, following)


def _leave(state: State, leader: Leading) -> None:
    """Hand over to whoever is furthest; with nobody to hear it, just go."""
    target = leading.target_of(state, leader, None)
    if target is None:
        state.follow(state.term, None)
    else:
        leading.transfer(state, leader, target)
