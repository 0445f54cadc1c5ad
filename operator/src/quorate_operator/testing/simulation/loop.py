"""An event loop whose clock jumps to whatever is due next: a day passes in a moment.

Nothing in it may wait for a socket or a thread. When nothing is due and nothing is ready, nothing
will ever happen again, and that is an error.
"""

from __future__ import annotations

import asyncio
import datetime
import selectors
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")
EPOCH: Final = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


class Standstill(Exception):
    """Everybody waits for somebody else."""


class _Selector(selectors.DefaultSelector):
    """Instead of waiting, time is moved on."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Standstill
        self.now_s += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s


class VirtualClock:
    """The loop's time as `seams.Clock`."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def now(self) -> datetime.datetime:
        return EPOCH + datetime.timedelta(seconds=self.monotonic())


async def pass_time(seconds: float) -> None:
    """Virtual seconds: nobody waits."""
    await asyncio.sleep(seconds)


def run(story: Coroutine[Any, Any, T]) -> T:
    """Until it returns, in no time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)
