"""Run seeds of the simulator by hand.

    python -m quorate_broker.testing.simulate --seeds 1000 [--first 0]
    python -m quorate_broker.testing.simulate --replay 892

Exits 1 when a seed found something, or when a batch of at least 200 never met some kind of
trouble. A replay runs its seed twice and compares the traces. Next: `simulation.run`.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from quorate_broker.testing.simulation.batch import Batch, Failure, run_seed, run_seeds
from quorate_broker.testing.simulation.run import simulate

_ENOUGH_SEEDS = 200


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="simulate", description="Deterministic cluster tests.")
    parser.add_argument("--seeds", type=int, default=_ENOUGH_SEEDS, help="how many (200)")
    parser.add_argument("--first", type=int, default=0, help="the first one (0)")
    parser.add_argument("--replay", type=int, help="this seed alone, with all it says")
    chosen = parser.parse_args(arguments)
    if chosen.replay is not None:
        return _replay(chosen.replay)
    return _run(chosen.first, chosen.seeds)


def _run(first: int, count: int) -> int:
    began_s = time.perf_counter()

    def progress(batch: Batch) -> None:
        each_s = (time.perf_counter() - began_s) / batch.seeds
        _say(
            f"\r{batch.seeds}/{count} seeds, {each_s:.3f} s each, {batch.events} events, "
            f"{batch.acked} acknowledged, {len(batch.failures)} failed"
        )

    batch = run_seeds(first, count, progress)
    _say("\n")
    for kind, times in sorted(batch.seen.items()):
        _say(f"  {kind}: {times}\n")
    for failure in batch.failures:
        _tell(failure)
    if count >= _ENOUGH_SEEDS and batch.unseen:
        _say(f"never seen: {', '.join(batch.unseen)}\n")
        return 1
    return 1 if batch.failures else 0


def _replay(seed: int) -> int:
    batch = Batch()
    run_seed(seed, batch)
    for failure in batch.failures:
        _tell(failure)
        _say("lately:\n  " + "\n  ".join(failure.lately) + "\n")
        return 1
    first, second = simulate(seed), simulate(seed)
    _say(f"{first.options.describe()}\n")
    _say(
        f"{first.events} events, {first.acked} acknowledged, healthy again after "
        f"{first.healed_us // 1000} ms, trace {first.trace:08x}\n"
    )
    if first.trace != second.trace:
        _say(f"NOT DETERMINISTIC: the second run's trace is {second.trace:08x}\n")
        return 1
    return 0


def _tell(failure: Failure) -> None:
    _say(f"seed {failure.seed}: {failure.options}\n")
    _say("".join(traceback.format_exception(failure.error)))
    _say(f"replay it: python -m quorate_broker.testing.simulate --replay {failure.seed}\n")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
