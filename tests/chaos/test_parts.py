"""What the runner is made of, without a namespace or a disk of its own."""

from __future__ import annotations

import pathlib
import random

import pytest

from quorate_broker.log.disk import OsDisk
from quorate_broker.log.log import Log, LogSettings
from quorate_broker.testing import repository
from quorate_broker.testing.chaos import report
from quorate_broker.testing.chaos.__main__ import main
from quorate_broker.testing.chaos.availability import Gaps
from quorate_broker.testing.chaos.disks import tear_segment
from quorate_broker.testing.chaos.faults import FAULTS
from quorate_broker.testing.chaos.history import History, Send
from quorate_broker.testing.chaos.judge import Violation
from quorate_broker.testing.chaos.runner import Phase, Plan, Result
from quorate_broker.testing.chaos.workload import Workload
from quorate_broker.wire import batch
from quorate_broker.wire.batch import InternalKind, Record

NOBODY = "127.0.0.1:1"


def result(*violations: Violation) -> Result:
    workload = Workload(NOBODY, 1, 10)
    workload.history = History(sends=[Send(i, "p", 0, i / 10, i / 10 + 0.05, i) for i in range(90)])
    phase = Phase(("deaf",), "deaf (node <2>)", 3.0, 6.0, 12.0, None)
    return Result(Plan(7, 1.0), [phase], list(violations), workload, 60.0)


class Longest(random.Random):
    """Tears as little off as it may."""

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        assert stop is not None
        return stop - step


@pytest.mark.parametrize("source", [Longest(), *map(random.Random, range(20))])
def test_a_torn_tail_is_cut_and_nothing_that_was_whole_is_lost(
    tmp_path: pathlib.Path, source: random.Random
) -> None:
    settings = LogSettings(preallocate_bytes=1 << 16)
    log = Log.open(OsDisk(), str(tmp_path / "g"), settings, 0)
    log.append_internal(InternalKind.TERM_START, 1, b"", 0)
    for offset in range(3):
        made = batch.build([Record(None, b"v%d" % offset)], base_offset=offset, timestamp_ms=1)
        batch.stamp(made, offset, 1)
        log.append(made)
    job = log.take_job()
    assert job is not None
    job.run()
    log.job_done(job)
    (segment,) = (tmp_path / "g").glob("*.log")
    assert tear_segment(segment, source)
    again = Log.open(OsDisk(), str(tmp_path / "g"), settings, 0)
    assert again.recovery.corrupt is None
    assert (again.next_offset, again.last_index) == (3, 3)
    again.close()


def test_an_empty_segment_is_not_torn(tmp_path: pathlib.Path) -> None:
    segment = tmp_path / "0.log"
    segment.write_bytes(bytes(1000))
    assert not tear_segment(segment, random.Random(1))
    assert segment.read_bytes() == bytes(1000)


def test_the_page_tells_the_trouble_and_every_violation_escaped() -> None:
    page = report.page(result(Violation("lost", "value <5>")))
    assert "1 violations" in page
    assert "value &lt;5&gt;" in page
    assert "deaf (node &lt;2&gt;)" in page
    assert page.count("<rect") == 1
    assert page.count("<polyline") == 3
    assert 'class="late"' in page
    assert "--seed 7" in page


def test_the_summary_says_which_kind_how_often() -> None:
    found = [Violation("lost", f"value {i}") for i in range(9)]
    text = report.summary(result(*found))
    assert "VIOLATION lost: 9" in text
    assert text.count("  lost: value") == 5
    assert text.endswith("FAILED")
    assert report.summary(result()).endswith("no violation")


def test_quantiles_of_twenty_gaps_are_the_tenth_the_nineteenth_and_the_last() -> None:
    row = Gaps("SIGKILL", tuple(float(i) for i in range(20, 0, -1))).row()
    assert row.split() == ["SIGKILL", "20", "10.00", "19.00", "20.00"]


def test_every_row_of_the_fault_matrix_that_is_for_real_processes_has_a_fault() -> None:
    rows = {row for fault in FAULTS.values() for row in fault.rows}
    assert rows >= {*range(1, 9), 10, 11, 13, *range(15, 20)}


def test_the_page_counts_what_was_drawn() -> None:
    page = report.page(result())
    assert '<td>deaf<td class="n">1 times' in page
    assert '<td>wipe<td class="n">0 times' in page
    assert f"1 of {len(FAULTS)}" in page


def test_the_version_before_this_one_is_in_the_history_and_can_be_run(
    tmp_path: pathlib.Path,
) -> None:
    source = repository.source_of(repository.PREVIOUS, tmp_path / "older")
    assert (source / "quorate_broker" / "testing" / "sabotaged.py").exists()
    assert not repository.has("0" * 40)


def test_an_unknown_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--faults", "kill-one,earthquake"])
    assert "no such fault: earthquake" in capsys.readouterr().err
