"""The page that `make test-full` leaves behind: tests/report-full.md, to be committed.

Every line says on which commit its test ran. The tests of `make test` are counted by folder; the
long ones, and those that measured something, have a line each.
"""

import os
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from quorate_bed import ledger, paths
from quorate_bed.ledger import Entry

FILE = paths.REPOSITORY / "tests" / "report-full.md"
HEAD = """# Report of the long tests

Written by `make test-full`, which goes on where it was interrupted: each line is the last run of
its test, with the commit that it ran on. Measured on {machine}.
"""


def ledger_path() -> Path:
    return paths.cache() / "full" / "ledger.jsonl"


def commit() -> str:
    """What is tested: the short commit, with a + when the work tree differs from it."""
    head = _git("rev-parse", "--short=10", "HEAD")
    changed = _git("status", "--porcelain", "--", ".", f":!{FILE.relative_to(paths.REPOSITORY)}")
    return f"{head}+" if changed else head


def write() -> Path:
    FILE.write_text(render(ledger.read(ledger_path()), _machine()))
    return FILE


def render(entries: Iterable[Entry], machine: str) -> str:
    last = sorted(ledger.newest(entries).values(), key=lambda entry: entry.test)
    shown = [entry for entry in last if entry.full or entry.figures]
    others = [entry for entry in last if not (entry.full or entry.figures)]
    lines = [HEAD.format(machine=machine)]
    lines += ["| test | result | s | figures | commit |", "|---|---|--:|---|---|"]
    for entry in shown:
        figures = ", ".join(f"{name} {value:g}" for name, value in sorted(entry.figures.items()))
        name = entry.test.removeprefix("tests/").replace("|", "\\|")
        lines.append(
            f"| `{name}` | {entry.outcome} | {entry.seconds:.0f} | {figures} | {entry.commit} |"
        )
    lines += ["", "The others, by folder:", "", "| folder | passed | not passed | commits |"]
    lines += ["|---|--:|--:|---|"]
    for folder in sorted({_folder(entry) for entry in others}):
        inside = [entry for entry in others if _folder(entry) == folder]
        outcomes = Counter(entry.outcome == ledger.PASSED for entry in inside)
        commits = ", ".join(sorted({entry.commit for entry in inside}))
        lines.append(f"| `{folder}` | {outcomes[True]} | {outcomes[False]} | {commits} |")
    return "\n".join(lines) + "\n"


def _folder(entry: Entry) -> str:
    return str(Path(entry.test.partition("::")[0]).parent)


def _machine() -> str:
    cpu = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return f"{os.cpu_count()} cores ({cpu[1] if cpu else platform.machine()})"


def _git(*words: str) -> str:
    command = ["git", "-C", str(paths.REPOSITORY), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
