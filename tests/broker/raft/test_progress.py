"""What a leader may send to one follower."""

import pytest

from quorate_broker.raft.progress import Mode, Packed, Progress
from quorate_broker.raft.settings import RaftSettings

SETTINGS = RaftSettings(inflight_messages=3, inflight_bytes=1_000)


def replicating(received: int = 9) -> Progress:
    progress = Progress(received, 0)
    progress.heard(received, received, received, 0)
    progress.accepted()
    return progress


def test_a_probe_waits_for_its_answer() -> None:
    progress = Progress(9, 0)
    assert progress.may_send(SETTINGS)
    progress.sent(12, 100, 0)
    assert not progress.may_send(SETTINGS)
    assert progress.next == 10


def test_a_probe_may_go_again_when_the_follower_lives_but_does_not_answer() -> None:
    progress = Progress(9, 0)
    progress.sent(12, 100, 0)
    progress.remind(150, 149)
    assert not progress.may_send(SETTINGS)
    progress.remind(150, 150)
    assert progress.may_send(SETTINGS)


def test_the_window_is_bounded_in_messages() -> None:
    progress = replicating()
    for last_index in (10, 11, 12):
        assert progress.may_send(SETTINGS)
        progress.sent(last_index, 1, 0)
    assert not progress.may_send(SETTINGS)
    progress.heard(12, 10, 12, 1)
    assert progress.may_send(SETTINGS)


def test_the_window_is_bounded_in_bytes() -> None:
    progress = replicating()
    progress.sent(10, 1_000, 0)
    assert not progress.may_send(SETTINGS)
    progress.heard(10, 10, 10, 1)
    assert progress.may_send(SETTINGS)
    assert progress.inflight_bytes == 0


def test_the_window_counts_until_it_is_on_disk() -> None:
    progress = replicating()
    for last_index in (10, 11, 12):
        progress.sent(last_index, 1, 0)
    progress.heard(received=12, match=9, last_index=12, now_ms=1)
    assert not progress.may_send(SETTINGS)


def test_a_late_acknowledgement_neither_sends_again_nor_fills_the_window_for_ever() -> None:
    # Found by a seed: the window held what was acknowledged already, and the follower starved.
    progress = replicating(received=5)
    progress.sent(6, 1, 0)
    progress.heard(10, 10, 12, 1)  # acknowledged in an earlier life of the connection
    assert progress.next == 11
    assert not progress.inflight
    progress.inflight.append((10, 1))
    progress.heard(10, 10, 12, 2)
    assert not progress.inflight


def test_what_was_not_received_for_long_is_stuck() -> None:
    progress = replicating()
    progress.sent(10, 1, 1_000)
    assert not progress.is_stuck(500, 1_499)
    assert progress.is_stuck(500, 1_500)


def test_a_follower_that_moves_is_not_stuck() -> None:
    progress = replicating()
    progress.sent(10, 1, 1_000)
    progress.sent(11, 1, 1_000)
    progress.heard(10, 9, 11, 1_400)
    assert not progress.is_stuck(500, 1_600)


def test_probing_takes_what_was_in_flight_for_lost() -> None:
    progress = replicating()
    progress.sent(10, 300, 0)
    progress.probe(10)
    assert (progress.mode, progress.next, progress.inflight_bytes) == (Mode.PROBE, 10, 0)


def test_what_was_acknowledged_is_never_probed() -> None:
    progress = replicating(received=9)
    with pytest.raises(AssertionError, match="acknowledged"):
        progress.probe(9)


def test_caught_up_means_having_had_all_that_the_leader_had_at_some_time() -> None:
    progress = Progress(9, 0)
    progress.heard(9, 9, 20, 100)  # the mark of the beginning is reached; the next one is 20
    assert progress.caught_up_ms == 0
    progress.heard(19, 19, 30, 200)
    assert progress.caught_up_ms == 0
    progress.heard(25, 25, 40, 300)
    assert progress.caught_up_ms == 100
    progress.heard(40, 40, 40, 400)
    assert progress.caught_up_ms == 400


def test_of_a_snapshot_one_piece_is_under_way() -> None:
    progress = replicating()
    progress.give(Packed(4, 1, b"content", 7))
    assert progress.may_send(SETTINGS)
    progress.asked_ms = 100
    assert not progress.may_send(SETTINGS)
    progress.remind(500, 599)
    assert not progress.may_send(SETTINGS)
    progress.remind(500, 600)
    assert progress.may_send(SETTINGS)


def test_who_lost_its_log_is_taken_for_one_of_which_nothing_is_known() -> None:
    progress = replicating()
    progress.lives(77, last_index=20)
    assert (progress.mode, progress.match, progress.received) == (Mode.PROBE, -1, -1)
    progress.heard(12, 12, 20, 5)
    progress.lives(77, last_index=20)
    assert progress.match == 12, "one life, once"
    progress.lives(0, last_index=20)
    assert progress.match == 12, "it is whole, with what it has"


def test_a_newcomer_is_not_caught_up_before_it_was() -> None:
    progress = Progress(9, 1_000, is_new=True)
    assert progress.caught_up_ms < 0
    progress.heard(9, 9, 9, 1_200)
    assert progress.caught_up_ms == 1_200


def test_a_full_disk_gets_one_batch_now_and_then_and_more_while_it_takes_them() -> None:
    progress = replicating(received=9)
    progress.sent(30, 900, 0)
    progress.holds_back(100)
    assert (progress.mode, progress.next, progress.full) == (Mode.PROBE, 10, True)
    assert not progress.may_send(SETTINGS)
    progress.remind(500, 600)
    assert progress.may_send(SETTINGS)
    progress.sent(10, 50, 600)
    progress.heard(10, 9, 30, 610)
    progress.holds_back(610)
    assert progress.may_send(SETTINGS), "it took the batch: the next one"
