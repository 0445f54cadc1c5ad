"""kill -9 at every durable step: whatever the broker was doing, what it acknowledged is there.

A few points run with the processes; all of them, each alone, in the long part.
"""

from __future__ import annotations

import pathlib

import pytest

from quorate_broker.testing import crashes, sabotage

pytestmark = pytest.mark.process

ALL = [sabotage.Point(*point) for point in sabotage.all_points()]
QUICK = [
    sabotage.Point("before", "sync", "segment", 12),
    sabotage.Point("after", "rename", "checkpoint", 4),
    sabotage.Point("during", "pwrite", "copy"),
]


def check(folder: pathlib.Path, point: sabotage.Point) -> None:
    outcome = crashes.course_of(point)(folder, point)
    assert outcome.faults == []
    assert outcome.died == 1, "the broker never came to this point"
    assert len(outcome.acked) >= crashes.LEAST_ACKED


@pytest.mark.parametrize("point", QUICK, ids=str)
def test_a_broker_that_dies_at_a_durable_step_comes_back_with_all_it_acknowledged(
    tmp_path: pathlib.Path, point: sabotage.Point
) -> None:
    check(tmp_path, point)


@pytest.mark.full
@pytest.mark.parametrize("point", ALL, ids=str)
def test_a_broker_that_dies_at_any_durable_step_comes_back_with_all_it_acknowledged(
    tmp_path: pathlib.Path, point: sabotage.Point
) -> None:
    check(tmp_path, point)


@pytest.mark.parametrize(
    "course",
    [
        crashes.alone,
        pytest.param(crashes.housekept, marks=pytest.mark.full),
        pytest.param(crashes.among_three, marks=pytest.mark.full),
    ],
)
def test_a_broker_passes_every_point_of_its_course_and_no_step_that_is_in_no_list(
    tmp_path: pathlib.Path, course: crashes.Course
) -> None:
    outcome = course(tmp_path, None)
    assert outcome.faults == []
    wanted = {str(point).rpartition(" ")[0] for point in ALL if crashes.course_of(point) is course}
    assert wanted - outcome.seen == set()
