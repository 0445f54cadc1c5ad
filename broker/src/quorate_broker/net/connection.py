"""One client connection: frames in, responses out, in the order of the requests.

    socket -> Inbox -> decode -> handler -> [slot, slot, ...] -> encode -> one write per turn

Each request that cannot be answered at once gets a slot in a queue; responses leave from its head.
Requests start in order, a few in one turn of the event loop (`turns`). Like Kafka, a connection
handles one request at a time, with one exception that pipelining producers live on: a Produce may
start while all requests under way are Produces (their appends happen in order, when they start).
Whatever may not start yet stays as bytes in the inbox, and when that is full, reading pauses: so
every queue here is bounded.

A frame, or a request inside it, that cannot be understood closes this connection and nothing else.
Next: `server`, which makes connections and sweeps out the idle ones.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import types
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from quorate_broker.api import dispatch
from quorate_broker.api.context import Call, Pending
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.net import inbox
from quorate_broker.wire import frames
from quorate_broker.wire.apis import ApiKey
from quorate_broker.wire.codec import WireError

if TYPE_CHECKING:
    from quorate_broker.net.server import Server

log = logging.getLogger(__name__)

_PRODUCE = int(ApiKey.PRODUCE)

# CVE-2024-12254: in between, `writelines` never calls `pause_writing`, and a slow reader makes the
# transport's buffer grow without bound.
_WRITELINES_PAUSES = not (
    (3, 12) <= sys.version_info < (3, 12, 9) or (3, 13) <= sys.version_info < (3, 13, 2)
)


class _Slot:
    """The place of one request in the order of responses."""

    __slots__ = ("buffers", "call", "exclusive", "header", "missing", "queued", "request", "stop")

    def __init__(self, header: frames.RequestHeader, call: Call, request: object) -> None:
        self.header = header
        self.call = call
        self.request = request
        self.exclusive = header.api_key != _PRODUCE
        self.queued = False
        self.missing = 0
        """Futures that are not done yet."""
        self.stop: Callable[[], object] | None = None
        """What to call when the client goes away before the answer."""
        self.buffers: list[Any] | None = None
        """The encoded response; None while it is being worked on."""


class Connection(asyncio.BufferedProtocol):
    """The transport's view is the upper half, the requests' view the lower."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._limits = server.limits
        self._inbox = inbox.Inbox(server.limits.max_frame_bytes)
        self._charged = 0
        self._slots: deque[_Slot] = deque()
        self._out: list[Any] = []
        self._out_bytes = 0
        self._flushing = False
        self._reading_paused = False
        self._writing_paused = False
        self._starved = False
        self._waits_for_turn = False
        self._closed = False
        self._transport: asyncio.Transport
        self.peer_host = ""
        self.active = True
        """Something moved since the last sweep."""
        self.idle_since_ms = 0
        self.partial: tuple[int, int] | None = None
        """(number of the begun frame, when a sweep first saw it)."""

    # ------------------------------------------------------------------ what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.peer_host = peer[0] if isinstance(peer, tuple) else ""
        transport.set_write_buffer_limits(high=self._limits.max_unsent_bytes)
        if not self._server.admit(self):
            self.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._inbox.capacity < self._inbox.required():
            # `_prepare` made room for whatever frame was begun; only the first bytes come here.
            self._inbox.resize(inbox.BASE_BYTES)
        return self._inbox.space()

    def buffer_updated(self, nbytes: int) -> None:
        self._inbox.wrote(nbytes)
        self.active = True
        self._pump()

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self.active = True
        self._pump()

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = True
        for slot in self._slots:
            if slot.stop is not None and slot.buffers is None:
                slot.stop()
        self._slots.clear()
        self._server.budget.leave(self._memory_granted)
        self._server.budget.give(self._charged)
        self._charged = 0
        self._server.forget(self)

    # ------------------------------------------------------------------- what the server calls

    @property
    def busy(self) -> bool:
        """A request is under way."""
        return bool(self._slots)

    @property
    def waiting(self) -> bool:
        """For us rather than for the client: that is not idleness."""
        return self._held_up or (self.busy and not self._writing_paused)

    @property
    def _held_up(self) -> bool:
        """It has sent something, and we have not taken it yet."""
        return self._starved or self._waits_for_turn

    @property
    def frames_read(self) -> int:
        """Frames taken in so far."""
        return self._inbox.frames

    @property
    def begun_bytes(self) -> int:
        """Length of the frame that has begun but is not complete; 0 when there is none."""
        return 0 if self.busy or self._held_up else max(self._inbox.wanted, self._inbox.unread)

    def abort(self) -> None:
        """Close now; what is unsent is dropped."""
        self._closed = True
        self._transport.abort()

    def close(self) -> None:
        """Close after what has been answered is sent."""
        self._closed = True
        self._flush()
        self._transport.close()

    def stop_reading(self) -> None:
        """Take no further request; what is under way goes on."""
        self._reading_paused = True
        self._transport.pause_reading()

    def shed(self) -> None:
        """Give an empty buffer back."""
        if self._inbox.capacity and not self._inbox.unread and not self._starved:
            self._inbox.shrink()
            charged, self._charged = self._charged, 0
            self._server.budget.give(charged)

    # ------------------------------------------------------------------------------ requests

    def _pump(self) -> None:
        """Start every request that may start in this turn, then send what is answered."""
        begun = 0
        try:
            while not self._closed:
                frame = self._inbox.peek()
                if frame is None or not self._may_start(inbox.api_key(frame)):
                    break
                if not self._has_turn(begun):
                    break
                begun += 1
                self._start(frame)
                self._inbox.consume()
        except (inbox.FrameError, WireError) as error:
            self._complain("no request", error)
            self.close()
            return
        except frames.UnsupportedVersion as error:
            self._unsupported(error)
            return
        except Exception:
            log.exception("a request of %s broke its connection", self.peer_host)
            self.abort()
            return
        if self._closed:
            return
        self._flush()
        if self._server.closing and not self._slots:
            self.close()
        else:
            self._prepare()

    def _complain(self, kind: str, reason: object) -> None:
        self._server.complaints.tell(self.peer_host, kind, reason)

    def _may_start(self, api_key: int) -> bool:
        if self._writing_paused or self._server.closing:
            return False
        if not self._slots:
            return True
        if api_key != _PRODUCE or len(self._slots) >= self._limits.max_in_flight:
            return False
        return not self._slots[-1].exclusive

    def _has_turn(self, begun: int) -> bool:
        """Whether one more may begin now; if not, `_pump` is called again in a later turn."""
        if self._waits_for_turn:
            return False
        if begun < self._limits.max_begun_at_once and self._server.turns.take():
            return True
        self._waits_for_turn = True
        self._server.turns.wait(self._turn_came)
        return False

    def _turn_came(self) -> None:
        self._waits_for_turn = False
        self.active = True
        if not self._closed:
            self._pump()

    def _unsupported(self, error: frames.UnsupportedVersion) -> None:
        """Decision 27: ApiVersions is answered with 35 in a v0 body, all else is closed."""
        if error.reply is None:
            self._complain("not served", error)
            self.close()
            return
        self._inbox.consume()
        self._send(error.reply)
        self._pump()

    def _start(self, frame: memoryview) -> None:
        header, request = frames.decode_request(frame)
        call = Call(
            header.api_version,
            header.client_id,
            self._server.listener.name,
            client_host=self.peer_host,
        )
        route = dispatch.ROUTES[header.api_key]
        slot = _Slot(header, call, request)
        try:
            result = route.handle(self._server.context, call, request)
        except Exception as error:  # noqa: BLE001 - every failure becomes an answer, and is logged
            self._answer(slot, self._failure(slot, error))
            return
        if type(result) is Pending:
            self._wait(slot, result)
        elif type(result) is types.CoroutineType:
            self._run(slot, result)
        else:
            self._answer(slot, result)

    def _wait(self, slot: _Slot, pending: Pending) -> None:
        waits_for = [future for future in pending.futures if not future.done()]
        if not waits_for:
            self._finish(slot, pending)
            return
        slot.missing = len(waits_for)
        slot.stop = pending.abandon
        self._queue(slot)
        done = functools.partial(self._one_done, slot, pending)
        for future in waits_for:
            future.add_done_callback(done)

    def _one_done(self, slot: _Slot, pending: Pending, future: asyncio.Future[Any]) -> None:
        slot.missing -= 1
        if not future.cancelled():
            future.exception()  # looked at: `finish` decides what it means
        if slot.missing == 0 and not self._closed:
            self._finish(slot, pending)

    def _finish(self, slot: _Slot, pending: Pending) -> None:
        try:
            response = pending.finish()
        except Exception as error:  # noqa: BLE001 - every failure becomes an answer, and is logged
            response = self._failure(slot, error)
        self._answer(slot, response)

    def _run(self, slot: _Slot, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = self._server.tasks.create_task(self._carry(slot, coroutine))
        task.add_done_callback(lambda _: coroutine.close())  # cancelled before it began
        slot.stop = task.cancel
        self._queue(slot)

    async def _carry(self, slot: _Slot, coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            response = await coroutine
        except Exception as error:  # noqa: BLE001 - every failure becomes an answer, and is logged
            response = self._failure(slot, error)
        if not self._closed:
            self._answer(slot, response)

    def _failure(self, slot: _Slot, error: Exception) -> object:
        """The response that says it; None, and a closed connection, where there is no other way."""
        try:
            return self._error_response(slot, error)
        except dispatch.CloseConnection as closing:
            self._complain("closed", closing)
        except Exception:
            log.exception("API %d has no way to say that it failed", slot.header.api_key)
        self.close()
        return None

    def _error_response(self, slot: _Slot, error: Exception) -> object:
        if isinstance(error, dispatch.CloseConnection):
            raise error
        if isinstance(error, KafkaError):
            code = error.code
        else:
            code = ErrorCode.UNKNOWN_SERVER_ERROR
            name = ApiKey(slot.header.api_key).name
            log.error("%s v%d failed", name, slot.call.version, exc_info=error)
        return dispatch.ROUTES[slot.header.api_key].failed(slot.call, slot.request, code)

    def _queue(self, slot: _Slot) -> None:
        slot.queued = True
        self._slots.append(slot)

    # ------------------------------------------------------------------------------ responses

    def _answer(self, slot: _Slot, response: object) -> None:
        """Encode, and send everything that is complete up to the first slot that is not."""
        if self._closed:
            return
        encoded = [] if response is None else self._encode(slot, response)
        if not self._slots:  # answered at once, nothing before it: the short way
            self._send(encoded)
            return
        slot.buffers = encoded
        if not slot.queued:  # answered at once, but others are before it
            self._queue(slot)
            return
        while self._slots and self._slots[0].buffers is not None:
            self._send(self._slots.popleft().buffers or [])
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush_and_pump)

    def _encode(self, slot: _Slot, response: object) -> list[Any]:
        try:
            return frames.encode_response(slot.header, response)
        except Exception:
            # Nothing sensible can be sent in its place: the client waits for exactly this message.
            log.exception("%s has no encoding", type(response).__name__)
            self.abort()
            return []

    def _flush_and_pump(self) -> None:
        self._flushing = False
        self.active = True
        if not self._closed:
            self._pump()

    def _send(self, buffers: list[Any]) -> None:
        self._out += buffers
        self._out_bytes += sum(map(len, buffers))
        if self._out_bytes > self._limits.max_unsent_bytes:
            self._flush()  # so that a reader that is too slow is noticed before its next request

    def _flush(self) -> None:
        if self._out:
            out, self._out = self._out, []
            self._out_bytes = 0
            if self._transport.is_closing():
                # `writelines` of Python 3.12 and 3.13 would watch its file descriptor again, which
                # by now may be another connection's: that one would never be read.
                return
            if _WRITELINES_PAUSES:
                self._transport.writelines(out)
            else:
                self._transport.write(b"".join(out))

    # -------------------------------------------------------------------------- flow and memory

    def _prepare(self) -> None:
        """Room for the next bytes, or a pause of reading where there may be none."""
        box = self._inbox
        if box.wanted and box.unread >= box.wanted:  # a whole frame waits for its turn
            # Reading goes on as long as there is room: it is how a client's leaving is noticed.
            if box.full:
                self._pause()
                return
        elif not box.unread and self._server.budget.tight:
            self.shed()
        elif box.capacity < box.preferred() and not self._grow():
            self._pause()
            return
        if self._reading_paused and not self._server.closing:
            self._reading_paused = False
            self._transport.resume_reading()

    def _pause(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def _grow(self) -> bool:
        """Make room for the frame that has begun; False while it has to wait for memory."""
        if self._starved:
            return False
        for capacity in (self._inbox.preferred(), self._inbox.required()):
            if capacity <= self._inbox.capacity:
                return True
            more = max(0, capacity - inbox.BASE_BYTES - self._charged)
            if self._server.budget.take(more):
                self._charged += more
                self._inbox.resize(capacity)
                return True
        self._starved = True
        self._server.budget.wait(self._missing_charge(), self._memory_granted)
        self._server.relieve()
        return False

    def _missing_charge(self) -> int:
        return max(0, self._inbox.required() - inbox.BASE_BYTES - self._charged)

    def _memory_granted(self) -> None:
        self._charged += self._missing_charge()
        self._starved = False
        self._inbox.resize(self._inbox.required())
        if not self._closed:
            self._prepare()
