"""The plot of a run: what was acknowledged and polled, how long it took, when there was trouble.

Two plots over one time axis, as one SVG without anything from elsewhere. Pure. Next: `report`.
"""

from __future__ import annotations

import collections
import html
import math
from collections.abc import Iterable, Mapping

from quorate_broker.testing.chaos.faults import DISKS, FAULTS, LINKS, MEMBERS
from quorate_broker.testing.chaos.runner import Phase, Result

WIDTH, LEFT = 1200, 56
RATE_BOTTOM, WAIT_TOP, WAIT_BOTTOM, HEIGHT = 230, 256, 346, 396
FASTEST_MS, SLOWEST_MS = 1.0, 30_000.0
"""The scale of waiting is logarithmic."""
ACKED, POLLED, WAITED = "#1668dc", "#e08a00", "#8a3ffc"
COLOURS = {LINKS: "#b3261e", DISKS: "#00897b", MEMBERS: "#c27c00"}
BROKER = "#6b7280"
"""Of trouble with a whole broker."""


def timeline(result: Result) -> str:
    """Values a second, and their p99, over the times of trouble."""
    history = result.workload.history
    sends = [(send.begun_s, send.ended_s) for send in history.sends if send.acked and send.ended_s]
    acked = _per_second(ended_s for _, ended_s in sends)
    polled = _per_second(poll.at_s for poll in history.polls)
    usual = sorted(polled.values())[: max(1, len(polled) * 98 // 100)]
    top = max([10, *acked.values(), *usual])
    scale_x = (WIDTH - LEFT) / max(1.0, result.seconds)
    rate = {
        name: {s: _rate_y(n, top) for s, n in counts.items()}
        for name, counts in ((POLLED, polled), (ACKED, acked))
    }
    lines = [_line(_filled(points, result), colour, scale_x) for colour, points in rate.items()]
    waits = {second: _wait_y(ms) for second, ms in _p99_ms(sends).items()}
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" font-size="11" fill="currentColor">'
        f"{''.join(_band(phase, scale_x) for phase in result.phases)}"
        f"{_axes(top)}{_ticks(result.seconds, scale_x)}{''.join(lines)}"
        f"{_line(waits, WAITED, scale_x)}{_legend()}</svg>"
    )


def _rate_y(count: int, top: int) -> float:
    return RATE_BOTTOM * (1 - min(top, count) / top)


def _wait_y(milliseconds: float) -> float:
    inside = min(SLOWEST_MS, max(FASTEST_MS, milliseconds))
    part = math.log(inside / FASTEST_MS) / math.log(SLOWEST_MS / FASTEST_MS)
    return WAIT_BOTTOM - (WAIT_BOTTOM - WAIT_TOP) * part


def _filled(points: Mapping[int, float], result: Result) -> dict[int, float]:
    """A second without any is a zero."""
    return {s: points.get(s, float(RATE_BOTTOM)) for s in range(int(result.seconds) + 1)}


def _line(points: Mapping[int, float], colour: str, scale_x: float) -> str:
    shown = " ".join(f"{LEFT + s * scale_x:.1f},{y:.1f}" for s, y in sorted(points.items()))
    return f'<polyline points="{shown}" fill="none" stroke="{colour}" stroke-width="1.2"/>'


def _axes(top: int) -> str:
    """What the heights mean."""
    marks = [(10.0, f"{top}/s"), (float(RATE_BOTTOM), "0")]
    marks += [
        (_wait_y(ms) + 4, text) for ms, text in ((1, "1 ms"), (100, "0.1 s"), (10_000, "10 s"))
    ]
    return "".join(f'<text x="0" y="{y:.0f}">{text}</text>' for y, text in marks)


def _ticks(seconds: float, scale_x: float) -> str:
    step = max(30, int(seconds) // 12 // 30 * 30)
    return "".join(
        f'<text x="{LEFT + s * scale_x:.0f}" y="{WAIT_BOTTOM + 16}">{s // 60}:{s % 60:02}</text>'
        for s in range(0, int(seconds), step)
    )


def _legend() -> str:
    named = [(ACKED, "acknowledged per second"), (POLLED, "polled by the group per second")]
    named += [(WAITED, "p99 until acknowledged"), (BROKER, "trouble (point at it): a broker")]
    named += [(colour, what) for what, colour in COLOURS.items()]
    texts = []
    x = float(LEFT)
    for colour, text in named:
        texts.append(f'<text x="{x:.0f}" y="{HEIGHT - 8}" fill="{colour}">{text}</text>')
        x += 6.2 * len(text) + 24
    return "".join(texts)


def _band(phase: Phase, scale_x: float) -> str:
    x = LEFT + phase.begun_s * scale_x
    width = max(1.5, (phase.healed_s - phase.begun_s) * scale_x)
    colour = COLOURS.get(FAULTS[phase.kinds[0]].concerns, BROKER)
    return (
        f'<rect x="{x:.1f}" y="0" width="{width:.1f}" height="{WAIT_BOTTOM}" fill="{colour}" '
        f'opacity="0.2"><title>{html.escape(phase.text)}</title></rect>'
    )


def _p99_ms(sends: Iterable[tuple[float, float]]) -> dict[int, float]:
    """By the second in which they were sent."""
    waits: dict[int, list[float]] = collections.defaultdict(list)
    for begun_s, ended_s in sends:
        waits[int(begun_s)].append((ended_s - begun_s) * 1000)
    return {second: sorted(each)[len(each) * 99 // 100] for second, each in waits.items()}


def _per_second(times: Iterable[float]) -> dict[int, int]:
    return dict(collections.Counter(int(at) for at in times))
