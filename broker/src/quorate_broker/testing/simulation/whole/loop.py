"""An asyncio event loop whose time is virtual: one per process, all on one `Scheduler`.

It has no selector, no sockets (see `tcp`) and no threads. Whatever is ready runs in a turn, and
turns are events of the scheduler like everything else, so that one heap decides what happens next
in the whole cluster. A paused machine's turns wait; a dead process has none. What a process still
had to do when it died is thrown away without any of its clean-up being noticed outside: its disk
and its network are gone before.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import contextlib
import heapq
import itertools
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from quorate_broker.testing.simulation.clock import HostClock
from quorate_broker.testing.simulation.whole.tcp import Fabric

_MOST_CLOSINGS = 20
TURN_US = 20
"""What a turn takes: a loop that spins does not stop time."""


class VirtualTask(asyncio.Task[Any]):
    """Hashed by number: asyncio walks over sets of tasks (a group that ends cancels them so), and
    by address their order would be another one in each run."""

    def __init__(self, number: int, coroutine: Any, **named: Any) -> None:
        self.number = number
        super().__init__(coroutine, **named)

    def __hash__(self) -> int:
        return self.number


class VirtualFuture(asyncio.Future[Any]):
    """Hashed by number, like tasks."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class VirtualLoop(asyncio.BaseEventLoop):
    """`not_before_us` tells when the next turn may be at the earliest (a pause)."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[Any]

    def __init__(
        self, fabric: Fabric, address: str, clock: HostClock, not_before_us: Callable[[], int]
    ) -> None:
        super().__init__()
        self.address = address
        self._fabric = fabric
        self._virtual = fabric.scheduler
        self._host_clock = clock
        self._not_before_us = not_before_us
        self._turn_us = -1
        self._live: dict[asyncio.Task[Any], None] = {}
        self._numbers = itertools.count(1)
        self.after_turn: Callable[[], None] = _nothing
        self.troubles: list[str] = []
        """What nobody handled: bugs."""
        self.set_exception_handler(self._trouble)

    # ------------------------------------------------------------------------------ what it is

    def time(self) -> float:
        return self._host_clock.monotonic_us() / 1_000_000

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        handle = super().call_soon(callback, *args, context=context)
        self._turn_at(self._virtual.now_us)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = super().call_at(when, callback, *args, context=context)
        self._turn_at(self._due_us(when))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return VirtualFuture(next(self._numbers), self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> asyncio.Task[Any]:
        task = VirtualTask(next(self._numbers), coro, loop=self, name=name, context=context)
        self._live[task] = None
        task.add_done_callback(self._live.pop)
        return task

    async def create_server(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        """Listen on this machine's address."""
        server = self._fabric.listen(self, port, factory)
        if options.get("start_serving", True):
            server.open()
        return server

    async def create_connection(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        """(transport, protocol), once the other end has accepted."""
        return await self._fabric.dial(self, (host, port), factory)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> Any:
        raise AssertionError("a node brings its own workers")

    # ----------------------------------------------------------------------------------- turns

    def _due_us(self, when: float) -> int:
        return self._host_clock.due_at_us(round(when * 1_000_000))

    def _turn_at(self, time_us: int) -> None:
        if self._turn_us < 0 or time_us < self._turn_us:
            self._turn_us = time_us
            self._virtual.at(time_us, lambda: self._turn(time_us))

    def _turn(self, time_us: int) -> None:
        if self._turn_us != time_us or self.is_closed():
            return
        now_us = self._virtual.now_us
        if self._not_before_us() > now_us:
            self._turn_us = self._not_before_us()
            self._virtual.at(self._turn_us, lambda: self._turn(self._turn_us))
            return
        self._turn_us = now_us  # whatever is asked for within the turn belongs to the next
        self._take_due()
        with self.entered():
            for _ in range(len(self._ready)):
                handle = self._ready.popleft()
                if not handle._cancelled:
                    handle._run()
                if self.is_closed():
                    return
        self._turn_us = -1
        self._arrange()
        self.after_turn()

    def _take_due(self) -> None:
        now = self.time() + 1e-9
        while self._scheduled and (
            self._scheduled[0]._cancelled or self._scheduled[0]._when <= now
        ):
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            if not handle._cancelled:
                self._ready.append(handle)

    def _arrange(self) -> None:
        if self._ready:
            self._turn_at(self._virtual.now_us + TURN_US)
        elif self._scheduled:
            soon_us = self._virtual.now_us + TURN_US
            self._turn_at(max(self._due_us(self._scheduled[0]._when), soon_us))

    @contextlib.contextmanager
    def entered(self) -> Any:
        """As if a callback of this loop ran."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(before)

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin something from outside."""
        with self.entered():
            return self.create_task(coroutine)

    def abandon(self) -> None:
        """The process is dead: nothing of it happens any more."""
        live = list(self._live)
        self._ready.clear()
        self._scheduled.clear()
        self.set_exception_handler(lambda *_: None)
        with self.entered():
            for task in live:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                coroutine: Any = task.get_coro()
                for _ in range(_MOST_CLOSINGS):  # a clean-up that awaits has to be told again
                    with contextlib.suppress(BaseException):
                        coroutine.close()
                        break
        self._ready.clear()
        self._scheduled.clear()
        self.close()

    def _write_to_self(self) -> None:
        pass

    def _process_events(self, event_list: Any) -> None:
        pass

    def _trouble(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        told = "".join(traceback.format_exception(error)) if error is not None else ""
        self.troubles.append(f"{context.get('message')}\n{told}")


def _nothing() -> None:
    pass
