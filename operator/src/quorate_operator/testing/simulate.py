"""Run seeds of the operator's simulation by hand.

    python -m quorate_operator.testing.simulate --seeds 2000 [--first 0]
    python -m quorate_operator.testing.simulate --replay 7

Seeds run on all cores, every eighth twice (the traces must be equal). A seed that breaks a law is
told with its options, the commit and what led to it; a replay tells everything, line by line. Exits
1 when a seed found something, or when a batch of at least 100 never met some kind of trouble.

Read next: `simulation/batch.py`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from quorate_operator.testing.simulation import world
from quorate_operator.testing.simulation.batch import ENOUGH, Batch, run_seed
from quorate_operator.testing.simulation.world import Report


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="simulate", description="The operator in virtual time.")
    parser.add_argument("--seeds", type=int, default=ENOUGH, help=f"how many ({ENOUGH})")
    parser.add_argument("--first", type=int, default=0, help="the first one (0)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", type=int, metavar="SEED", help="this one, with all of it")
    chosen = parser.parse_args(arguments)
    if chosen.replay is not None:
        report = world.run(chosen.replay, tell=lambda line: _say(line + "\n"))
        _say(_head(report) + f"trace {report.trace:08x}\n{report.breach}\n")
        return bool(report.breach)
    return _run(range(chosen.first, chosen.first + chosen.seeds), chosen.processes)


def _run(seeds: range, processes: int) -> int:
    batch = Batch()
    began_s = time.perf_counter()
    for report in _reports(seeds, processes):
        batch.add(report)
        if report.breach:
            lines = "\n  ".join(report.lately)
            _say(f"\n{_head(report)}  {lines}\n{report.breach}\n")
            _say(f"replay it: make sim-operator-replay SEED={report.seed}\n")
        rate = batch.seeds / max(time.perf_counter() - began_s, 0.001)
        left_s = (len(seeds) - batch.seeds) / rate
        failed = len(batch.failures)
        told = f"{batch.seeds}/{len(seeds)} seeds, {rate:.2f}/s"
        _say(f"\r{told}, {left_s:.0f} s left, {failed} failed ")
    _say("\n")
    for what, times in sorted(batch.seen.items()):
        _say(f"{times:8} {what}\n")
    unseen = batch.unseen() if batch.seeds >= ENOUGH else []
    if unseen:
        _say(f"never seen: {', '.join(unseen)}\n")
    failed_seeds = [one.seed for one in batch.failures]
    _say(
        f"{batch.seeds} seeds at {_commit()}, {batch.cpu_s / max(batch.seeds, 1):.2f} s of a core "
        f"each, {len(failed_seeds)} failed {failed_seeds or ''}\n"
    )
    return bool(unseen or failed_seeds)


def _reports(seeds: range, processes: int) -> Iterator[Report]:
    if processes == 1:
        yield from map(run_seed, seeds)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from pool.map(run_seed, seeds, chunksize=4)


def _head(report: Report) -> str:
    return f"seed {report.seed}, commit {_commit()}: {report.options}\n"


def _commit() -> str:
    """Of the tree it runs in; with a + when that has changes in the operator."""
    git = ["git", "-C", str(pathlib.Path(__file__).parent)]
    try:
        head, changes = (
            subprocess.run([*git, *words], capture_output=True, check=True, text=True).stdout
            for words in (
                ("rev-parse", "--short", "HEAD"),
                ("status", "--porcelain", ":/operator/src"),
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return "no-commit+"
    return head.strip() + "+" * bool(changes)


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
