"""Requests between brokers: those asked of others, and those of others served here.

A response comes back on the line of its request; when that line is lost the request fails at once.
What one line may have under way is limited: a peer that asks faster than it is answered is told so
at once, it cannot pile up work here. Read next: `mesh`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.net import rpc
from quorate_broker.net.greeting import decode
from quorate_broker.net.lines import Line
from quorate_broker.net.peers import Handler, PeerLost
from quorate_broker.net.rpc import Buffer, Frame, Kind, RpcProtocol
from quorate_broker.raft.messages import Peer

MAX_UNDER_WAY = 512


class RequestHead(msgspec.Struct, frozen=True):
    method: str
    body: bytes


class ResponseHead(msgspec.Struct, frozen=True):
    """`error` is (Kafka error code, message) when the request failed."""

    body: bytes
    error: tuple[int, str | None] | None = None


class Asking:
    """Our requests under way."""

    def __init__(self) -> None:
        self._futures: dict[int, asyncio.Future[bytes]] = {}
        self._owners: dict[int, RpcProtocol] = {}
        self._next = 1

    async def ask(
        self, protocol: RpcProtocol, request: RequestHead, bulk: Sequence[Buffer], timeout_ms: int
    ) -> bytes:
        """See `peers.Peers.request`."""
        number = self._next
        self._next += 1
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._futures[number] = future
        self._owners[number] = protocol
        head = msgspec.msgpack.encode(request)
        try:
            if not protocol.send(rpc.encode(Kind.REQUEST, number, head, bulk)):
                raise PeerLost("the line is gone, or does not take more")
            async with asyncio.timeout(timeout_ms / 1000):
                return await future
        finally:
            del self._futures[number], self._owners[number]

    def answered(self, frame: Frame) -> None:
        """A response came. Raises rpc.FrameError."""
        future = self._futures.get(frame.correlation)
        if future is None or future.done():
            return
        response = decode(frame, ResponseHead)
        if response.error is None:
            future.set_result(response.body)
            return
        code, message = response.error
        known = code in ErrorCode.__members__.values()  # it may be newer than this broker
        error = ErrorCode(code) if known else ErrorCode.UNKNOWN_SERVER_ERROR
        future.set_exception(KafkaError(error, message))

    def line_lost(self, protocol: RpcProtocol | None, error: Exception) -> None:
        for number, owner in list(self._owners.items()):
            future = self._futures[number]
            if owner is protocol and not future.done():
                future.set_exception(error)


class Serving:
    """Requests of others. `tasks` is there while the lines are."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.tasks: asyncio.TaskGroup | None = None

    def start(self, line: Line, frame: Frame) -> None:
        """Serve one request in a task of its own. Raises rpc.FrameError."""
        request = decode(frame, RequestHead)
        assert line.protocol is not None
        if line.requests >= MAX_UNDER_WAY:
            busy = f"{line.requests} requests of this line are under way"
            _respond(line.protocol, frame, _failed(ErrorCode.THROTTLING_QUOTA_EXCEEDED, busy))
        elif self.tasks is not None:
            line.requests += 1
            self.tasks.create_task(self._serve(line, request, frame), name=f"peer {request.method}")

    async def _serve(self, line: Line, request: RequestHead, frame: Frame) -> None:
        assert line.peer is not None
        assert line.protocol is not None
        try:
            response = await self._answer(line.peer, request, frame)
        finally:
            line.requests -= 1
        _respond(line.protocol, frame, response)

    async def _answer(self, sender: Peer, request: RequestHead, frame: Frame) -> ResponseHead:
        try:
            body = await self._handler.on_request(sender, request.method, request.body, frame.bulk)
        except KafkaError as error:
            return _failed(error.code, error.message)
        except (PeerLost, TimeoutError) as error:
            return _failed(ErrorCode.REQUEST_TIMED_OUT, str(error))
        return ResponseHead(body)


def _failed(code: ErrorCode, message: str | None) -> ResponseHead:
    return ResponseHead(b"", (int(code), message))


def _respond(protocol: RpcProtocol, frame: Frame, response: ResponseHead) -> None:
    packed = msgspec.msgpack.encode(response)
    try:
        buffers = rpc.encode(Kind.RESPONSE, frame.correlation, packed)
    except rpc.FrameError as error:  # an answer too long for a frame
        refusal = msgspec.msgpack.encode(_failed(ErrorCode.UNKNOWN_SERVER_ERROR, str(error)))
        buffers = rpc.encode(Kind.RESPONSE, frame.correlation, refusal)
    protocol.send(buffers)
