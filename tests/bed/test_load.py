"""The checker of the load notices what it is there for."""

from __future__ import annotations

import json
import runpy
from collections.abc import Sequence
from importlib import resources
from typing import Any

import pytest

from quorate_bed import kube
from quorate_bed.cluster import connect
from quorate_bed.load import Load, Written

ACKNOWLEDGED = {0: (0, 0), 1: (1, 0), 2: (0, 1), 3: (1, 1)}
FOUND = {0: [(0, 0), (1, 2)], 1: [(0, 1), (1, 3)]}


def check(found: dict[int, list[tuple[int, int]]], failed: Sequence[str] = ()) -> None:
    script = resources.files("quorate_bed").joinpath("scripts", "load.py")
    compare: Any = runpy.run_path(str(script))["compare"]
    read = sum(map(len, found.values()))
    said = compare(ACKNOWLEDGED, found)
    Written(acknowledged=4, failed=list(failed), read=read, slowest_ms=1, **said).check()


def test_a_topic_that_holds_what_was_acknowledged_passes() -> None:
    check(FOUND)
    check({**FOUND, 1: [*FOUND[1], (2, 5)]})  # written, never acknowledged: that may be


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({0: [(0, 0)], 1: [*FOUND[1], (2, 5)]}, "lost=\\[2\\]"),
        ({0: [(0, 0), (1, 4)], 1: FOUND[1]}, "lost=\\[2\\]"),
        ({0: [(0, 0), (1, 2), (2, 2)], 1: FOUND[1]}, "2 behind 2"),
        ({0: [(0, 0), (1, 2), (2, 1)], 1: FOUND[1]}, "1 behind 2"),
        ({0: [(0, 0), (1, 2), (3, 4)], 1: FOUND[1]}, "0: 3 instead of 2"),
        ({0: FOUND[0], 1: []}, "read=2"),
    ],
    ids=["lost", "replaced", "doubled", "disordered", "a gap", "a partition lost"],
)
def test_what_must_not_be_is_noticed(found: dict[int, list[tuple[int, int]]], why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        check(found)


def test_an_error_that_the_application_saw_is_noticed() -> None:
    with pytest.raises(AssertionError, match="timed out"):
        check(FOUND, failed=["3: timed out"])


@pytest.mark.parametrize("lost", [[], [2]], ids=["all there", "one lost"])
def test_a_load_is_seen_to_go_on_before_it_ends_and_is_judged(lost: list[int]) -> None:
    end = {"failed": [], "read": 4, "lost": lost, "gaps": [], "disordered": [], "slowest_ms": 1}
    answers = ["4", json.dumps({"acknowledged": 4, **end})]

    class Pod(kube.ClientPod):
        def run(self, *command: str, stdin: str | None = None, timeout_s: float = 120) -> str:
            return answers.pop(0)

    load = Load(Pod(kube.Kubectl(connect("nowhere"), "nothing")), "numbers")
    if lost:
        with pytest.raises(AssertionError, match="lost="):
            load.finish()
    else:
        assert load.finish().acknowledged == 4
    assert answers == []
