"""Run seeds of the operator's simulation by hand.

    python -m quorate_operator.testing.simulate --seeds 1000 [--first 0]
    python -m quorate_operator.testing.simulate --replay SEED

A seed that breaks a law is printed with what led to it; `--replay` prints the whole of one run.
"""

from __future__ import annotations

import argparse
import collections
import sys

from quorate_operator.testing.simulation import world

LAST_LINES = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many (100)")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--replay", type=int, metavar="SEED")
    chosen = parser.parse_args()
    if chosen.replay is not None:
        report = world.run(chosen.replay)
        sys.stdout.write("\n".join([*report.trace, report.breach]) + "\n")
        return bool(report.breach)
    return _run(chosen.first, chosen.seeds)


def _run(first: int, count: int) -> int:
    seen: collections.Counter[str] = collections.Counter()
    for seed in range(first, first + count):
        report = world.run(seed)
        seen += report.seen
        sys.stderr.write(f"\r{seed - first + 1}/{count} seeds")
        if report.breach:
            lines = [*report.trace[-LAST_LINES:], f"seed {seed}: {report.breach}"]
            sys.stdout.write("\n" + "\n".join(lines) + "\n")
            return 1
    sys.stderr.write("\n")
    for what, times in sorted(seen.items()):
        sys.stdout.write(f"{times:8} {what}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
