"""Members with a `group.instance.id` (KIP-345): a restart is no rebalance."""

from __future__ import annotations

from typing import Any

import pytest

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups import commands
from quorate_broker.groups.states import State
from quorate_broker.testing.group_bench import (
    REBALANCE_MS,
    SESSION_MS,
    Bench,
    beat,
    join,
    leave,
    sync,
)


def refusal(bench: Bench, command: object) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        bench.call(command)
    return caught.value.code


@pytest.fixture
def pair() -> tuple[Bench, str, str]:
    """A stable group of two static members in generation 2; instance "a" leads."""
    bench = Bench()
    first = bench.take(bench.ask(join(instance_id="a"))).member_id
    waiting = bench.ask(join(instance_id="b"))
    bench.take(bench.ask(join(first, "a")))
    second = bench.take(waiting).member_id
    plan = ((first, b"one"), (second, b"two"))
    bench.call(sync(first, 2, plan, instance_id="a"))
    bench.call(sync(second, 2, instance_id="b"))
    return bench, first, second


def test_a_static_member_needs_no_id_first_and_is_named_after_its_instance() -> None:
    bench = Bench()
    reply = bench.take(bench.ask(join(instance_id="a")))
    assert (reply.code, reply.member_id) == (ErrorCode.NONE, "a-1")
    assert reply.members[0].instance_id == "a"


def test_a_restarted_follower_gets_a_new_id_and_its_old_assignment(
    pair: tuple[Bench, str, str],
) -> None:
    bench, first, second = pair
    reply = bench.call(join(instance_id="b"))
    assert (reply.generation, reply.leader, reply.skip_assignment) == (2, first, False)
    assert reply.member_id != second
    assert bench.state is State.STABLE
    again = bench.call(sync(reply.member_id, 2, instance_id="b"))
    assert again.assignment == b"two"
    bench.call(beat(first, 2, "a"))


def test_a_restarted_leader_is_told_not_to_assign(pair: tuple[Bench, str, str]) -> None:
    bench, _, _ = pair
    reply = bench.call(join(instance_id="a"))
    assert reply.leader == reply.member_id
    assert reply.skip_assignment
    assert {m.instance_id for m in reply.members} == {"a", "b"}
    assert bench.call(sync(reply.member_id, 2, instance_id="a")).assignment == b"one"


def test_a_restarted_leader_of_old_is_not_shown_that_it_leads(
    pair: tuple[Bench, str, str],
) -> None:
    bench, first, _ = pair
    reply = bench.call(join(instance_id="a", can_skip_assignment=False))
    assert reply.leader == first != reply.member_id
    assert (reply.members, reply.skip_assignment) == ((), False)
    assert bench.group().leader == reply.member_id


def test_the_new_id_outlives_the_coordinator(pair: tuple[Bench, str, str]) -> None:
    bench, _, second = pair
    reply = bench.call(join(instance_id="b"))
    bench.fail_over()
    bench.call(beat(reply.member_id, 2, "b"))
    assert refusal(bench, beat(second, 2, "b")) is ErrorCode.FENCED_INSTANCE_ID


def test_the_process_that_was_replaced_is_fenced_everywhere(pair: tuple[Bench, str, str]) -> None:
    bench, _, second = pair
    bench.call(join(instance_id="b"))
    commit = commands.OffsetCommit("g", (), second, "b", 2)
    for command in (
        beat(second, 2, "b"),
        sync(second, 2, instance_id="b"),
        join(second, "b"),
        commit,
    ):
        assert refusal(bench, command) is ErrorCode.FENCED_INSTANCE_ID
    assert bench.call(leave((second, "b"))) == (ErrorCode.FENCED_INSTANCE_ID,)


def test_an_instance_that_nobody_knows_is_unknown(pair: tuple[Bench, str, str]) -> None:
    bench, first, _ = pair
    assert refusal(bench, beat(first, 2, "nobody")) is ErrorCode.UNKNOWN_MEMBER_ID
    assert refusal(bench, join(first, "nobody")) is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_twin_that_starts_during_the_join_fences_the_one_that_waits() -> None:
    bench = Bench()
    first = bench.stable()[0]
    waiting = bench.ask(join(instance_id="b"))
    twin = bench.ask(join(instance_id="b"))
    with pytest.raises(KafkaError, match="FENCED_INSTANCE_ID"):
        bench.take(waiting)
    bench.ask(join(first))
    assert bench.take(twin).generation == 2


