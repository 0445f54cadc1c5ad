"""An HTTP server inside the node's own event loop, that leaves the signals to the node.

uvicorn's own `Server` takes SIGTERM for itself, wakes up ten times a second to look whether it
should stop, and ends the process when a port is taken. Here the port is bound first (an OSError
that the node can tell about), `serve` runs as a task of the node's TaskGroup, and `close` answers
long polls at once, lets other requests finish, and ends `serve`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.applications import Starlette

MAX_CONCURRENT_REQUESTS = 1_000
KEEP_ALIVE_SECONDS = 60
FINISH_SECONDS = 5
BACKLOG = 512
DATE_SECONDS = 1.0


class HttpServer:
    """One port. `bind`, then `serve` in a TaskGroup, then `close`.

    If the app has an asyncio.Event at `app.state.closing`, it is set by `close`.
    """

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._sockets: list[socket.socket] = []
        self._server = _Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                limit_concurrency=MAX_CONCURRENT_REQUESTS,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=FINISH_SECONDS,
            )
        )
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)

    @property
    def port(self) -> int:
        """The port that was bound (of use where 0 was asked for)."""
        return int(self._sockets[0].getsockname()[1]) if self._sockets else self._port

    def bind(self) -> None:
        """Take the port. OSError if it cannot be had."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        both = family == socket.AF_INET6 and self._host == "::"
        self._sockets = [
            socket.create_server(
                (self._host, self._port), family=family, backlog=BACKLOG, dualstack_ipv6=both
            )
        ]

    async def serve(self) -> None:
        """Answer requests until `close`."""
        assert self._sockets, "bind comes before serve"
        try:
            await self._server.serve(sockets=self._sockets)
        finally:
            self._server.abandon()
            self.release()

    def release(self) -> None:
        """Give the port back, also if `serve` never came to run."""
        for one in self._sockets:
            one.close()

    def close(self) -> None:
        """Take no new connections, answer long polls, let the rest finish."""
        closing = getattr(self._app.state, "closing", None)
        if isinstance(closing, asyncio.Event):
            closing.set()
        self._server.stop()


@contextlib.asynccontextmanager
async def serving(app: Starlette, host: str, port: int) -> AsyncIterator[HttpServer]:
    """An `HttpServer` that answers inside the block. OSError if the port cannot be had."""
    server = HttpServer(app, host, port)
    server.bind()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(), name=f"http {server.port}")
            try:
                yield server
            finally:
                server.close()
    except BaseExceptionGroup as failures:
        # One failure, of the block or of the server, is not made a group by being in here.
        if len(failures.exceptions) == 1:
            raise failures.exceptions[0] from None
        raise
    finally:
        server.release()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.servers: list[asyncio.base_events.Server] = []
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        self._stopping.set()

    def abandon(self) -> None:
        """After a cancelled `serve`: nothing is left open. After a clean one: nothing to do."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The signals belong to the node."""
        yield

    async def main_loop(self) -> None:
        """Refresh the Date header once a second, and stop at once when told to."""
        while not self.should_exit:
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_SECONDS):
                    await self._stopping.wait()
