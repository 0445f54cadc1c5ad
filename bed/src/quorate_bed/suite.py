"""`make test`: the parts in order, each alone runnable, and a table at the end.

A part that fails does not stop the others: one run should tell all that is wrong. A real Kubernetes
and real brokers watch the clock: they run one after the other, and wait most of the time. What that
leaves of two cores goes to the parts that watch no clock, in two tracks of little weight beside
them; those that have time-outs of their own come first, beside Kubernetes, which asks for less. So
does the chaos, which watches the clock too, and waits most of the time.
Unit tests run on the images' Python, everything else on the one that is here.

The exit code is that of the whole. The last lines printed are pytest's own closing lines and the
names of the tests that failed, so that whoever reads only the end of a log sees how much was run
and what was wrong.
"""

import contextlib
import dataclasses
import enum
import functools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from quorate_bed import binaries, debian, images, paths, report
from quorate_bed.progress import BedError, console, heading

WORDS = ("passed", "failed", "error")
NO_TESTS = 5  # pytest's exit code when it found nothing to run
SHOWN_FAILURES = 12
FAILURE = re.compile(r"(?:FAILED|ERROR) tests/")
SCRIPTS = Path(sys.executable).parent
SHORT = "not full and not process and not kube"
LITTLE_WEIGHT = 10  # of nice: next to a group of weight 1024, one of 110
SETTING_UP = threading.Lock()  # installations and downloads, one at a time


class Track(enum.Enum):
    """What runs in order; the three run beside each other. The first sets up first."""

    FIRST = enum.auto()
    SECOND = enum.auto()
    CLOCK = enum.auto()


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the suite. `quick`: it belongs to `make test`. In the whole suite the tests that
    are kept out of `make test` run with the part that they belong to. `needs` are brought first."""

    name: str
    what: str
    commands: tuple[tuple[str, ...], ...]
    track: Track = Track.CLOCK
    needs: tuple[Callable[[], object], ...] = ()
    quick: bool = True
    on_images_python: bool = False
    watches_clock: bool = False
    """In a track of little weight, but with all of its own."""


@dataclass(frozen=True, slots=True)
class Result:
    part: Part
    failed: tuple[str, ...]
    closing: tuple[str, ...]
    took_s: float
    red: tuple[str, ...] = ()
    """pytest's lines about the tests that failed."""
    note: str = ""


def _pytest(*args: str) -> tuple[str, ...]:
    return ("python", "-m", "pytest", *args)


UNIT = _pytest("tests/broker", "tests/operator", "tests/bed", "tests/fuzz", "-m", SHORT)
HELM = functools.partial(binaries.tool, "helm")
CLIENTS = functools.partial(debian.install, {**debian.CLIENTS, **debian.CHAOS})
CHAOS = "tests/chaos/test_chaos.py"
PARTS = (
    Part(
        "chaos",
        "faults of every kind under real clients",
        (_pytest(CHAOS, "-m", "process and not full"),),
        Track.FIRST,
        needs=(CLIENTS,),
        watches_clock=True,
    ),
    Part("unit", "unit and property tests", (UNIT,), Track.FIRST, on_images_python=True),
    Part(
        "fuzzing",
        "readers of foreign bytes",
        (_pytest("tests/fuzz", "-m", "process and not full"),),
        Track.FIRST,
    ),
    Part(
        "lint",
        "style, types, layers",
        (
            ("ruff", "check"),
            ("ruff", "format", "--check"),
            ("mypy",),
            ("lint-imports",),
            _pytest("tests/test_tidy.py"),
        ),
        Track.FIRST,
    ),
    Part(
        "charts",
        "charts, guides, GitOps tools",
        (_pytest("tests/charts", "tests/docs", "tests/gitops", "-m", SHORT),),
        Track.FIRST,
        needs=(
            HELM,
            functools.partial(binaries.program, paths.REPOSITORY / "tests/gitops"),
            functools.partial(debian.unpacked, "prometheus", "usr/bin/promtool"),
        ),
    ),
    Part(
        "conformance",
        "other people's code",
        (_pytest("tests/conformance", "-m", "not full"),),
        Track.FIRST,
        needs=(functools.partial(debian.install, debian.JAVA),),
    ),
    Part(
        "simulation",
        "a cluster on virtual time",
        (_pytest("tests/simulation", "-m", SHORT),),
        Track.SECOND,
    ),
    Part(
        "kubernetes",
        "the product on a real Kubernetes",
        (_pytest("tests/bed", "tests/kube", "-m", "kube and not full"),),
        needs=(HELM, images.build_all),  # here, so that no test's time limit has to allow for it
    ),
    Part(
        "processes",
        "real broker processes",
        (
            _pytest(
                "tests", "-m", "process and not full", "--ignore=tests/fuzz", f"--ignore={CHAOS}"
            ),
        ),
        needs=(CLIENTS,),
    ),
    Part("unit-here", "unit on the Python that runs here", (UNIT,), quick=False),
    Part(
        "long",
        "long seeds, chaos",
        (_pytest("tests", "-m", "full and not kube"),),
        needs=(CLIENTS,),
        quick=False,
    ),
)


def run(names: Sequence[str], *, full: bool) -> bool:
    """Run the parts of these names (all quick ones without a name). Whether all of it passed."""
    unknown = set(names) - {part.name for part in PARTS}
    if unknown:
        known = ", ".join(part.name for part in PARTS)
        raise BedError(f"no part {', '.join(sorted(unknown))} of the tests; there are {known}")
    chosen = [part for part in PARTS if (part.name in names if names else part.quick or full)]
    if full:
        chosen = [_with_the_long_ones(part, report.commit()) for part in chosen]
    results = _run_all(chosen)
    _report(results)
    if full:
        console.print(f"written: {report.write().relative_to(paths.REPOSITORY)}")
    return not any(result.failed for result in results)


