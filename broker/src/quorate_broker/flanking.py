"""A flanking node: a client beside the brokers, which no broker depends on.

It serves the HTTP Proxy (through aiokafka) and a small Admin API, stores nothing, votes for
nothing, and may come and go as it pleases. It tells the brokers that it lives every 3 s, by the
Admin API of any of them; whoever is told passes it on to the metadata leader, who forgets it after
10 s of silence. On a clean stop it says goodbye. Read next: `admin.flanking_registry` (the other
end), `proxy.remote`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import random
import socket

import aiohttp

from quorate_broker import config, seams
from quorate_broker.admin import flanking_app, metrics_port, serve
from quorate_broker.admin.flanking_registry import REGISTER_INTERVAL_MS
from quorate_broker.errors import KafkaError
from quorate_broker.proxy import app as proxy_app
from quorate_broker.proxy.remote import RemotePort

log = logging.getLogger(__name__)

EXIT_FAILED = 1
ASK_SECONDS = 2.0
RETRY_SECONDS = 0.5
GOODBYE_SECONDS = 2.0


async def run(
    settings: config.Settings, clock: seams.Clock, source: random.Random, stop: asyncio.Event
) -> int:
    """Serve until `stop` is set; the exit code."""
    node = FlankingNode(settings, clock, source)
    try:
        await node.run(stop)
    except OSError as error:
        log.error("cannot serve: %s", error)
        return EXIT_FAILED
    return 0


class FlankingNode:
    """One process; also the `FlankingView` of its own Admin API."""

    def __init__(
        self, settings: config.Settings, clock: seams.Clock, source: random.Random
    ) -> None:
        self.settings = settings
        self.version = importlib.metadata.version("quorate-broker")
        self.registered = False
        self._clock = clock
        self._started_ms = clock.monotonic_ms()
        self._incarnation = str(seams.new_uuid(source))
        self._port = RemotePort(settings)
        self._news = asyncio.Event()
        # The last one that answered stands first; which comes first of all is chance, so that
        # many flanking nodes do not all ask the same broker.
        self._urls = list(settings.admin_urls)
        source.shuffle(self._urls)

    @property
    def ready(self) -> bool:
        return self._port.ready

    @property
    def uptime_seconds(self) -> float:
        return (self._clock.monotonic_ms() - self._started_ms) / 1000

    async def run(self, stop: asyncio.Event) -> None:
        """Open both ports, then register and connect until told to stop."""
        settings = self.settings
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._port.stop)
            admin = flanking_app.build(self)
            await metrics_port.open_if_wanted(stack, admin, settings)
            proxy = proxy_app.build(self._port, settings.proxy_request_max_bytes)
            await stack.enter_async_context(
                serve.serving(admin, settings.admin_host, settings.admin_port)
            )
            await stack.enter_async_context(
                serve.serving(proxy, settings.proxy_host, settings.proxy_port)
            )
            session = await stack.enter_async_context(_session())
            async with asyncio.TaskGroup() as group:
                connecting = group.create_task(self._connect(), name="connect")
                registering = group.create_task(self._keep_registered(session), name="register")
                await stop.wait()
                connecting.cancel()
                registering.cancel()
            await self._say_goodbye(session)

    async def _connect(self) -> None:
        """Reach the brokers; once that is done the client keeps its connections itself."""
        while True:
            try:
                await self._port.start()
            except KafkaError as error:
                log.warning("no broker of %s yet: %s", self.settings.bootstrap_servers, error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                log.info("flanking node %d serves", self.settings.node_id)
                self._news.set()
                return

    async def _keep_registered(self, session: aiohttp.ClientSession) -> None:
        """Every 3 s, sooner when there is news, or when no broker took it."""
        while True:
            self._news.clear()
            before, self.registered = self.registered, await self._register(session)
            if before != self.registered:
                log.info("registered" if self.registered else "no broker takes the registration")
            wait = REGISTER_INTERVAL_MS / 1000 if self.registered else RETRY_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    async def _register(self, session: aiohttp.ClientSession) -> bool:
        body = {
            "pod": self.settings.pod_name,
            "incarnation": self._incarnation,
            "ready": self.ready,
            "version": self.version,
            "proxy": self._proxy_address(),
        }
        return await self._ask("PUT", session, json=body)

    async def _say_goodbye(self, session: aiohttp.ClientSession) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._ask("DELETE", session, params={"incarnation": self._incarnation})

    async def _ask(self, method: str, session: aiohttp.ClientSession, **content: object) -> bool:
        """Ask one broker after the other until one does it; whoever did is asked first next."""
        for url in list(self._urls):
            path = f"{url.rstrip('/')}/v1/flanking/{self.settings.node_id}"
            try:
                async with session.request(method, path, **content) as response:  # type: ignore[arg-type]
                    if response.ok:
                        return True
                    log.debug("%s: %d %s", path, response.status, await response.text())
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                log.debug("%s: %s", path, error)
            self._urls.remove(url)
            self._urls.append(url)
        return False

    def _proxy_address(self) -> str:
        host = self.settings.proxy_host
        if host in ("0.0.0.0", "::"):
            host = self.settings.pod_name or socket.gethostname()
        return f"{host}:{self.settings.proxy_port}"


def _session() -> aiohttp.ClientSession:
    """A new connection each time: an address may be a Service in front of all brokers, and a
    connection that is kept would ask the same broker again, however often it refuses."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=ASK_SECONDS),
        connector=aiohttp.TCPConnector(force_close=True),
    )
