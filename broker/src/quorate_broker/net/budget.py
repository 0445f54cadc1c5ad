"""One budget of bytes for the receive buffers of a process.

It is charged when a frame's length has been read, before its body is buffered. Who does not fit
waits in line and reads nothing meanwhile: over budget is back pressure, never an error. Whoever
got its whole charge can finish, so waiting cannot lock up. Next: `connection`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Budget:
    """`limit` bytes, handed out in order of arrival."""

    limit: int
    used: int = 0
    _waiting: deque[tuple[int, Callable[[], None]]] = field(default_factory=deque)

    @property
    def tight(self) -> bool:
        """Somebody waits: who has no use for its buffer right now should give it back."""
        return bool(self._waiting)

    def take(self, size: int) -> bool:
        """Charge `size` bytes, if they fit and nobody waits before."""
        if size and (self._waiting or self.used + size > self.limit):
            return False
        self.used += size
        return True

    def wait(self, size: int, charged: Callable[[], None]) -> None:
        """Stand in line; `charged` is called when the bytes have been charged."""
        self._waiting.append((size, charged))

    def leave(self, charged: Callable[[], None]) -> None:
        """Leave the line, if in it."""
        self._waiting = deque(entry for entry in self._waiting if entry[1] != charged)
        self._serve()

    def give(self, size: int) -> None:
        """Give back what was charged."""
        assert 0 <= size <= self.used, (size, self.used)
        self.used -= size
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self.used + self._waiting[0][0] <= self.limit:
            size, charged = self._waiting.popleft()
            self.used += size
            charged()
