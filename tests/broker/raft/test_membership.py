"""Memberships as bytes, and the table of steps from one to another."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate_broker.raft import changes, membership, quorum
from quorate_broker.raft.membership import Membership
from quorate_broker.raft.messages import Peer
from quorate_broker.raft.quorum import Outcome

peers = st.builds(Peer, st.integers(1, 9), st.just("a"))
groups = st.frozensets(peers, max_size=7)
voting = st.frozensets(peers, min_size=1, max_size=7)
A, B, C, D, E = (Peer(number, "a") for number in range(1, 6))


def some(*voters: Peer, out: tuple[Peer, ...] = (), learn: tuple[Peer, ...] = ()) -> Membership:
    return membership.of(voters, out, learn)


# ------------------------------------------------------------------------------------------ bytes


@given(voting, groups, groups)
def test_a_membership_survives_the_log(
    voters: frozenset[Peer], outgoing: frozenset[Peer], learners: frozenset[Peer]
) -> None:
    members = membership.of(voters, outgoing, learners)
    assert membership.decode(members.encode()) == members
    assert members.all == voters | outgoing | learners


def test_nothing_is_the_membership_that_is_not_known() -> None:
    assert membership.decode(b"") == Membership()


@given(st.binary(min_size=1, max_size=60))
def test_any_bytes_are_a_membership_or_a_value_error(content: bytes) -> None:
    try:
        members = membership.decode(content)
    except ValueError:
        return
    assert members.voters


@pytest.mark.parametrize(
    "members",
    [
        Membership(),
        Membership((), (A,)),
        Membership((B, A)),
        Membership((A, A)),
        Membership((A, Peer(1, "b"))),
        Membership((A,), (), (A,)),
        Membership((A,), (B,), (B,)),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(members: Membership) -> None:
    with pytest.raises(ValueError, match=r".+"):
        membership.decode(msgspec.msgpack.encode(members))


# --------------------------------------------------------------------------------------- counting


@given(voting, voting, st.dictionaries(peers, st.booleans()))
def test_a_joint_group_is_won_by_two_majorities(
    voters: frozenset[Peer], outgoing: frozenset[Peer], votes: dict[Peer, bool]
) -> None:
    halves = membership.of(voters, outgoing).halves
    singly = {quorum.ballot(half, votes) for half in halves}
    verdict = quorum.verdict(halves, votes)
    assert (verdict is Outcome.WON) == (singly == {Outcome.WON})
    assert (verdict is Outcome.LOST) == (Outcome.LOST in singly)


@given(voting, voting, st.data())
def test_agreed_is_reached_by_a_majority_of_either_half(
    voters: frozenset[Peer], outgoing: frozenset[Peer], data: st.DataObject
) -> None:
    values = {peer: data.draw(st.integers(-1, 20)) for peer in sorted(voters | outgoing)}
    agreed = quorum.agreed((voters, outgoing), values.__getitem__)
    for half in (voters, outgoing):
        assert sum(values[peer] >= agreed for peer in half) >= quorum.majority(len(half))


@given(voting, voting)
def test_joint_groups_share_a_member_with_what_was_and_what_will_be(
    voters: frozenset[Peer], outgoing: frozenset[Peer]
) -> None:
    joint = membership.of(voters, outgoing)
    if not joint.outgoing:
        return
    for half in (voters, outgoing):
        against = dict.fromkeys(sorted(half)[: quorum.majority(len(half))], False)
        assert quorum.verdict(joint.halves, against) is Outcome.LOST


# ------------------------------------------------------------------------------------------ steps

STEPS = [
    # now, wanted, committed, ready, next
    ("nothing to do", some(A, B, C), some(A, B, C), True, "", None),
    ("newcomers learn", some(A, B, C), some(A, B, D), True, "ABC", some(A, B, C, learn=(D,))),
    ("until ready", some(A, B, C, learn=(D,)), some(A, B, D), True, "ABC", None),
    (
        "then joint",
        some(A, B, C, learn=(D,)),
        some(A, B, D),
        True,
        "ABD",
        some(A, B, D, out=(A, B, C)),
    ),
    (
        "all newcomers, not some",
        some(A, B, C, learn=(D, E)),
        some(A, D, E),
        True,
        "ABCD",
        None,
    ),
    ("one at a time", some(A, B, C, learn=(D,)), some(A, B, D), False, "ABCD", None),
    ("final", some(A, B, D, out=(A, B, C)), some(A, B, D), True, "", some(A, B, D)),
    ("final when committed", some(A, B, D, out=(A, B, C)), some(A, B, D), False, "ABCD", None),
    ("called off", some(A, B, D, out=(A, B, C)), some(A, B, C), False, "", some(A, B, C)),
    (
        "redirected",
        some(A, B, D, out=(A, B, C)),
        some(A, B, E),
        True,
        "",
        some(A, B, C, learn=(E,)),
    ),
    (
        "learners that nobody wants any more go",
        some(A, B, C, learn=(D,)),
        some(A, B, C),
        True,
        "",
        some(A, B, C),
    ),
    ("learners to stay", some(A), some(A, learn=(B,)), True, "A", some(A, learn=(B,))),
    ("out at once", some(A, B, C), some(A, B), True, "AB", some(A, B, out=(A, B, C))),
    ("not to a dead majority", some(A, B, C), some(B, C), True, "AB", None),
    (
        "a voter becomes a learner",
        some(A, B, out=(A, B, C)),
        some(A, B, learn=(C,)),
        True,
        "",
        some(A, B, learn=(C,)),
    ),
]


@pytest.mark.parametrize(
    ("now", "wanted", "is_committed", "ready", "then"),
    [step[1:] for step in STEPS],
    ids=[step[0] for step in STEPS],
)
def test_the_next_step(
    now: Membership,
    wanted: Membership,
    is_committed: bool,
    ready: str,
    then: Membership | None,
) -> None:
    able = {peer for peer, name in zip((A, B, C, D, E), "ABCDE", strict=True) if name in ready}
    assert changes.plan(now, wanted, is_committed, able.__contains__) == then


@given(voting, groups, voting, groups)
def test_every_way_ends_with_what_is_wanted_and_no_two_steps_are_without_a_common_majority(
    voters: frozenset[Peer],
    learners: frozenset[Peer],
    target: frozenset[Peer],
    beside: frozenset[Peer],
) -> None:
    now = membership.of(voters, (), learners)
    wanted = membership.of(target, (), beside)
    for _ in range(6):
        then = changes.plan(now, wanted, True, lambda _: True)
        if then is None:
            break
        halves = [(one, other) for one in now.halves for other in then.halves]
        assert any(one == other for one, other in halves)
        now = then
    assert now == wanted
