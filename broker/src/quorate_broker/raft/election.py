"""Elections: who may stand, who gets a vote, and when.

- A node that hears no leader first asks whether it could win (PreVote), so that a node that was cut
  off does not push the terms up when it comes back.
- A vote goes to one candidate per term, and only if its log is at least as long, compared by
  (last term, last index). It is on disk before it is said; one's own vote counts only then, too.
- Who leads, or heard from a leader within `election_min_ms`, supports no candidate, unless the
  leader itself asked for the election (transfer).
- Losing the connection to the leader ends its lease and brings the pre-vote forward.
- Only who votes by its own log's membership stands, but anybody who asks is answered: the newest
  membership may not have come here yet. A hollow replica, which may lack what it acknowledged once,
  neither stands nor votes (Protocol-Aware Recovery, FAST'18).
- Every message of the leader restarts the timer, also one that does not fit: who is far behind but
  hears a leader must not ask for elections that it cannot win (Redpanda #30815).

Sources: Ongaro's dissertation, 3.4, 4.2.3, 9.6; etcd-io/raft for the interplay of PreVote with
CheckQuorum: whoever hears from a leader of a lower term answers with its own, or the two would
never meet again. Next: `leading` for what a winner does.
"""

from __future__ import annotations

from quorate_broker.raft import leading, quorum
from quorate_broker.raft.messages import (
    HardState,
    Peer,
    PreVote,
    PreVoteReply,
    TimeoutNow,
    Vote,
    VoteReply,
)
from quorate_broker.raft.progress import NEVER_MS
from quorate_broker.raft.state import Role, State


def tick(state: State) -> None:
    """The time of someone who does not lead passes."""
    if state.resting:
        return
    if state.deadline_ms is None:
        if not (state.is_alone and state.may_stand):
            state.restart_timer()
            return
        state.deadline_ms = state.now_ms
    if state.now_ms < state.deadline_ms:
        return
    if state.may_stand:
        ask(state)
    else:
        state.leader = None
        state.restart_timer()


def hasten(state: State) -> None:
    """The connection to the leader is gone: it may have died."""
    state.resting = False
    state.contact_ms = NEVER_MS
    soon = state.now_ms + state.dice.randint(0, state.settings.heartbeat_ms)
    if state.deadline_ms is None or soon < state.deadline_ms:
        state.deadline_ms = soon


def wake(state: State) -> None:
    """The group rested, and something happened: the leader has to show itself again."""
    if state.resting:
        state.resting = False
        state.contact_ms = state.now_ms
        state.restart_timer()


def ask(state: State) -> None:
    """PreVote: could I win an election in the next term? Nothing is changed by asking."""
    if not state.may_stand:
        return
    state.resting = False
    state.become(Role.PRE_CANDIDATE)
    state.leader = None
    state.votes = {state.me: True}
    state.restart_timer()
    question = PreVote(state.term + 1, state.log.last_index, state.log.last_term)
    for peer in state.electors:
        state.send(peer, question)
    if quorum.verdict(state.halves, state.votes) is quorum.Outcome.WON:
        stand(state)


def stand(state: State, transfer: bool = False) -> None:
    """Vote: a new term, a vote for oneself (counted when it is on disk), and a request for more."""
    state.enter(HardState(state.term + 1, state.me))
    state.become(Role.CANDIDATE)
    state.leader = None
    state.votes = {}
    state.restart_timer()
    request = Vote(state.term, state.log.last_index, state.log.last_term, transfer)
    for peer in state.electors:
        state.send(peer, request)


def own_vote_is_durable(state: State) -> None:
    if state.role is Role.CANDIDATE and state.durable.covers(state.hard):
        assert state.hard.vote == state.me
        _count(state, state.me, granted=True)


def on_pre_vote(state: State, sender: Peer, message: PreVote) -> None:
    granted = (
        message.term > state.term
        and not state.log.hollow
        and not _has_leader(state)
        and _is_up_to_date(state, message.last_term, message.last_index)
    )
    state.send(sender, PreVoteReply(state.term, message.term, granted))


def on_pre_vote_reply(state: State, sender: Peer, message: PreVoteReply) -> None:
    if message.term > state.term:
        # Behind in terms, not refused for good: ask again soon, now with the right one.
        assert not message.granted
        was_asking = state.role is Role.PRE_CANDIDATE
        state.follow(message.term, None)
        if was_asking:
            hasten(state)
        return
    if state.role is not Role.PRE_CANDIDATE or message.asked != state.term + 1:
        return
    state.votes[sender] = message.granted
    if quorum.verdict(state.halves, state.votes) is quorum.Outcome.WON:
        stand(state)


def on_vote(state: State, sender: Peer, message: Vote) -> None:
    if message.term < state.term or (_has_leader(state) and not message.transfer):
        state.send(sender, VoteReply(state.term, False))
        return
    if message.term > state.term:
        state.follow(message.term, None)
    granted = (
        state.hard.vote in (None, sender)
        and not state.log.hollow
        and state.leader is None
        and _is_up_to_date(state, message.last_term, message.last_index)
    )
    if granted:
        state.hard = HardState(state.term, sender)
        state.restart_timer()
    state.send(sender, VoteReply(state.term, granted))


def on_vote_reply(state: State, sender: Peer, message: VoteReply) -> None:
    if message.term > state.term:
        state.follow(message.term, None)
    elif message.term == state.term and state.role is Role.CANDIDATE:
        _count(state, sender, message.granted)


def on_timeout_now(state: State, sender: Peer, message: TimeoutNow) -> None:
    is_meant = message.term == state.term and sender == state.leader
    if is_meant and state.role is Role.FOLLOWER and state.may_stand:
        state.resting = False
        stand(state, transfer=True)


def _count(state: State, voter: Peer, granted: bool) -> None:
    state.votes[voter] = granted
    outcome = quorum.verdict(state.halves, state.votes)
    if outcome is quorum.Outcome.WON:
        leading.start(state)
    elif outcome is quorum.Outcome.LOST:
        state.follow(state.term, None)


def _has_leader(state: State) -> bool:
    if state.role is Role.LEADER or state.resting:
        return True
    lease_ends_ms = state.contact_ms + state.settings.election_min_ms
    return state.leader is not None and state.now_ms < lease_ends_ms


def _is_up_to_date(state: State, last_term: int, last_index: int) -> bool:
    return (last_term, last_index) >= (state.log.last_term, state.log.last_index)
