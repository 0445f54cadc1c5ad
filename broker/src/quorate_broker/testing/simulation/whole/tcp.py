"""TCP of virtual time: the product's own protocols on transports without sockets.

A connection is two pipes. In each, order is kept and nothing is lost while it stands; a blocked
direction holds bytes back as retransmission does, a reset loses what is under way and both ends
learn of it, the end of a process resets its connections, a machine without power says nothing at
all. Next: `loop`, whose `create_server` and `create_connection` end up here.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from quorate_broker.testing.simulation.clock import Scheduler

if TYPE_CHECKING:
    from quorate_broker.testing.simulation.whole.loop import VirtualLoop

Address = tuple[str, int]
Factory = Callable[[], asyncio.BaseProtocol]

_AGAIN_US = 20_000
_SOCKET_BYTES = 64 << 10
_HIGH_BYTES = 64 << 10


class Speed(Protocol):
    """The part of the options that links need."""

    @property
    def delay_low_us(self) -> int: ...
    @property
    def delay_high_us(self) -> int: ...
    @property
    def reset(self) -> float: ...


class Fabric:
    """Who listens where, and which links carry."""

    def __init__(
        self, scheduler: Scheduler, dice: random.Random, speed: Speed, seen: Counter[str]
    ) -> None:
        self.is_faulty = False
        self.blocked: set[tuple[str, str]] = set()
        """(from, to) by address."""
        self.unpowered: set[str] = set()
        self.scheduler = scheduler
        self.dice = dice
        self.speed = speed
        self.seen = seen
        self._listening: dict[Address, SimServer] = {}
        self._ends: dict[VirtualLoop, dict[SimTransport, None]] = {}
        self._next_port = 40_000

    def delay_us(self) -> int:
        return self.dice.randint(self.speed.delay_low_us, self.speed.delay_high_us)

    def carries(self, sender: str, to: str) -> bool:
        return (sender, to) not in self.blocked

    # ----------------------------------------------------------------------------- listening

    def listen(self, loop: VirtualLoop, port: int, factory: Factory) -> SimServer:
        server = SimServer(self, loop, (loop.address, port), factory)
        return server

    def opened(self, server: SimServer) -> None:
        if server.address in self._listening:
            raise OSError(98, "address in use", str(server.address))
        self._listening[server.address] = server

    def closed(self, server: SimServer) -> None:
        if self._listening.get(server.address) is server:
            del self._listening[server.address]

    # ------------------------------------------------------------------------------- dialling

    def dial(self, loop: VirtualLoop, to: Address, factory: Factory) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = loop.create_future()
        self.scheduler.after(self.delay_us(), lambda: self._arrive(loop, to, factory, future))
        return future

    def _arrive(
        self, loop: VirtualLoop, to: Address, factory: Factory, future: asyncio.Future[Any]
    ) -> None:
        if loop.is_closed() or future.done():
            return
        there, back = (loop.address, to[0]), (to[0], loop.address)
        if not self.carries(*there) or not self.carries(*back) or to[0] in self.unpowered:
            self.scheduler.after(10 * _AGAIN_US, lambda: self._arrive(loop, to, factory, future))
            return
        server = self._listening.get(to)
        if server is None:
            self._later(loop, lambda: _refuse(future, to))
            return
        self._next_port += 1
        ours = SimTransport(self, loop, (loop.address, self._next_port), to)
        theirs = SimTransport(self, server.loop, to, (loop.address, self._next_port))
        ours.other, theirs.other = theirs, ours
        server.loop.call_soon(theirs.begin, server.factory, None)
        self._later(loop, lambda: ours.begin(factory, future))

    def _later(self, loop: VirtualLoop, callback: Callable[[], None]) -> None:
        def happen() -> None:
            if not loop.is_closed():
                loop.call_soon(callback)

        self.scheduler.after(self.delay_us(), happen)

    # ----------------------------------------------------------------------------- the ends

    def began(self, end: SimTransport) -> None:
        self._ends.setdefault(end.loop, {})[end] = None

    def ended(self, end: SimTransport) -> None:
        self._ends.get(end.loop, {}).pop(end, None)

    def process_died(self, loop: VirtualLoop, is_silent: bool) -> None:
        """Its sockets are closed by the kernel, or by nobody."""
        for end in list(self._ends.pop(loop, {})):
            end.die()
            if not is_silent:
                end.reset_other()
        for server in list(self._listening.values()):
            if server.loop is loop:
                self.closed(server)

    def reset_some(self, one: str, other: str) -> None:
        """All connections between two machines break."""
        for ends in list(self._ends.values()):
            for end in list(ends):
                if (end.address[0], end.peer[0]) == (one, other):
                    end.break_both()


def _refuse(future: asyncio.Future[Any], to: Address) -> None:
    if not future.done():
        future.set_exception(ConnectionRefusedError(111, "connection refused", str(to)))


class SimServer:
    """What `loop.create_server` gives."""

    def __init__(self, fabric: Fabric, loop: VirtualLoop, address: Address, factory: Factory):
        self.loop = loop
        self.address = address
        self.factory = factory
        self._fabric = fabric
        self.sockets = [self]

    def getsockname(self) -> Address:
        return self.address

    async def start_serving(self) -> None:
        self.open()

    def open(self) -> None:
        self._fabric.opened(self)

    def close(self) -> None:
        self._fabric.closed(self)

    async def wait_closed(self) -> None:
        pass


class SimTransport(asyncio.Transport):
    """One end of a connection, and the pipe that leads away from it."""

    other: SimTransport

    def __init__(self, fabric: Fabric, loop: VirtualLoop, address: Address, peer: Address) -> None:
        super().__init__()
        self.loop = loop
        self.address = address
        self.peer = peer
        self.is_dead = False
        """Its process is gone."""
        self._fabric = fabric
        self._protocol: asyncio.BaseProtocol | None = None
        self._pipe: deque[tuple[int, bytes | None]] = deque()  # (arrival, bytes), None: the end
        self._piped = 0
        self._last_us = 0
        self._pumping = False
        self._closing = False
        self._lost = False
        self._reading = True
        self._received: deque[bytes | None] = deque()
        self._high = _HIGH_BYTES
        self._is_full = False

    def begin(self, factory: Factory, future: asyncio.Future[Any] | None) -> None:
        if future is not None and future.done():  # nobody wants it any more
            self.abort()
            return
        protocol = self._protocol = factory()
        self._fabric.began(self)
        protocol.connection_made(self)
        if future is not None:
            future.set_result((self, protocol))
        if self._lost:
            protocol.connection_lost(ConnectionResetError(104, "connection reset"))
            return
        self._take_in()

    # ----------------------------------------------------------------- what protocols call

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": self.peer, "sockname": self.address}.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        if self._received:
            self.loop.call_soon(self._take_in)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = _HIGH_BYTES if high is None else high

    def get_write_buffer_size(self) -> int:
        return max(0, self._piped - _SOCKET_BYTES)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def write(self, data: Any) -> None:
        if self._closing or not data:
            return
        fabric = self._fabric
        if fabric.is_faulty and fabric.dice.random() < fabric.speed.reset:
            fabric.seen["connection reset"] += 1
            self.break_both()
            return
        self._put(bytes(data))
        if not self._is_full and self.get_write_buffer_size() > self._high:
            self._is_full = True
            self.get_protocol().pause_writing()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._put(None)
            self.loop.call_soon(self._end, None)

    def abort(self) -> None:
        if not self._lost and not self.is_dead:
            self._closing = True
            self.reset_other()
            self.loop.call_soon(self._end, None)

    def can_write_eof(self) -> bool:
        return False

    # ------------------------------------------------------------------------- the pipe

    def _put(self, data: bytes | None) -> None:
        fabric = self._fabric
        arrival_us = max(fabric.scheduler.now_us + fabric.delay_us(), self._last_us)
        self._last_us = arrival_us
        self._pipe.append((arrival_us, data))
        self._piped += len(data or b"")
        self._pump_at(arrival_us)

    def _pump_at(self, time_us: int) -> None:
        if not self._pumping:
            self._pumping = True
            self._fabric.scheduler.at(max(time_us, self._fabric.scheduler.now_us), self._pump)

    def _pump(self) -> None:
        self._pumping = False
        fabric = self._fabric
        if not self._pipe or self.other._lost:
            return
        now_us = fabric.scheduler.now_us
        if not fabric.carries(self.address[0], self.peer[0]):
            fabric.seen["bytes held back"] += 1
            self._pump_at(now_us + _AGAIN_US)
            return
        while self._pipe and self._pipe[0][0] <= now_us:
            _, data = self._pipe.popleft()
            self._piped -= len(data or b"")
            self.other.arrived(data)
        if self._is_full and self.get_write_buffer_size() == 0 and not self.is_dead:
            self._is_full = False
            self.loop.call_soon(self.get_protocol().resume_writing)
        if self._pipe:
            self._pump_at(self._pipe[0][0])

    def arrived(self, data: bytes | None) -> None:
        if self.is_dead:
            if self.address[0] not in self._fabric.unpowered:
                self.reset_other()  # the kernel knows of no such connection
            return
        self._received.append(data)
        if self._protocol is not None:
            self.loop.call_soon(self._take_in)

    def _take_in(self) -> None:
        while self._received and self._reading and not self._lost:
            data = self._received.popleft()
            if data is None:
                self._eof()
                return
            _feed(self.get_protocol(), data)

    def _eof(self) -> None:
        protocol = self.get_protocol()
        assert isinstance(protocol, asyncio.Protocol | asyncio.BufferedProtocol)
        if not protocol.eof_received():
            self._closing = True
            self._end(None)

    # ------------------------------------------------------------------------- the end

    def die(self) -> None:
        self.is_dead = True
        self._closing = True

    def reset_other(self) -> None:
        """A reset is on its way; what was under way there may be overtaken by it."""
        other, fabric = self.other, self._fabric
        self._pipe.clear()
        self._piped = 0

        def arrive() -> None:
            if not fabric.carries(self.address[0], other.address[0]):
                fabric.scheduler.after(_AGAIN_US, arrive)
            elif not other.is_dead and not other.loop.is_closed():
                other.loop.call_soon(other.reset)

        fabric.scheduler.after(fabric.delay_us(), arrive)

    def reset(self) -> None:
        self._closing = True
        self._end(ConnectionResetError(104, "connection reset"))

    def break_both(self) -> None:
        self.reset_other()
        self.other.reset_other()

    def _end(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._fabric.ended(self)
        if self._protocol is not None:
            self._protocol.connection_lost(error)


def _feed(protocol: asyncio.BaseProtocol, data: bytes) -> None:
    if not isinstance(protocol, asyncio.BufferedProtocol):
        assert isinstance(protocol, asyncio.Protocol)
        protocol.data_received(data)
        return
    at = 0
    while at < len(data):
        space = protocol.get_buffer(len(data) - at)
        assert isinstance(space, bytearray | memoryview)
        size = min(len(space), len(data) - at)
        space[:size] = data[at : at + size]
        protocol.buffer_updated(size)
        at += size
