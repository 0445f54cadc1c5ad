"""Progress a person can read: one line per step, with the time it took.

On a terminal the running step has a spinner; in a log each finished step is one line. Steps nest by
being called one after the other, never inside each other, so that the log reads from top to bottom.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console

console = Console(highlight=False, soft_wrap=True)


class BedError(Exception):
    """What a person has to know to go on; printed without a traceback."""


@dataclass(slots=True)
class Step:
    """The step that is running; `note` is printed behind its name when it is done."""

    name: str
    note: str = ""
    started_s: float = field(default_factory=time.monotonic)

    @property
    def took_s(self) -> float:
        return time.monotonic() - self.started_s


@contextlib.contextmanager
def step(name: str) -> Iterator[Step]:
    """Show `name` while the block runs, then how long it took and how it ended."""
    running = Step(name)
    try:
        if console.is_terminal:
            with console.status(name):
                yield running
        else:
            yield running
    except BaseException:
        console.print(f"[red]✗[/] {name} [dim]{running.took_s:.1f} s[/]")
        raise
    note = f" [dim]({running.note})[/]" if running.note else ""
    console.print(f"[green]✓[/] {name}{note} [dim]{running.took_s:.1f} s[/]")


def heading(text: str) -> None:
    console.print(f"\n[bold]{text}[/]")
