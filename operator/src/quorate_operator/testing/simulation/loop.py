"""An event loop whose clock jumps to whatever is due next: a day passes in a moment.

Nothing in it may wait for a socket or a thread. When nothing is due and nothing is ready, nothing
will ever happen again, and that is an error.
"""

from __future__ import annotations

import asyncio
import datetime
import heapq
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")
EPOCH: Final = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


class Standstill(Exception):
    """Everybody waits for somebody else."""


class VirtualLoop(asyncio.BaseEventLoop):
    """asyncio's own, but for the turn: nothing comes from outside, and nobody waits."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[Any]

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0

    def time(self) -> float:
        return self._now_s

    def _run_once(self) -> None:
        due, ready = self._scheduled, self._ready
        while due and due[0].cancelled():
            heapq.heappop(due)._scheduled = False
        if not ready:
            if not due:
                raise Standstill
            self._now_s = max(self._now_s, due[0].when())
        while due and due[0].when() <= self._now_s:
            handle = heapq.heappop(due)
            handle._scheduled = False
            ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()


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
