"""Run seeds of the simulator by hand.

    python -m quorate_broker.testing.simulate --seeds 10000 [--first 0] [--jobs 1] [--twice 10]
    python -m quorate_broker.testing.simulate --replay 892

Seeds run on all cores, each twice (the traces must be equal), or every tenth. What each gave is
kept in a file that is named by the commit, so that an interrupted run goes on where it was; a tree
with changes begins anew. Exits 1 when a seed found something, or when a batch of at least 200
never met some kind of trouble. A replay tells everything that happens, line by line. Next:
`simulation.run`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import msgspec

from quorate_broker.testing import repository
from quorate_broker.testing.simulation import layers
from quorate_broker.testing.simulation.batch import Batch, Outcome, run_twice

_ENOUGH_SEEDS = 200
_KEPT = pathlib.Path(".cache/simulation")
_CHUNK = 4
_outcomes = msgspec.json.Decoder(Outcome)


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="simulate", description="Deterministic cluster tests.")
    parser.add_argument("--seeds", type=int, default=_ENOUGH_SEEDS, help="how many (200)")
    parser.add_argument("--first", type=int, default=0, help="the first one (0)")
    parser.add_argument("--layer", choices=sorted(layers.LAYERS), default="core")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--twice", type=int, default=1, help="every n-th is run twice (1: all)")
    parser.add_argument("--replay", type=int, help="this seed alone, with all it says")
    chosen = parser.parse_args(arguments)
    if chosen.replay is not None:
        return _replay(chosen.layer, chosen.replay)
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    return _run(chosen.layer, seeds, chosen.jobs, chosen.twice)


def _run(layer: str, seeds: range, jobs: int, twice: int) -> int:
    commit = repository.commit()
    batch = Batch()
    kept = _KEPT / f"{layer}-{commit}.jsonl"
    done = _known(kept) if "+" not in commit else {}
    for seed in seeds:
        if seed in done:
            batch.add(done[seed])
    if batch.seeds:
        _say(f"{batch.seeds} seeds of {commit} are known from {kept}\n")
    left = [seed for seed in seeds if seed not in done]
    before = batch.seeds
    began_s = time.perf_counter()
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.open("ab" if done else "wb") as file:
        for outcome in _outcomes_of(layer, left, jobs, twice):
            batch.add(outcome)
            file.write(msgspec.json.encode(outcome) + b"\n")
            file.flush()
            if outcome.error:
                _say("\n")
                _tell(layer, outcome, commit)
            _progress(batch, len(seeds), before, began_s)
    _say("\n")
    return _verdict(layer, batch)


def _verdict(layer: str, batch: Batch) -> int:
    for kind, times in sorted(batch.seen.items()):
        _say(f"  {kind}: {times}\n")
    unseen = batch.unseen(layers.LAYERS[layer]) if batch.seeds >= _ENOUGH_SEEDS else []
    if unseen:
        _say(f"never seen: {', '.join(unseen)}\n")
    failed = [outcome.seed for outcome in batch.failures]
    mean_s = batch.cpu_ms / 1_000 / max(batch.seeds, 1)
    _say(
        f"{batch.seeds} seeds, {mean_s:.3f} s of a core each, healthy again after at most "
        f"{batch.healed_us / 1_000_000:.1f} s, {len(failed)} failed"
        f"{': ' if failed else ''}{str(failed)[1:-1]}\n"
    )
    return 1 if unseen or failed else 0


def _outcomes_of(layer: str, seeds: list[int], jobs: int, twice: int) -> Iterator[Outcome]:
    if jobs == 1:
        for seed in seeds:
            yield _outcome_of(layer, seed, twice)
        return
    context = multiprocessing.get_context("spawn")
    chunks = [(layer, seeds[at : at + _CHUNK], twice) for at in range(0, len(seeds), _CHUNK)]
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for found in pool.map(_run_chunk, chunks):
            yield from found


def _run_chunk(chunk: tuple[str, list[int], int]) -> list[Outcome]:
    layer, seeds, twice = chunk
    return [_outcome_of(layer, seed, twice) for seed in seeds]


def _outcome_of(layer: str, seed: int, twice: int) -> Outcome:
    chosen = layers.LAYERS[layer]
    return chosen.run(seed, None) if seed % twice else run_twice(chosen, seed)


def _progress(batch: Batch, count: int, before: int, began_s: float) -> None:
    passed_s = max(time.perf_counter() - began_s, 0.001)
    rate = (batch.seeds - before) / passed_s
    left_s = (count - batch.seeds) / rate
    _say(
        f"\r{batch.seeds}/{count} seeds, {rate:.1f} seeds/s, {left_s:.0f} s left, "
        f"{batch.events} events, {batch.acked} acknowledged, {len(batch.failures)} failed  "
    )


def _replay(layer: str, seed: int) -> int:
    def tell(line: str) -> None:
        _say(line + "\n")

    outcome = layers.LAYERS[layer].run(seed, tell)
    _say(f"{repository.commit()} seed {seed}: {outcome.options}\n")
    if outcome.error:
        _say(outcome.error)
        return 1
    again = run_twice(layers.LAYERS[layer], seed)
    _say(
        f"{outcome.events} events, {outcome.acked} acknowledged, healthy again after "
        f"{outcome.healed_us // 1000} ms, trace {outcome.trace:08x}\n{again.error}"
    )
    return 1 if again.error else 0


def _tell(layer: str, outcome: Outcome, commit: str) -> None:
    _say(f"seed {outcome.seed} of layer {layer}, commit {commit}: {outcome.options}\n")
    _say("  " + "\n  ".join(outcome.lately[-12:]) + "\n")
    _say(outcome.error)
    _say(f"replay it: make sim-replay SEED={outcome.seed} LAYER={layer}\n")


def _known(kept: pathlib.Path) -> dict[int, Outcome]:
    if not kept.exists():
        return {}
    lines = kept.read_bytes().split(b"\n")[:-1]  # the last one may be cut short
    found = [_outcomes.decode(line) for line in lines]
    return {outcome.seed: outcome for outcome in found}


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
