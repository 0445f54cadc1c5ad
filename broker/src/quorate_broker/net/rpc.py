"""Frames between brokers.

    u32 length   of everything behind it
    u8  kind     HELLO, WELCOME, RAFT, REQUEST, RESPONSE, SOFT, BEATS
    u64 id       correlation of a request and its response, else 0
    u32 head     length of the msgpack head
    u32 crc      CRC-32C of head and bulk (a batch's own CRC covers neither offset nor epoch)
    head         msgpack
    bulk         raw record batches

A length is checked against a limit before anything is allocated for it: a small one until both
ends have greeted, then `MAX_FRAME`; a frame with a bad length or CRC ends its connection (Raft and
the callers repeat what was lost). A peer that is gone without a word, with its address perhaps, is
noticed by the kernel within `LOST_MS`: what it does not acknowledge, or a probe of an idle line.
Frames own their bytes: a batch may stay in the log's tail long after its frame. The small messages
of all groups to one broker in one loop turn share a frame, BEATS. Read next: `lines`.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import crc32c
import msgspec

Buffer = bytes | bytearray | memoryview

MAX_FRAME = 128 * 1024 * 1024
MAX_GREETING = 64 * 1024
LOST_MS = 5_000
MAX_UNSENT = 64 * 1024 * 1024
MAX_BEATS = 1_024
"""Messages in one frame."""
_SCRATCH = 256 * 1024
_HEADER = struct.Struct(">IBQII")
_BEHIND_LENGTH = _HEADER.size - 4


class Kind(enum.IntEnum):
    HELLO = 1
    WELCOME = 2
    RAFT = 3
    REQUEST = 4
    RESPONSE = 5
    SOFT = 6
    BEATS = 7


class RaftHead(msgspec.Struct, frozen=True, array_like=True):
    """A Raft message without its batches; RAFT has one and BEATS a list of those without any."""

    group: str
    message: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    kind: Kind
    correlation: int
    head: memoryview
    bulk: memoryview


class FrameError(Exception):
    """The peer sent what no peer of ours sends."""


def encode(kind: Kind, correlation: int, head: bytes, bulk: Sequence[Buffer] = ()) -> list[Buffer]:
    """One frame as buffers to write; bulk is not copied."""
    crc = crc32c.crc32c(head)
    size = len(head)
    for buffer in bulk:
        crc = crc32c.crc32c(buffer, crc)
        size += len(buffer)
    length = _BEHIND_LENGTH + size
    if length > MAX_FRAME:
        raise FrameError(f"a frame of {length} bytes is over the limit of {MAX_FRAME}")
    return [_HEADER.pack(length, kind, correlation, len(head), crc), head, *bulk]


class FrameReader:
    """Cuts frames out of a stream: `buffer()` is where to read into, `filled(n)` what came.

    Small frames share a scratch buffer and are copied out of it once; a frame that does not fit
    gets a buffer of its own size, into which the rest is read directly.
    """

    def __init__(self) -> None:
        self._scratch = bytearray(_SCRATCH)
        self._have = 0
        self._big: bytearray | None = None
        self._big_have = 0
        self.limit = MAX_FRAME

    def buffer(self) -> memoryview:
        if self._big is not None:
            return memoryview(self._big)[self._big_have :]
        return memoryview(self._scratch)[self._have :]

    def filled(self, count: int) -> list[Frame]:
        """The frames completed by these `count` bytes. Raises FrameError."""
        if self._big is not None:
            self._big_have += count
            if self._big_have < len(self._big):
                return []
            frame = _parse(memoryview(self._big))
            self._big = None
            return [frame]
        self._have += count
        return self._cut()

    def _cut(self) -> list[Frame]:
        frames: list[Frame] = []
        at = 0
        while self._have - at >= 4:
            size = 4 + int.from_bytes(self._scratch[at : at + 4], "big")
            if not _HEADER.size <= size <= self.limit + 4:
                raise FrameError(f"a frame claims {size} bytes")
            if size > self._have - at:
                if size > _SCRATCH:
                    self._grow(at, size)
                    return frames
                break
            frames.append(_parse(memoryview(bytes(self._scratch[at : at + size]))))
            at += size
        rest = self._have - at
        if at and rest:
            self._scratch[:rest] = self._scratch[at : self._have]
        self._have = rest
        return frames

    def _grow(self, at: int, size: int) -> None:
        self._big = bytearray(size)
        self._big_have = self._have - at
        self._big[: self._big_have] = memoryview(self._scratch)[at : self._have]
        self._have = 0


def _parse(frame: memoryview) -> Frame:
    _, kind, correlation, head_size, crc = _HEADER.unpack_from(frame)
    body = frame[_HEADER.size :]
    if head_size > len(body):
        raise FrameError(f"a head of {head_size} bytes in a body of {len(body)}")
    if crc32c.crc32c(body) != crc:
        raise FrameError("a frame's CRC does not match its bytes")
    try:
        return Frame(Kind(kind), correlation, body[:head_size], body[head_size:])
    except ValueError:
        raise FrameError(f"a frame of unknown kind {kind}") from None


class RpcProtocol(asyncio.BufferedProtocol):
    """One connection: frames in by callback, frames out coalesced into one write per loop turn."""

    def __init__(
        self,
        on_frame: Callable[[RpcProtocol, Frame], None],
        on_lost: Callable[[RpcProtocol], None],
    ) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._reader = FrameReader()
        self._reader.limit = MAX_GREETING
        self._pending: list[Buffer] = []
        self._pending_size = 0
        self._beats: list[RaftHead] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        _notice_loss(transport.get_extra_info("socket"))

    def greeted(self) -> None:
        """Both ends know each other: frames may be long now."""
        self._reader.limit = MAX_FRAME

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_lost(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for frame in self._reader.filled(nbytes):
                self._on_frame(self, frame)
        except FrameError:
            self.close()

    def eof_received(self) -> bool:
        return False

    def send(self, buffers: Sequence[Buffer]) -> bool:
        """Queue a frame for the end of this loop turn. False: not connected, too much unsent."""
        if not self._takes_more():
            return False
        if self._beats:  # frames leave in the order in which they were sent
            self._pack_beats()
        self._pending.extend(buffers)
        self._pending_size += sum(map(len, buffers))
        return True

    def send_beat(self, head: RaftHead) -> bool:
        """Queue a small message for the frame that all such of this loop turn share."""
        if not self._takes_more():
            return False
        self._beats.append(head)
        if len(self._beats) >= MAX_BEATS:
            self._pack_beats()
        return True

    def _takes_more(self) -> bool:
        """Whether there is room; if so, a flush is due at the end of this loop turn."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if self._pending_size + transport.get_write_buffer_size() > MAX_UNSENT:
            return False
        if not self._pending and not self._beats:
            self._loop.call_soon(self._flush)
        return True

    def _pack_beats(self) -> None:
        heads, self._beats = self._beats, []
        frame = encode(Kind.BEATS, 0, msgspec.msgpack.encode(heads))
        self._pending.extend(frame)
        self._pending_size += sum(map(len, frame))

    def _flush(self) -> None:
        if self._beats:
            self._pack_beats()
        pending, self._pending, self._pending_size = self._pending, [], 0
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(pending)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _notice_loss(line: socket.socket | None) -> None:
    if line is None:
        return
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    with contextlib.suppress(AttributeError):  # Linux has them all
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_MS)
