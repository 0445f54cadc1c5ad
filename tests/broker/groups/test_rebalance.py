"""Scripts: several consumers and virtual time."""

from __future__ import annotations

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


@pytest.fixture
def bench() -> Bench:
    return Bench()


def refusal(bench: Bench, command: object) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        bench.call(command)
    return caught.value.code


def test_a_new_member_is_given_an_id_first(bench: Bench) -> None:
    reply = bench.call(join())
    assert reply.code is ErrorCode.MEMBER_ID_REQUIRED
    assert reply.member_id == "client-1"
    assert bench.state is State.EMPTY


def test_an_old_client_joins_without_an_id_at_once(bench: Bench) -> None:
    reply = bench.call(join(needs_member_id=False))
    assert reply.code is ErrorCode.NONE
    assert (reply.member_id, reply.leader, reply.generation) == ("client-1", "client-1", 1)


def test_the_first_member_leads_and_sees_itself(bench: Bench) -> None:
    reply = bench.take(bench.join_with_id())
    assert reply.generation == 1
    assert reply.leader == reply.member_id
    assert (reply.protocol_type, reply.protocol) == ("consumer", "range")
    assert [m.member_id for m in reply.members] == [reply.member_id]
    assert [m.metadata for m in reply.members] == [b"topics"]
    assert bench.state is State.COMPLETING_REBALANCE


def test_assignments_reach_everybody_through_the_leader_alone(bench: Bench) -> None:
    leader, follower = bench.stable(2)
    assert bench.call(sync(leader, 2)).assignment == f"to {leader}".encode()
    assert bench.call(sync(follower, 2)).assignment == f"to {follower}".encode()


def test_a_follower_that_syncs_first_waits_for_the_leader(bench: Bench) -> None:
    first = bench.stable()[0]
    late = bench.join_with_id()
    rejoined = bench.ask(join(first))
    follower = bench.take(late).member_id
    bench.take(rejoined)
    waiting = bench.ask(sync(follower, 2, ((first, b"a follower"), (follower, b"has no say"))))
    assert waiting not in bench.replies
    bench.call(sync(first, 2, ((first, b"one"), (follower, b"two"))))
    assert bench.take(waiting).assignment == b"two"


def test_only_the_leader_is_shown_the_members(bench: Bench) -> None:
    first = bench.stable()[0]
    late = bench.join_with_id()
    rejoined = bench.ask(join(first))
    assert bench.take(late).members == ()
    assert len(bench.take(rejoined).members) == 2


def test_a_join_waits_for_the_members_that_are_in(bench: Bench) -> None:
    first = bench.stable()[0]
    late = bench.join_with_id()
    assert late not in bench.replies
    assert bench.state is State.PREPARING_REBALANCE
    assert refusal(bench, beat(first, 1)) is ErrorCode.REBALANCE_IN_PROGRESS
    rejoined = bench.ask(join(first))
    assert bench.take(late).generation == 2
    assert bench.take(rejoined).generation == 2


