"""Host names to addresses, beside the event loop.

A pod comes back under its old name with another address, so every dial asks anew; and the name
service may be slow just when nodes are lost. asyncio would ask in its default executor, whose few
threads a handful of hanging look-ups fill, and which the end of the process waits for. Here each
name has at most one look-up under way, in a thread that nobody waits for. Read next: `peers`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable

Addresses = list[tuple[str, int]]


def _of_system(host: str, port: int) -> Addresses:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(str(address[0]), int(address[1])) for _, _, _, _, address in found]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Lookup:
    """Of one name."""

    def __init__(
        self, host: str, port: int, ask: Callable[[str, int], Addresses] = _of_system
    ) -> None:
        self._host = host
        self._port = port
        self._ask = ask
        self._under_way: asyncio.Future[Addresses] | None = None

    async def addresses(self) -> Addresses:
        """What the name stands for now. Raises OSError; waits as long as the system does."""
        if _is_address(self._host):
            return [(self._host, self._port)]
        if self._under_way is None:
            self._begin()
        assert self._under_way is not None
        return await asyncio.shield(self._under_way)

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        answer = self._under_way = loop.create_future()

        def tell(found: Addresses | OSError) -> None:
            self._under_way = None
            if isinstance(found, OSError):
                answer.set_exception(found)
                answer.exception()  # those who waited may have gone
            else:
                answer.set_result(found)

        def look_up() -> None:
            found: Addresses | OSError
            try:
                found = self._ask(self._host, self._port)
            except OSError as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the loop is gone, and so is who asked
                loop.call_soon_threadsafe(tell, found)

        threading.Thread(target=look_up, name=f"look up {self._host}", daemon=True).start()
