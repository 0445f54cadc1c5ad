"""A run told in words, and as a page. Pure. Read next: `timeline`, the plot on that page."""

from __future__ import annotations

import collections
import html
import itertools
import os

from quorate_broker.testing.chaos.faults import FAULTS
from quorate_broker.testing.chaos.runner import Phase, Result
from quorate_broker.testing.chaos.timeline import timeline

_SHOWN = 100
_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1260px; color: #1b2733 }
table { border-collapse: collapse } td, th { padding: 2px 12px 2px 0; text-align: left }
td.n { text-align: right; font-variant-numeric: tabular-nums } svg { width: 100%; height: auto }
.ok { color: #1a7f4b } .bad { color: #b3261e } .late { background: #fde8e6 }
@media (prefers-color-scheme: dark) { body { background: #12181f; color: #dbe4ee } }
"""


def summary(result: Result) -> str:
    """For the terminal."""
    lines = [f"{_what(result)}, {result.seconds:.0f} s, {len(result.phases)} phases"]
    lines += [f"  {name}: {figure}" for name, figure in figures(result)]
    counted = collections.Counter(violation.kind for violation in result.violations)
    lines += [f"VIOLATION {kind}: {times}" for kind, times in counted.items()]
    shown: collections.Counter[str] = collections.Counter()
    for violation in result.violations:
        shown[violation.kind] += 1
        if shown[violation.kind] <= 5:
            lines.append(f"  {violation.kind}: {violation.sentence}")
    lines.append("FAILED" if result.violations else "no violation")
    return "\n".join(lines)


def figures(result: Result) -> list[tuple[str, str]]:
    history = result.workload.history
    acked = sum(send.acked for send in history.sends)
    writes = sorted(p.writes_after_s for p in result.phases if p.writes_after_s is not None)
    whole = sorted(p.whole_after_s for p in result.phases if p.whole_after_s is not None)
    longest = _longest_gap([s.ended_s for s in history.sends if s.acked and s.ended_s])
    return [
        ("values written", f"{len(history.sends)}, {acked} acknowledged"),
        ("values polled by the group", str(len(history.polls))),
        ("offset commits", f"{len(history.commits)}, seen {len(history.committed)} times"),
        ("topics created and deleted", str(len(history.operations))),
        ("complete reads of a partition", str(len(history.reads))),
        ("writes again after healing", _quantiles(writes)),
        ("all replicas in sync after healing", _quantiles(whole)),
        ("longest time without any acknowledgement", f"{longest:.1f} s"),
        ("memory of the brokers at the end", f"{', '.join(map(str, result.memory_mb))} MB"),
        ("load of the machine", f"{_loads(result)}, {os.cpu_count()} processors"),
        ("kinds of faults", f"{len(_drawn(result))} of {len(FAULTS)}"),
    ]


def _what(result: Result) -> str:
    return f"seed {result.plan.seed} at {result.commit}"


def _loads(result: Result) -> str:
    loads = sorted(phase.load for phase in result.phases) or [0.0]
    return f"p50 {loads[len(loads) // 2]:.1f}, highest {loads[-1]:.1f}"


def _drawn(result: Result) -> collections.Counter[str]:
    return collections.Counter(kind for phase in result.phases for kind in phase.kinds)


def page(result: Result) -> str:
    """The HTML report; needs nothing from anywhere else."""
    verdict = (
        f'<p class="bad">{len(result.violations)} violations</p>'
        if result.violations
        else '<p class="ok">No violation: nothing acknowledged was lost, doubled, reordered, made '
        "up or left unread; committed offsets never moved back; the cluster served again.</p>"
    )
    bad = "".join(
        f"<li><b>{html.escape(v.kind)}</b> {html.escape(v.sentence)}</li>"
        for v in result.violations[:_SHOWN]
    )
    rows = "".join(
        f"<tr><td>{name}</td><td>{html.escape(value)}</td></tr>" for name, value in figures(result)
    )
    phases = "".join(_phase_row(phase, result.plan.live_within_s) for phase in result.phases)
    return (
        "<!doctype html><meta charset=utf-8><title>Chaos</title>"
        f"<style>{_STYLE}</style><h1>Chaos, {_what(result)}</h1>{verdict}<ul>{bad}</ul>"
        f"{timeline(result)}<h2>Figures</h2><table>{rows}</table><h2>Phases</h2><table>"
        "<tr><th>begun<th>healed<th>fault<th>writes after<th>in sync after</tr>"
        f"{phases}</table><h2>Faults, by rows of the matrix</h2>"
        f"<table>{_fault_rows(result)}</table>"
        f"<h2>Again</h2><pre>python -m quorate_broker.testing.chaos --minutes "
        f"{result.plan.minutes:g} --seed {result.plan.seed} --faults "
        f"{','.join(result.plan.faults)}</pre>\n"
    )


def _fault_rows(result: Result) -> str:
    drawn = _drawn(result)
    ordered = sorted(FAULTS, key=lambda kind: (FAULTS[kind].rows, kind))
    return "".join(
        f'<tr><td class="n">{", ".join(map(str, FAULTS[kind].rows))}<td>{kind}'
        f'<td class="n">{drawn[kind]} times</tr>'
        for kind in ordered
    )


def _phase_row(phase: Phase, limit_s: float) -> str:
    late = phase.writes_after_s is None or phase.writes_after_s > limit_s
    css = ' class="late"' if late or phase.whole_after_s is None else ""
    return (
        f'<tr{css}><td class="n">{phase.begun_s:.1f} s<td class="n">{phase.healed_s:.1f} s'
        f'<td>{html.escape(phase.text)}<td class="n">{_seconds(phase.writes_after_s)}'
        f'<td class="n">{_seconds(phase.whole_after_s)}</tr>'
    )


def _longest_gap(times: list[float]) -> float:
    times.sort()
    return max((b - a for a, b in itertools.pairwise(times)), default=0.0)


def _quantiles(seconds: list[float]) -> str:
    """Of a sorted list."""
    if not seconds:
        return "never"
    p50, p95 = seconds[len(seconds) // 2], seconds[min(len(seconds) - 1, len(seconds) * 95 // 100)]
    return f"p50 {p50:.1f} s, p95 {p95:.1f} s, longest {seconds[-1]:.1f} s"


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"
