"""A run of the long tests goes on where it was interrupted, and leaves a page behind."""

import json
import subprocess
import sys
from pathlib import Path

from quorate_bed import ledger, report

TESTS = """
import pytest

@pytest.mark.full
def test_long(record_property):
    record_property("roll_s", 12.5)

def test_red():
    assert not (HERE / "red").exists()
"""


def run(directory: Path, commit: str) -> int:
    plugin = (
        "-p",
        "quorate_bed.ledger",
        f"--ledger={directory / 'ledger'}",
        "--ledger-commit",
        commit,
    )
    command = [sys.executable, "-m", "pytest", "-q", "-c", directory / "pytest.ini", *plugin]
    return subprocess.run(command, cwd=directory, capture_output=True, check=False).returncode


def ended(directory: Path) -> list[tuple[str, str]]:
    entries = ledger.read(directory / "ledger")
    return [(entry.test.rpartition("::")[2], entry.outcome) for entry in entries]


def test_what_passed_on_a_commit_does_not_run_on_it_again(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = full\n")
    here = f"from pathlib import Path\nHERE = Path({str(tmp_path)!r})\n"
    (tmp_path / "test_some.py").write_text(here + TESTS)
    (tmp_path / "red").touch()
    assert run(tmp_path, "one") == 1
    assert ended(tmp_path) == [("test_long", "passed"), ("test_red", "failed")]
    (tmp_path / "red").unlink()
    assert run(tmp_path, "one") == 0
    assert ended(tmp_path)[2:] == [("test_red", "passed")]
    assert run(tmp_path, "one") == 0, "nothing is left to run, and that is no failure"
    assert len(ended(tmp_path)) == 3
    assert run(tmp_path, "two") == 0
    assert len(ended(tmp_path)) == 5
    long = ledger.newest(ledger.read(tmp_path / "ledger"))["test_some.py::test_long"]
    assert (long.commit, long.full, long.figures) == ("two", True, {"roll_s": 12.5})


def test_a_line_that_was_cut_off_is_no_entry(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text('{"commit": "o')
    assert ledger.read(tmp_path / "ledger") == []
    assert ledger.read(tmp_path / "nowhere") == []


def entry(test: str, outcome: str, commit: str, **rest: object) -> ledger.Entry:
    known = {"seconds": 61.4, "full": False, "figures": {}} | rest
    return ledger.Entry(
        **json.loads(json.dumps({**known, "test": test, "outcome": outcome, "commit": commit}))
    )


def test_the_page_has_a_line_for_each_long_test_and_counts_the_others() -> None:
    page = report.render(
        [
            entry("tests/kube/test_a.py::test_long[x]", "failed", "old", full=True),
            entry("tests/kube/test_a.py::test_long[x]", "passed", "new", full=True),
            entry("tests/kube/test_a.py::test_roll", "passed", "new", figures={"roll_s": 31.5}),
            entry("tests/kube/test_a.py::test_short", "passed", "new"),
            entry("tests/kube/test_b.py::test_short", "failed", "old"),
        ],
        "two cores",
    )
    assert "| `kube/test_a.py::test_long[x]` | passed | 61 |  | new |" in page
    assert "| `kube/test_a.py::test_roll` | passed | 61 | roll_s 31.5 | new |" in page
    assert "| `tests/kube` | 1 | 1 | new, old |" in page
    assert "two cores" in page
