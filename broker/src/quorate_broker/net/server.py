"""The Kafka side of the node: one listener, its connections, and what they share.

`serve` opens a listener; every accepted socket becomes a `connection.Connection`. The server holds
what no connection can hold alone: the number of connections, their turns, the byte budget of their
buffers, the task group in which slow handlers live, and the sweep that finds the idle and the
stuck. Next: `connection`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from quorate_broker.net.budget import Budget
from quorate_broker.net.complaints import Complaints
from quorate_broker.net.connection import Connection
from quorate_broker.net.limits import Limits
from quorate_broker.net.turns import Turns

if TYPE_CHECKING:
    from quorate_broker import config
    from quorate_broker.api.context import Context

_BACKLOG = 1024


class Server:
    """One open listener. Made by `serve`."""

    def __init__(
        self,
        context: Context,
        listener: config.Listener,
        limits: Limits,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.context = context
        self.listener = listener
        self.limits = limits
        self.tasks = tasks
        # The longest frame must fit while others hold a little, or it would wait for ever.
        self.budget = Budget(max(limits.buffer_budget_bytes, 2 * limits.max_frame_bytes))
        self.turns = Turns(limits.max_begun_per_turn)
        self.complaints = Complaints(context.clock.monotonic_ms)
        self.closing = False
        self._connections: dict[Connection, None] = {}  # in order of coming, for replays
        self._by_host: Counter[str] = Counter()
        self._empty = asyncio.Event()
        self._empty.set()
        self._listening: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    def limit(self, limits: Limits) -> None:
        """From now on; a connection that is open keeps the longest frame that it began with."""
        self.limits = limits
        # Never smaller: somebody may stand in line with a long frame.
        self.budget.limit = max(self.budget.limit, 2 * limits.max_frame_bytes)

    @property
    def port(self) -> int:
        """Where it listens; tells which port the system chose when the listener asked for 0."""
        assert self._listening is not None
        port: int = self._listening.sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def open(self) -> None:
        """Bind and accept."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(
            lambda: Connection(self), self.listener.host, self.listener.port, backlog=_BACKLOG
        )
        self._sweep()

    async def close(self) -> None:
        """Accept nothing more, let what is under way be answered for a moment, then hang up."""
        self.closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._listening is not None:
            self._listening.close()
        for connection in list(self._connections):
            if connection.busy:
                connection.stop_reading()
            else:
                connection.close()
        for step in (Connection.close, Connection.abort):
            try:
                async with asyncio.timeout(self.limits.close_grace_ms / 1000):
                    await self._empty.wait()
            except TimeoutError:
                for connection in list(self._connections):
                    step(connection)
        await self._empty.wait()

    # ------------------------------------------------------------- what the connections call

    def admit(self, connection: Connection) -> bool:
        """Count a connection in; False when there are too many."""
        host = connection.peer_host
        self._connections[connection] = None
        self._by_host[host] += 1
        self._empty.clear()
        if self.closing or len(self._connections) > self.limits.max_connections:
            self.complaints.tell(host, "refused", f"{len(self._connections) - 1} connections")
            return False
        if self._by_host[host] > self.limits.max_connections_per_ip:
            held = self._by_host[host] - 1
            self.complaints.tell(host, "refused", f"{held} connections from there")
            return False
        connection.idle_since_ms = self.context.clock.monotonic_ms()
        return True

    def forget(self, connection: Connection) -> None:
        """Count a connection out."""
        self._connections.pop(connection, None)
        self._by_host[connection.peer_host] -= 1
        if not self._by_host[connection.peer_host]:
            del self._by_host[connection.peer_host]
        if not self._connections:
            self._empty.set()

    def relieve(self) -> None:
        """Somebody waits for memory: take it from those who do not use theirs."""
        for connection in list(self._connections):
            connection.shed()

    # -------------------------------------------------------------------------------- sweeping

    def _sweep(self) -> None:
        """Find the idle and the stuck; runs a few times within the shortest deadline."""
        now_ms = self.context.clock.monotonic_ms()
        for connection in list(self._connections):
            self._judge(connection, now_ms)
        pause_ms = min(self.limits.max_idle_ms, self.limits.frame_deadline_ms) / 4
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(pause_ms / 1000, self._sweep)

    def _judge(self, connection: Connection, now_ms: int) -> None:
        if connection.active or connection.waiting:
            connection.active = False
            connection.idle_since_ms = now_ms
        elif now_ms - connection.idle_since_ms >= self.limits.max_idle_ms:
            self.complaints.tell(connection.peer_host, "closed", "idle")
            connection.abort()
            return
        else:
            connection.shed()
        begun = connection.begun_bytes
        if not begun:
            connection.partial = None
        elif connection.partial is None or connection.partial[0] != connection.frames_read:
            connection.partial = (connection.frames_read, now_ms)
        else:
            allowed_ms = self.limits.frame_deadline_ms + begun * 1000 // self.limits.min_rate
            if now_ms - connection.partial[1] >= allowed_ms:
                reason = f"a frame of {begun} bytes takes too long"
                self.complaints.tell(connection.peer_host, "closed", reason)
                connection.abort()


async def serve(
    context: Context, listener: config.Listener, limits: Limits, tasks: asyncio.TaskGroup
) -> Server:
    """Open `listener`. Handlers that wait become tasks of `tasks`; close the server before it."""
    server = Server(context, listener, limits, tasks)
    await server.open()
    return server