def test_a_twin_that_starts_during_the_sync_begins_a_new_rebalance() -> None:
    bench = Bench()
    first = bench.stable()[0]
    joined = bench.ask(join(instance_id="b"))
    bench.take(bench.ask(join(first)))
    waiting = bench.ask(sync(bench.take(joined).member_id, 2, instance_id="b"))
    bench.ask(join(instance_id="b"))
    with pytest.raises(KafkaError, match="FENCED_INSTANCE_ID"):
        bench.take(waiting)
    assert bench.state is State.PREPARING_REBALANCE


def test_a_restart_with_another_subscription_that_changes_the_protocol_rebalances(
    pair: tuple[Bench, str, str],
) -> None:
    bench, first, second = pair
    both = (commands.Protocol("sticky", b""), commands.Protocol("range", b"topics"))
    # the other one speaks both as well, so that the restarted one decides
    waiting = [bench.ask(join(first, "a", both)), bench.ask(join(second, "b", both))]
    names = [bench.take(t).member_id for t in waiting]
    bench.call(sync(names[0], 3, ((names[0], b"x"), (names[1], b"y")), instance_id="a"))
    bench.call(sync(names[1], 3, instance_id="b"))
    assert bench.group().protocol == "sticky"
    ticket = bench.ask(join(instance_id="b", protocols=both[1:]))
    assert ticket not in bench.replies
    assert bench.state is State.PREPARING_REBALANCE


def test_an_administrator_removes_a_static_member_by_its_instance(
    pair: tuple[Bench, str, str],
) -> None:
    bench, first, second = pair
    codes = bench.call(leave(("", "b"), ("", "nobody")))
    assert codes == (ErrorCode.NONE, ErrorCode.UNKNOWN_MEMBER_ID)
    assert second not in bench.group().members
    assert refusal(bench, beat(first, 2, "a")) is ErrorCode.REBALANCE_IN_PROGRESS


def test_an_absent_static_member_keeps_its_place_through_a_rebalance(
    pair: tuple[Bench, str, str],
) -> None:
    bench, first, second = pair
    bench.call(beat(first, 2, "a"))
    long = 10 * REBALANCE_MS
    settled: dict[str, Any] = {"session_timeout_ms": long}
    waiting = [bench.ask(join(first, "a", **settled)), bench.ask(join(second, "b", **settled))]
    for ticket in waiting:
        bench.take(ticket)
    bench.call(sync(first, 3, ((second, b"kept"),), instance_id="a"))
    bench.call(sync(second, 3, instance_id="b"))
    waiting = [bench.ask(join(first, "a", **settled))]
    bench.pass_time(REBALANCE_MS)
    reply = bench.take(waiting[0])
    assert reply.generation == 4
    assert {m.member_id for m in reply.members} == {first, second}


def test_while_only_absent_static_members_are_left_nobody_leads(
    pair: tuple[Bench, str, str],
) -> None:
    bench, first, second = pair
    bench.ask(join(first, "a", session_timeout_ms=5 * REBALANCE_MS))
    bench.ask(join(second, "b", session_timeout_ms=5 * REBALANCE_MS))
    bench.call(sync(first, 3, instance_id="a"))
    bench.call(sync(second, 3, instance_id="b"))
    given = bench.call(join()).member_id
    bench.ask(join(given))
    bench.call(leave(given))
    bench.pass_time(2 * REBALANCE_MS)
    assert bench.state is State.PREPARING_REBALANCE
    back = bench.ask(join(second, "b"))
    bench.pass_time(REBALANCE_MS)
    assert bench.take(back).leader == second


def test_a_silent_static_member_expires_like_any_other(pair: tuple[Bench, str, str]) -> None:
    bench, first, second = pair
    bench.pass_time(SESSION_MS - 1)
    bench.call(beat(first, 2, "a"))
    bench.pass_time(1)
    assert second not in bench.group().members
    assert "b" not in bench.group().static


def test_a_pending_id_cannot_be_used_by_a_static_member() -> None:
    bench = Bench()
    given = bench.call(join()).member_id
    assert refusal(bench, join(given, "a")) is ErrorCode.UNKNOWN_MEMBER_ID
