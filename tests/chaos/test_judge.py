"""The judge against broken histories: each kind of wrong is caught, and what is right is not."""

from __future__ import annotations

import dataclasses

import pytest

from quorate_broker.testing.chaos.history import (
    Commit,
    Committed,
    FinalRead,
    History,
    Poll,
    Send,
    TopicOperation,
)
from quorate_broker.testing.chaos.judge import CHECKERS, judge


def sound() -> History:
    """Values 10, 11, 12 in partition 0, all as it should be; 13 was never acknowledged."""
    return History(
        sends=[
            Send(10, "p", 0, 0.0, 0.1, 0),
            Send(11, "p", 0, 0.1, 0.2, 1),
            Send(12, "p", 0, 0.2, 0.3, 2),
            Send(13, "p", 0, 0.3, 30.0, error="timed out"),
        ],
        polls=[Poll("m.1", 1.0, 0, 0, 10), Poll("m.1", 1.1, 0, 1, 11), Poll("m.2", 1.2, 0, 2, 12)],
        commits=[Commit(1.0, {0: 1}, 1.1), Commit(2.0, {0: 3}, 2.1)],
        committed=[Committed(1.2, {0: 1}), Committed(3.0, {0: 3})],
        operations=[
            TopicOperation("create", "kept", True),
            TopicOperation("create", "dropped", True),
            TopicOperation("delete", "dropped", True),
        ],
        reads=[FinalRead("r1", 0, ((0, 10), (1, 11), (2, 12)))],
        topics={"kept"},
    )


def kinds(history: History) -> set[str]:
    return {violation.kind for violation in judge(history)}


def read(*records: tuple[int, int]) -> FinalRead:
    return FinalRead("r2", 0, records)


def test_a_sound_history_is_not_accused() -> None:
    assert judge(sound()) == []


def test_an_unsure_write_may_be_there_or_not() -> None:
    history = sound()
    history.reads = [read((0, 10), (1, 11), (2, 12), (3, 13))]
    assert judge(history) == []


def test_a_value_that_was_never_answered_is_owed_to_nobody() -> None:
    history = sound()
    history.sends.append(Send(14, "p", 0, 0.5))
    assert judge(history) == []


def test_an_acknowledged_value_that_one_reader_does_not_find_is_lost() -> None:
    history = sound()
    history.reads.append(read((0, 10), (1, 11)))
    assert kinds(history) == {"lost"}


def test_a_value_at_two_offsets_is_a_duplicate() -> None:
    history = sound()
    history.reads = [read((0, 10), (1, 11), (2, 12), (3, 13), (4, 13))]
    assert kinds(history) == {"duplicate"}


def test_a_value_that_nobody_wrote_is_made_up() -> None:
    history = sound()
    history.reads = [read((0, 10), (1, 11), (2, 12), (3, 99))]
    assert kinds(history) == {"made-up"}


def test_a_value_in_another_partition_is_made_up() -> None:
    history = sound()
    history.reads.append(FinalRead("r1", 1, ((0, 13),)))
    assert kinds(history) == {"made-up"}


def test_two_values_at_one_offset_are_inconsistent() -> None:
    history = sound()
    history.sends[3:] = [Send(13, "q", 0, 0.3), Send(14, "r", 0, 0.3)]
    history.reads = [read(*((0, 10), (1, 11), (2, 12)), (3, v)) for v in (13, 14)]
    assert kinds(history) == {"inconsistent"}


def test_an_offset_acknowledged_to_two_producers_is_inconsistent() -> None:
    history = sound()
    history.sends[2].offset = 1
    assert "inconsistent" in kinds(history)


def test_a_value_read_at_another_offset_than_acknowledged_is_inconsistent() -> None:
    history = sound()
    history.sends[2].offset = 7
    assert kinds(history) == {"inconsistent"}


def test_offsets_that_do_not_rise_in_a_read_are_inconsistent() -> None:
    history = sound()
    history.reads = [read((0, 10), (2, 12), (1, 11))]
    assert kinds(history) == {"inconsistent"}


def test_one_producers_values_in_another_order_are_reordered() -> None:
    history = sound()
    history.sends[1], history.sends[2] = history.sends[2], history.sends[1]
    assert kinds(history) == {"reordered"}


def test_two_producers_have_no_order_between_them() -> None:
    history = sound()
    history.sends[2] = dataclasses.replace(history.sends[2], producer="q")
    history.sends[1], history.sends[2] = history.sends[2], history.sends[1]
    assert judge(history) == []


def test_an_acknowledged_value_that_the_group_never_gets_is_unseen() -> None:
    history = sound()
    history.polls.pop()
    assert kinds(history) == {"unseen"}


@pytest.mark.parametrize("again", [0, 1])
def test_a_member_that_goes_back_within_its_assignment_is_nonmonotonic(again: int) -> None:
    history = sound()
    history.polls.insert(2, Poll("m.1", 1.15, 0, again, 10 + again))
    assert kinds(history) == {"nonmonotonic"}


def test_a_member_may_go_back_in_another_assignment() -> None:
    history = sound()
    history.polls.append(Poll("m.3", 1.3, 0, 0, 10))
    assert judge(history) == []


def test_a_member_that_leaves_out_what_is_there_skips() -> None:
    history = sound()
    history.polls = [
        Poll("m.1", 1.0, 0, 0, 10),
        Poll("m.1", 1.1, 0, 2, 12),
        Poll("m.2", 1.2, 0, 1, 11),
    ]
    assert kinds(history) == {"skipped"}


@pytest.mark.parametrize("told", [{0: 2}, {}])
def test_a_group_offset_below_an_acknowledged_one_went_back(told: dict[int, int]) -> None:
    history = sound()
    history.committed.append(Committed(4.0, told))
    assert kinds(history) == {"went-back"}


def test_a_commit_that_was_not_answered_may_take_effect_late() -> None:
    history = sound()
    history.commits.insert(1, Commit(1.5, {0: 2}))
    history.committed.append(Committed(4.0, {0: 2}))
    assert judge(history) == []


def test_a_commit_that_was_sent_twice_may_take_effect_late() -> None:
    history = sound()
    history.commits.insert(1, Commit(1.2, {0: 2}, 1.9 + 3))
    history.committed.append(Committed(6.0, {0: 2}))
    assert judge(history) == []
    history.commits[1].ended_s = 1.3
    assert kinds(history) == {"went-back"}


def test_a_created_topic_that_is_not_there_is_told() -> None:
    history = sound()
    history.topics.clear()
    assert kinds(history) == {"topic"}


def test_a_deleted_topic_that_is_there_is_told() -> None:
    history = sound()
    history.topics.add("dropped")
    assert kinds(history) == {"topic"}


def test_every_checker_has_been_made_to_speak_here() -> None:
    """`misplaced` says inconsistent; a new checker brings a new kind, and its test above."""
    assert len(CHECKERS) == 10
