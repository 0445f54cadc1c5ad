"""How many requests are begun in one turn of the event loop, over all connections of a listener.

Whoever sends a thousand requests at once would otherwise have all of them answered in one go, and
everybody else, other brokers' heartbeats included, would wait that long. A connection begins a few
and goes to the end of the queue; so does one that comes when the turn's share is used up.
Used by `connection`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """Shared by the connections of one listener."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most
        self._renewing = False
        self._waiting: deque[Callable[[], None]] = deque()

    def take(self) -> bool:
        """Whether one more request may begin in this turn."""
        if self._left <= 0:
            return False
        self._left -= 1
        self._renew_soon()
        return True

    def wait(self, again: Callable[[], None]) -> None:
        """Call `again` in a later turn, behind those that wait already."""
        self._waiting.append(again)
        self._renew_soon()

    def _renew_soon(self) -> None:
        if not self._renewing:
            self._renewing = True
            asyncio.get_running_loop().call_soon(self._renew)

    def _renew(self) -> None:
        self._renewing = False
        self._left = self._most
        for _ in range(len(self._waiting)):
            if self._left <= 0:
                self._renew_soon()
                return
            self._waiting.popleft()()
