"""The HTTP server inside the node's loop: signals, ports, and a clean end."""

from __future__ import annotations

import asyncio
import signal
import socket

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from quorate_broker.admin import serve

HOST = "127.0.0.1"


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


def make() -> Starlette:
    return Starlette(routes=[Route("/", hello)])


def test_it_answers_inside_the_block_and_is_gone_after_it() -> None:
    async def scenario() -> int:
        async with serve.serving(make(), HOST, 0) as server, httpx.AsyncClient() as client:
            answer = await client.get(f"http://{HOST}:{server.port}/")
            assert answer.text == "hello"
            return server.port

    port = asyncio.run(scenario())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port), timeout=1)


def test_the_signals_stay_with_the_node() -> None:
    async def scenario() -> None:
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        async with serve.serving(make(), HOST, 0) as server, httpx.AsyncClient() as client:
            await client.get(f"http://{HOST}:{server.port}/")
            during = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
            assert during == before

    asyncio.run(scenario())


def test_a_taken_port_is_an_error_and_not_an_exit() -> None:
    async def scenario() -> None:
        async with serve.serving(make(), HOST, 0) as first:
            with pytest.raises(OSError, match="in use"):
                async with serve.serving(make(), HOST, first.port):
                    pytest.fail("the port was taken")

    asyncio.run(scenario())


def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    async def scenario() -> None:
        async with serve.serving(make(), HOST, 0):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        asyncio.run(scenario())


def test_idle_connections_do_not_hold_up_the_end() -> None:
    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        async with serve.serving(make(), HOST, 0) as server, httpx.AsyncClient() as client:
            await client.get(f"http://{HOST}:{server.port}/")  # stays open, kept alive
            server.close()
            closed_at = loop.time()
        return loop.time() - closed_at

    assert asyncio.run(scenario()) < 2


def test_a_cancelled_server_leaves_nothing_open() -> None:
    async def scenario() -> None:
        server = serve.HttpServer(make(), HOST, 0)
        server.bind()
        async with httpx.AsyncClient() as client, asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve())
            await client.get(f"http://{HOST}:{server.port}/")
            serving.cancel()
        assert serving.cancelled()

    asyncio.run(scenario())  # a socket left open would be a ResourceWarning, which is an error
