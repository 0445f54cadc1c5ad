"""How fast those are fed that are behind, and who is not slowed down."""

from __future__ import annotations

from quorate_broker.raft.throttle import Throttle
from quorate_broker.testing import transcript


def test_a_second_of_the_rate_may_go_at_once_and_then_as_much_as_time_brings() -> None:
    throttle = Throttle(lambda: 1_000)
    assert throttle.may_send(5_000)
    throttle.sent(1_000)
    assert not throttle.may_send(5_000)
    assert throttle.may_send(5_001)
    assert not Throttle(lambda: 0).may_send(9_000)


def test_what_is_larger_than_the_bucket_goes_and_is_paid_for_afterwards() -> None:
    throttle = Throttle(lambda: 1_000)
    assert throttle.may_send(0)
    throttle.sent(4_000)
    assert not throttle.may_send(3_000)
    assert throttle.may_send(3_001)


def test_silence_is_worth_a_second_and_no_more() -> None:
    throttle = Throttle(lambda: 1_000)
    assert throttle.may_send(60_000)
    throttle.sent(1_001)
    assert not throttle.may_send(60_000)


def test_another_rate_holds_from_the_next_use_on() -> None:
    rates = [100]
    throttle = Throttle(lambda: rates[-1])
    assert throttle.may_send(0)
    throttle.sent(1_100)
    assert not throttle.may_send(9_000)
    rates.append(1_000)
    assert throttle.may_send(9_900)


def test_a_group_that_tells_an_earlier_time_than_another_takes_nothing_twice() -> None:
    throttle = Throttle(lambda: 1_000)
    assert throttle.may_send(1_000)
    throttle.sent(1_500)
    assert not throttle.may_send(1_400)
    assert not throttle.may_send(900)
    assert not throttle.may_send(1_400)
    assert throttle.may_send(1_501)


def test_a_straggler_is_fed_slowly_until_a_majority_needs_it() -> None:
    cluster = transcript.Cluster(quiet=True)

    def do(*commands: str) -> None:
        for command in commands:
            cluster.command(command.split())

    def has() -> int:
        return cluster.nodes[3].log.last_index

    do("cluster 3 small slow", "campaign 1", "settle", "crash 3", "propose 1 100", "settle")
    for _ in range(80):
        do("tick 1 2 +150", "settle")
    do("restart 3")
    for _ in range(20):
        do("tick 1 2 3 +150", "settle")
    assert 0 < has() < 20, "200 bytes a second, of batches of about 70"
    do("crash 2")
    for _ in range(60):
        do("tick 1 3 +150", "settle")
    assert has() < 60, "2 still counts as in sync"
    for _ in range(8):
        do("tick 1 3 +150", "settle")
    assert has() == 100, "1 cannot commit without 3 any more"
