"""A flanking node tells the brokers that it lives, and says goodbye."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from quorate_broker import config, flanking, seams
from quorate_broker.admin import serve

HOST = "127.0.0.1"


class FakeBroker:
    """Takes registrations, or refuses them with `status`."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.asked: asyncio.Queue[tuple[str, int, dict[str, object]]] = asyncio.Queue()

    def app(self) -> Starlette:
        async def flank(request: Request) -> Response:
            text = await request.body()
            body = json.loads(text) if text else dict(request.query_params)
            self.asked.put_nowait((request.method, request.path_params["id"], body))
            return Response(status_code=self.status)

        return Starlette(routes=[Route("/v1/flanking/{id:int}", flank, methods=["PUT", "DELETE"])])


def settings(*urls: str) -> config.Settings:
    return config.Settings(
        node_role="flanking",
        node_id=101,
        pod_name="q-flanking-0",
        bootstrap_servers=(f"{HOST}:{unused_port()}",),
        admin_urls=urls,
        admin_host=HOST,
        admin_port=unused_port(),
        proxy_host=HOST,
        proxy_port=unused_port(),
    )


def unused_port() -> int:
    server = serve.HttpServer(Starlette(), HOST, 0)
    server.bind()
    port = server.port
    server.release()
    return port


@asynccontextmanager
async def running(wanted: config.Settings) -> AsyncIterator[flanking.FlankingNode]:
    """A node that runs inside the block and is stopped cleanly at its end."""
    stop = asyncio.Event()
    node = flanking.FlankingNode(wanted, seams.SystemClock(), random.Random(1))
    async with asyncio.TaskGroup() as group:
        group.create_task(node.run(stop))
        try:
            yield node
        finally:
            stop.set()


def test_it_registers_says_who_it_is_and_says_goodbye() -> None:
    async def scenario() -> None:
        broker = FakeBroker()
        async with serve.serving(broker.app(), HOST, 0) as server:
            wanted = settings(f"http://{HOST}:{server.port}/")
            async with running(wanted):
                method, node_id, body = await broker.asked.get()
                assert (method, node_id) == ("PUT", 101)
                incarnation = body.pop("incarnation")
                assert isinstance(incarnation, str)
                assert len(incarnation) == 36
                assert body.pop("version")
                assert body == {
                    "pod": "q-flanking-0",
                    "ready": False,
                    "proxy": f"{HOST}:{wanted.proxy_port}",
                }
            method, node_id, body = await broker.asked.get()
            assert (method, node_id, body) == ("DELETE", 101, {"incarnation": incarnation})
            assert broker.asked.empty()

    asyncio.run(scenario())


def test_it_registers_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flanking, "REGISTER_INTERVAL_MS", 10)

    async def scenario() -> None:
        broker = FakeBroker()
        async with (
            serve.serving(broker.app(), HOST, 0) as server,
            running(settings(f"http://{HOST}:{server.port}")),
        ):
            first = await broker.asked.get()
            assert await broker.asked.get() == first
            assert await broker.asked.get() == first

    asyncio.run(scenario())


def test_it_turns_to_another_broker_when_one_refuses_or_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flanking, "REGISTER_INTERVAL_MS", 10)

    async def scenario() -> None:
        good, bad = FakeBroker(), FakeBroker(status=503)
        async with (
            serve.serving(good.app(), HOST, 0) as one,
            serve.serving(bad.app(), HOST, 0) as other,
        ):
            urls = [f"http://{HOST}:{port}" for port in (unused_port(), other.port, one.port)]
            async with running(settings(*urls)) as node:
                for _ in range(3):
                    assert (await good.asked.get())[0] == "PUT"
                assert node.registered
            assert bad.asked.qsize() <= 1, "whoever answered last is asked first"

    asyncio.run(scenario())


def test_it_serves_its_own_small_admin_api_without_any_broker() -> None:
    async def scenario() -> None:
        wanted = settings(f"http://{HOST}:{unused_port()}")
        async with running(wanted), httpx.AsyncClient() as client:
            admin = f"http://{HOST}:{wanted.admin_port}"
            transport = httpx.AsyncHTTPTransport(retries=5)
            async with httpx.AsyncClient(transport=transport) as patient:
                ready = await patient.get(f"{admin}/v1/status/ready")
            assert (ready.status_code, ready.json()) == (503, {"status": "booting"})
            node_config = await client.get(f"{admin}/v1/node_config")
            assert node_config.json()["node_id"] == 101
            metrics = await client.get(f"{admin}/public_metrics")
            assert "quorate_ready 0.0" in metrics.text.splitlines()
            assert "quorate_flanking_registered 0.0" in metrics.text.splitlines()
            proxy = f"http://{HOST}:{wanted.proxy_port}"
            topics = await client.get(f"{proxy}/topics")
            assert (topics.status_code, topics.json()["error_code"]) == (503, 50302)

    asyncio.run(scenario())


def test_a_taken_port_ends_it_with_an_exit_code() -> None:
    async def scenario() -> int:
        broker = FakeBroker()
        async with serve.serving(broker.app(), HOST, 0) as server:
            wanted = config.Settings(
                node_role="flanking",
                node_id=101,
                bootstrap_servers=(f"{HOST}:{unused_port()}",),
                admin_urls=(f"http://{HOST}:{server.port}",),
                admin_host=HOST,
                admin_port=server.port,
            )
            return await flanking.run(
                wanted, seams.SystemClock(), random.Random(1), asyncio.Event()
            )

    assert asyncio.run(scenario()) == flanking.EXIT_FAILED