def _with_the_long_ones(part: Part, commit: str) -> Part:
    """How its tests end is written down, and what passed on this commit does not run again."""
    plugin = ("-p", "quorate_bed.ledger")
    ledger = (*plugin, f"--ledger={report.ledger_path()}", f"--ledger-commit={commit}")

    def whole(command: tuple[str, ...]) -> tuple[str, ...]:
        if "pytest" not in command:
            return command
        kube = "kube and not full"
        return (*("kube" if word == kube else word for word in command), *ledger)

    commands = tuple(whole(command) for command in part.commands)
    return dataclasses.replace(part, commands=commands)


def _run_all(parts: Sequence[Part]) -> list[Result]:
    tracks = [[part for part in parts if part.track is track] for track in Track]
    labelled = sum(map(bool, tracks)) > 1
    sessions: set[int] = set()

    def run_track(track: list[Part]) -> list[Result]:
        return [_run_part(part, sessions if labelled else None) for part in track]

    with ThreadPoolExecutor(len(tracks)) as threads:
        try:
            found = {one.part: one for track in threads.map(run_track, tracks) for one in track}
        except KeyboardInterrupt:  # the terminal tells its own session alone
            for session in tuple(sessions):
                os.killpg(session, signal.SIGINT)
            raise
    return [found[part] for part in parts]


def _run_part(part: Part, sessions: set[int] | None = None) -> Result:
    """`sessions`: others run beside it; what has little weight leaves its session's id there."""
    heading(f"{part.name}: {part.what}")
    started = time.monotonic()
    try:
        scripts, note = _environment(part)
    except BedError as error:
        console.print(f"[red]{error}[/]")
        return Result(part, ("set-up",), (), time.monotonic() - started, note=str(error))
    label = "" if sessions is None else f"{part.name:>11} "
    clock = part.watches_clock or part.track is Track.CLOCK
    light = None if clock else sessions
    failed, closing, red = [], [], []
    for command in part.commands:
        code, last, names = _stream(scripts, command, label, light)
        red += names
        if code != 0:
            failed.append(" ".join(command[:4]) + (" (no test!)" if code == NO_TESTS else ""))
        if "pytest" in command:
            closing.append(last)
    took_s = time.monotonic() - started
    return Result(part, tuple(failed), tuple(closing), took_s, tuple(red), note)


def _environment(part: Part) -> tuple[Path, str]:
    """Where the part's programs stand when all that it needs is there, and a word on that."""
    with SETTING_UP if part.needs or part.on_images_python else contextlib.nullcontext():
        for need in part.needs:
            need()
        return _images_python() if part.on_images_python else (SCRIPTS, "")


def _images_python() -> tuple[Path, str]:
    """An environment of the images' Python in the cache, unless that is what runs here."""
    if sys.version.startswith(f"{images.PYTHON}."):
        return SCRIPTS, ""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{images.PYTHON}*/bin/python"))
    wanted = str(pyenv[-1]) if pyenv else images.PYTHON
    directory = paths.cache() / f"venv-{images.PYTHON}"
    command = [binaries.uv(), "sync", "--frozen", "-q", "--python", wanted]
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(directory)}
    result = subprocess.run(
        command, env=environment, cwd=paths.REPOSITORY, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        return SCRIPTS, f"NOT on {images.PYTHON}, the images' Python: none is here or to be had"
    return directory / "bin", f"on Python {images.PYTHON}, the images'"


def _stream(
    scripts: Path, command: tuple[str, ...], label: str, light: set[int] | None
) -> tuple[int, str, list[str]]:
    """Run it with its output shown; its exit code, its last line, and the tests that failed."""
    words = [str(scripts / command[0]), *command[1:]]
    console.print(f"[dim]$ {' '.join(command)}[/]")
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{debian.SEARCH_PATH}"}
    process = subprocess.Popen(
        words,
        cwd=paths.REPOSITORY,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=light is not None,
    )
    if light is not None:
        light.add(process.pid)
        _give_little_weight(process.pid)
    assert process.stdout is not None
    last, red = "", []
    with process.stdout as lines:
        for line in lines:
            sys.stdout.write(label + line)
            sys.stdout.flush()
            last = line.strip() or last
            if FAILURE.match(line):
                red.append(line.strip())
    code = process.wait()
    if light is not None:
        light.discard(process.pid)
    return code, last, red


def _give_little_weight(session: int) -> None:
    """Linux shares cores among sessions first, and by `nice` among the processes of one."""
    os.setpriority(os.PRIO_PROCESS, session, LITTLE_WEIGHT)
    with contextlib.suppress(OSError):  # no such groups here: `nice` alone has to do
        Path(f"/proc/{session}/autogroup").write_text(str(LITTLE_WEIGHT))


def _report(results: Sequence[Result]) -> None:
    table = Table(title="make test", title_justify="left")
    table.add_column("part")
    table.add_column("result")
    table.add_column("s", justify="right")
    table.add_column("what")
    for result in results:
        state = "[green]passed[/]"
        if result.failed:
            state = "[red]FAILED[/]"
        said = "; ".join((*(result.failed or result.closing), result.note))
        table.add_row(result.part.name, state, f"{result.took_s:.0f}", said.strip("=; "))
    console.print()
    console.print(table)
    closing = [line for result in results for line in result.closing]
    for line in closing:
        print(line)
    counts = {
        word: sum(map(int, re.findall(rf"(\d+) {word}", " ".join(closing)))) for word in WORDS
    }
    for line in [line for result in results for line in result.red][:SHOWN_FAILURES]:
        print(line)
    print(f"total: {counts['passed']} passed, {counts['failed'] + counts['error']} failed")
