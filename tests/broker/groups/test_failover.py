"""What a new coordinator finds in the log, and what went down with the old one."""

from __future__ import annotations

import pytest

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups.states import State
from quorate_broker.testing.group_bench import SESSION_MS, Bench, beat, join, leave, sync
from quorate_broker.wire.batch import Record


@pytest.fixture
def bench() -> Bench:
    return Bench()


def refusal(bench: Bench, command: object) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        bench.call(command)
    return caught.value.code


def test_a_stable_group_goes_on_without_a_rebalance(bench: Bench) -> None:
    first, second = bench.stable(2)
    before = bench.group().value()
    bench.fail_over()
    assert bench.group().value() == before
    bench.call(beat(first, 2))
    assert bench.call(sync(second, 2)).assignment == f"to {second}".encode()


def test_every_member_has_a_whole_session_to_find_the_new_coordinator(bench: Bench) -> None:
    member = bench.stable()[0]
    bench.pass_time(SESSION_MS - 1)
    bench.fail_over()
    bench.pass_time(SESSION_MS - 1)
    bench.call(beat(member, 1))


def test_members_that_do_not_find_it_expire(bench: Bench) -> None:
    bench.stable(2)
    bench.fail_over()
    bench.pass_time(SESSION_MS)
    assert bench.state is State.EMPTY


def test_a_generation_that_was_not_agreed_is_lost_and_its_members_join_again(
    bench: Bench,
) -> None:
    first = bench.stable()[0]
    late = bench.join_with_id()
    bench.take(bench.ask(join(first)))
    newcomer = bench.take(late).member_id
    bench.fail_over()
    assert (bench.state, bench.group().generation) == (State.STABLE, 1)
    assert refusal(bench, sync(first, 2)) is ErrorCode.ILLEGAL_GENERATION
    assert refusal(bench, sync(newcomer, 2)) is ErrorCode.UNKNOWN_MEMBER_ID
    bench.call(beat(first, 1))


def test_an_id_that_was_given_out_is_lost(bench: Bench) -> None:
    given = bench.call(join()).member_id
    bench.fail_over()
    assert refusal(bench, join(given)) is ErrorCode.UNKNOWN_MEMBER_ID


def test_generations_go_on_counting(bench: Bench) -> None:
    bench.call(leave(bench.stable()[0]))
    bench.fail_over()
    assert bench.group().generation == 2
    assert bench.take(bench.join_with_id()).generation == 3


def test_records_that_are_no_groups_are_passed_over(bench: Bench) -> None:
    bench.log.append(Record(b"\x00\x03\x00\x01g", b"newer"))
    bench.stable()
    bench.fail_over()
    assert bench.state is State.STABLE
