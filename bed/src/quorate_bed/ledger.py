"""What `make test-full` has found out so far: one line per test that ended, with its commit.

A pytest plugin. Each test that ends is written down at once, and a test that passed on this very
commit is not run again: a run that was interrupted goes on where it stopped. `report.py` makes a
page of it.

    pytest -p quorate_bed.ledger --ledger FILE --ledger-commit COMMIT
"""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

PASSED = "passed"


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """How one test ended. `figures` are what it measured, by their names."""

    commit: str
    test: str
    outcome: str
    seconds: float
    full: bool
    figures: dict[str, float]


def read(path: Path) -> list[Entry]:
    """In the order of writing. A line that was cut off at the end is none."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(Entry(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def newest(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Each test's last entry."""
    return {entry.test: entry for entry in entries}


def passed(entries: Iterable[Entry], commit: str) -> set[str]:
    """Tests that need not run again on that commit."""
    last = newest(entry for entry in entries if entry.commit == commit)
    return {test for test, entry in last.items() if entry.outcome == PASSED}


class Ledger:
    """Collects the phases of a test; the worst of them is how it ended."""

    def __init__(self, path: Path, commit: str) -> None:
        self._path = path
        self._commit = commit
        self._phases: list[pytest.TestReport] = []
        self._spared = 0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        done = passed(read(self._path), self._commit)
        skipped = [item for item in items if item.nodeid in done]
        items[:] = [item for item in items if item.nodeid not in done]
        config.hook.pytest_deselected(items=skipped)
        self._spared = len(skipped)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self._spared and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._phases.append(report)
        if report.when != "teardown":
            return
        phases, self._phases = self._phases, []
        worst = next((one.outcome for one in phases if one.outcome != PASSED), PASSED)
        entry = Entry(
            commit=self._commit,
            test=report.nodeid,
            outcome=str(worst),
            seconds=round(sum(one.duration for one in phases), 1),
            full="full" in report.keywords,
            figures=_figures(report.user_properties),
        )
        with self._path.open("a") as file:
            file.write(json.dumps(dataclasses.asdict(entry)) + "\n")


def _figures(properties: list[tuple[str, Any]]) -> dict[str, float]:
    return {name: value for name, value in properties if isinstance(value, int | float)}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--ledger", type=Path, help="where to write down how tests end")
    parser.addoption("--ledger-commit", default="", help="what is tested")


def pytest_configure(config: pytest.Config) -> None:
    path: Path | None = config.getoption("--ledger")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        config.pluginmanager.register(Ledger(path, config.getoption("--ledger-commit")))