def test_who_does_not_rejoin_in_time_is_left_behind(bench: Bench) -> None:
    first, second = bench.stable(2)
    late = bench.join_with_id()
    bench.ask(join(second))
    for _ in range(REBALANCE_MS // 5_000):
        refusal(bench, beat(first, 2))
        bench.pass_time(5_000)
    assert bench.take(late).generation == 3
    assert first not in bench.group().members
    assert refusal(bench, beat(first, 2)) is ErrorCode.UNKNOWN_MEMBER_ID


def test_who_misses_its_heartbeats_while_preparing_is_left_behind_at_once(bench: Bench) -> None:
    bench.stable()
    late = bench.join_with_id()
    bench.pass_time(SESSION_MS)
    reply = bench.take(late)
    assert (reply.generation, reply.leader) == (2, reply.member_id)


def test_a_member_that_waits_for_us_does_not_expire(bench: Bench) -> None:
    first = bench.stable()[0]
    bench.join_with_id(session_timeout_ms=SESSION_MS)
    for _ in range(3):
        bench.pass_time(SESSION_MS - 1)
        refusal(bench, beat(first, 1))
    assert len(bench.group().members) == 2


def test_a_newcomer_that_never_sees_its_id_is_given_up_after_five_minutes(bench: Bench) -> None:
    first = bench.stable(rebalance_timeout_ms=20 * REBALANCE_MS)[0]
    lost = bench.ask(join(needs_member_id=False))
    for _ in range(5 * 60_000 // 5_000):
        assert lost not in bench.replies
        refusal(bench, beat(first, 1))
        bench.pass_time(5_000)
    with pytest.raises(KafkaError, match="UNKNOWN_MEMBER_ID"):
        bench.take(lost)
    assert list(bench.group().members) == [first]


def test_silence_for_a_session_ends_a_membership(bench: Bench) -> None:
    first, second = bench.stable(2)
    bench.pass_time(SESSION_MS - 1)
    bench.call(beat(first, 2))
    assert bench.state is State.STABLE
    bench.pass_time(1)
    assert second not in bench.group().members
    assert bench.state is State.PREPARING_REBALANCE
    assert bench.take(bench.ask(join(first))).generation == 3


def test_the_last_member_to_go_leaves_an_empty_group_of_the_next_generation(bench: Bench) -> None:
    first = bench.stable()[0]
    assert bench.call(leave(first)) == (ErrorCode.NONE,)
    assert (bench.state, bench.group().generation) == (State.EMPTY, 2)


def test_a_member_id_that_is_never_used_is_forgotten(bench: Bench) -> None:
    given = bench.call(join()).member_id
    bench.pass_time(SESSION_MS)
    assert refusal(bench, join(given)) is ErrorCode.UNKNOWN_MEMBER_ID
    with pytest.raises(KeyError):
        bench.group()


def test_a_rebalance_waits_for_ids_that_were_given_out(bench: Bench) -> None:
    first = bench.stable()[0]
    given = bench.call(join()).member_id
    rejoined = bench.ask(join(first))
    assert rejoined not in bench.replies
    joined = bench.ask(join(given))
    assert {bench.take(rejoined).generation, bench.take(joined).generation} == {2}


def test_an_id_that_is_given_back_unused_costs_no_rebalance(bench: Bench) -> None:
    first = bench.stable()[0]
    given = bench.call(join()).member_id
    assert bench.call(leave(given)) == (ErrorCode.NONE,)
    bench.call(beat(first, 1))
    assert bench.state is State.STABLE


def test_a_rebalance_goes_on_when_the_last_one_it_waits_for_leaves(bench: Bench) -> None:
    first = bench.stable()[0]
    late = bench.join_with_id()
    assert bench.call(leave(first)) == (ErrorCode.NONE,)
    assert bench.take(late).generation == 2


def test_several_leave_in_one_request_and_the_group_rebalances_once(bench: Bench) -> None:
    first, second, third = bench.stable(3)
    generation = bench.group().generation
    codes = bench.call(leave(second, third, "nobody"))
    assert codes == (ErrorCode.NONE, ErrorCode.NONE, ErrorCode.UNKNOWN_MEMBER_ID)
    assert bench.take(bench.ask(join(first))).generation == generation + 1


def test_a_stable_leader_that_joins_again_calls_everybody(bench: Bench) -> None:
    leader, follower = bench.stable(2)
    waiting = bench.ask(join(leader))
    assert refusal(bench, beat(follower, 2)) is ErrorCode.REBALANCE_IN_PROGRESS
    bench.take(bench.ask(join(follower)))
    assert bench.take(waiting).generation == 3


def test_a_stable_follower_that_joins_again_unchanged_calls_nobody(bench: Bench) -> None:
    _, follower = bench.stable(2)
    assert bench.call(join(follower)).generation == 2
    assert bench.state is State.STABLE


def test_a_stable_follower_with_a_new_subscription_calls_everybody(bench: Bench) -> None:
    leader, follower = bench.stable(2)
    waiting = bench.ask(join(follower, protocols=(commands.Protocol("range", b"more"),)))
    assert bench.state is State.PREPARING_REBALANCE
    reply = bench.take(bench.ask(join(leader)))
    assert {m.metadata for m in reply.members} == {b"topics", b"more"}
    assert bench.take(waiting).generation == 3


def test_a_lost_answer_to_a_join_is_given_again(bench: Bench) -> None:
    reply = bench.take(bench.join_with_id())
    assert bench.call(join(reply.member_id)) == reply
    assert bench.state is State.COMPLETING_REBALANCE


def test_a_join_that_is_repeated_while_parked_is_answered_in_its_newest_place(
    bench: Bench,
) -> None:
    first = bench.stable()[0]
    given = bench.call(join()).member_id
    early = bench.ask(join(given))
    late = bench.ask(join(given))
    with pytest.raises(KafkaError, match="REBALANCE_IN_PROGRESS"):
        bench.take(early)
    bench.ask(join(first))
    assert bench.take(late).generation == 2


def test_a_join_during_the_sync_sends_everybody_back(bench: Bench) -> None:
    first = bench.stable()[0]
    late = bench.join_with_id()
    bench.take(bench.ask(join(first)))
    follower = bench.take(late).member_id
    waiting = bench.ask(sync(follower, 2))
    bench.join_with_id()
    with pytest.raises(KafkaError, match="REBALANCE_IN_PROGRESS"):
        bench.take(waiting)
    assert bench.state is State.PREPARING_REBALANCE


def test_a_leader_that_dies_before_it_assigns_is_replaced(bench: Bench) -> None:
    first = bench.stable()[0]
    late = bench.join_with_id()
    bench.take(bench.ask(join(first)))
    follower = bench.take(late).member_id
    waiting = bench.ask(sync(follower, 2))
    bench.pass_time(SESSION_MS)
    with pytest.raises(KafkaError, match="REBALANCE_IN_PROGRESS"):
        bench.take(waiting)
    reply = bench.take(bench.ask(join(follower)))
    assert (reply.generation, reply.leader) == (3, follower)


def test_members_that_heartbeat_but_never_sync_are_removed(bench: Bench) -> None:
    first, second = bench.stable(2)
    third = bench.join_with_id()
    tickets = [bench.ask(join(m)) for m in (first, second)]
    names = [bench.take(t).member_id for t in (*tickets, third)]
    bench.call(sync(first, 3, ((first, b"x"),)))
    bench.call(sync(second, 3))
    for _ in range(REBALANCE_MS // 5_000):
        for name in names:
            bench.call(beat(name, 3))
        bench.pass_time(5_000)
    assert names[2] not in bench.group().members
    assert bench.state is State.PREPARING_REBALANCE


def test_nobody_joins_a_full_group() -> None:
    bench = Bench(max_size=2)
    bench.stable(2)
    assert refusal(bench, join()) is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert bench.state is State.STABLE


def test_a_group_that_is_loaded_too_large_keeps_the_first_to_rejoin(bench: Bench) -> None:
    members = bench.stable(3)
    bench.settings = Bench(max_size=2).settings
    bench.fail_over()
    assert bench.state is State.PREPARING_REBALANCE
    waiting = [bench.ask(join(m)) for m in members[1:]]
    assert refusal(bench, join(members[0])) is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert {bench.take(t).generation for t in waiting} == {3}


def test_ids_that_were_given_out_have_a_limit() -> None:
    bench = Bench(max_pending_members=2)
    bench.call(join())
    bench.call(join())
    assert refusal(bench, join()) is ErrorCode.GROUP_MAX_SIZE_REACHED


def test_groups_have_a_limit() -> None:
    bench = Bench(max_groups=1)
    bench.stable()
    assert refusal(bench, join(group_id="other")) is ErrorCode.GROUP_MAX_SIZE_REACHED


def test_assignments_that_no_record_could_hold_fail_the_generation() -> None:
    bench = Bench(max_group_bytes=100)
    member = bench.take(bench.join_with_id()).member_id
    assert refusal(bench, sync(member, 1, ((member, bytes(200)),))) is (
        ErrorCode.UNKNOWN_SERVER_ERROR
    )
    assert bench.state is State.PREPARING_REBALANCE


class TestInitialDelay:
    """`group.initial.rebalance.delay.ms`: members that start together share a generation."""

    def test_the_first_member_waits_for_others(self) -> None:
        bench = Bench(initial_rebalance_delay_ms=3_000)
        first = bench.join_with_id()
        bench.pass_time(2_999)
        assert first not in bench.replies
        bench.pass_time(1)
        assert bench.take(first).generation == 1

    def test_newcomers_prolong_the_delay(self) -> None:
        bench = Bench(initial_rebalance_delay_ms=3_000)
        first = bench.join_with_id()
        bench.pass_time(2_000)
        second = bench.join_with_id()
        bench.pass_time(1_000)
        assert first not in bench.replies
        bench.pass_time(3_000)
        assert bench.take(first).generation == bench.take(second).generation == 1

    def test_newcomers_do_not_prolong_it_beyond_the_rebalance_timeout(self) -> None:
        bench = Bench(initial_rebalance_delay_ms=3_000)
        first = bench.join_with_id(rebalance_timeout_ms=7_000)
        for _ in range(7):
            bench.join_with_id(rebalance_timeout_ms=7_000)
            bench.pass_time(1_000)
        assert len(bench.take(first).members) == 8

    def test_a_group_that_all_have_left_meanwhile_becomes_empty(self) -> None:
        bench = Bench(initial_rebalance_delay_ms=3_000)
        given = bench.call(join()).member_id
        waiting = bench.ask(join(given))
        bench.call(leave(given))
        with pytest.raises(KafkaError, match="UNKNOWN_MEMBER_ID"):
            bench.take(waiting)
        bench.pass_time(3_000)
        assert bench.state is State.EMPTY


class TestProtocols:
    """What members speak decides whether they can be one group."""

    def names(self, *names: str) -> tuple[commands.Protocol, ...]:
        return tuple(commands.Protocol(name, name.encode()) for name in names)

    def together(self, bench: Bench, *protocols: tuple[commands.Protocol, ...]) -> str:
        given = [bench.call(join(protocols=p)).member_id for p in protocols]
        tickets = [bench.ask(join(m, protocols=p)) for m, p in zip(given, protocols, strict=True)]
        bench.pass_time(REBALANCE_MS)
        chosen = {bench.take(t).protocol for t in tickets}
        assert len(chosen) == 1
        return str(chosen.pop())

    def test_the_one_that_all_know_wins(self) -> None:
        bench = Bench(initial_rebalance_delay_ms=1_000)
        both = self.names("sticky", "range")
        assert self.together(bench, both, self.names("range"), both) == "range"

    def test_of_several_the_one_most_prefer_wins(self) -> None:
        bench = Bench(initial_rebalance_delay_ms=1_000)
        sticky, by_range = self.names("sticky", "range"), self.names("range", "sticky")
        assert self.together(bench, by_range, sticky, sticky) == "sticky"

    def test_the_elder_members_word_breaks_a_tie(self) -> None:
        bench = Bench(initial_rebalance_delay_ms=1_000)
        sticky, by_range = self.names("sticky", "range"), self.names("range", "sticky")
        assert self.together(bench, sticky, by_range) == "sticky"

    @pytest.mark.parametrize(
        "wrong",
        [
            {"protocols": (commands.Protocol("other", b""),)},
            {"protocols": ()},
            {"protocol_type": "connect"},
            {"protocol_type": ""},
        ],
    )
    def test_who_speaks_nothing_in_common_stays_out(self, wrong: dict[str, object]) -> None:
        bench = Bench()
        bench.stable()
        code = refusal(bench, join(**wrong))  # type: ignore[arg-type]
        assert code is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        assert bench.state is State.STABLE

    @pytest.mark.parametrize("wrong", [{"protocols": ()}, {"protocol_type": ""}])
    def test_who_speaks_nothing_cannot_begin_a_group(self, wrong: dict[str, object]) -> None:
        bench = Bench()
        code = refusal(bench, join(**wrong))  # type: ignore[arg-type]
        assert code is ErrorCode.INCONSISTENT_GROUP_PROTOCOL

    @pytest.mark.parametrize("wrong", [{"protocol_type": "connect"}, {"protocol": "other"}])
    def test_a_sync_of_another_protocol_is_refused(self, wrong: dict[str, str]) -> None:
        bench = Bench()
        member = bench.stable()[0]
        code = refusal(bench, sync(member, 1, **wrong))
        assert code is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        assert bench.call(sync(member, 1, protocol_type="consumer", protocol="range"))


class TestBorders:
    """What is refused before anything else is looked at."""

    @pytest.mark.parametrize("timeout_ms", [5_999, 1_800_001, -1])
    def test_sessions_have_bounds(self, bench: Bench, timeout_ms: int) -> None:
        command = join(session_timeout_ms=timeout_ms)
        assert refusal(bench, command) is ErrorCode.INVALID_SESSION_TIMEOUT

    def test_a_group_has_a_name(self, bench: Bench) -> None:
        assert refusal(bench, join(group_id="")) is ErrorCode.INVALID_GROUP_ID
        assert refusal(bench, sync("m", 1, group_id="")) is ErrorCode.INVALID_GROUP_ID

    @pytest.mark.parametrize(
        ("more", "code"),
        [
            ({"group_id": "g" * 40_000}, ErrorCode.INVALID_GROUP_ID),
            ({"instance_id": "é" * 20_000}, ErrorCode.INVALID_REQUEST),
            ({"protocol_type": "p" * 40_000}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
            ({"rebalance_timeout_ms": -2}, ErrorCode.INVALID_REQUEST),
        ],
    )
    def test_what_no_record_could_hold_is_refused(
        self, bench: Bench, more: dict[str, object], code: ErrorCode
    ) -> None:
        assert refusal(bench, join(**more)) is code  # type: ignore[arg-type]

    def test_a_long_client_id_makes_no_long_member_id(self, bench: Bench) -> None:
        assert len(bench.call(join(client_id="c" * 30_000)).member_id) < 300
