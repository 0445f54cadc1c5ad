"""Bytes to frames: the one receive buffer of a connection, without any I/O.

    |........|=== unread ===|.............|
    0      start           end      capacity

The buffer is reused for every frame: a frame is a view into it and is void at the next `space`.
Who keeps a part of it copies that part. It starts small (thousands of connections idle), grows for
a long frame to what that frame needs, and is let go of by `shrink`. A length is judged before
anything is buffered for it. Next: `connection`, which owns the inbox and pays for its size.
"""

from __future__ import annotations

import struct

BASE_BYTES = 8 * 1024
"""What a connection may hold without asking the budget."""

CHUNK_BYTES = 64 * 1024
"""A busy connection gets this much, to take many small frames by one read."""

_PREFIX = struct.Struct(">i")
_KEY = struct.Struct(">h")
_MIN_FRAME = 8  # api key, api version, correlation id


class FrameError(Exception):
    """The peer broke the framing; nothing after this can be understood."""


class Inbox:
    """Cuts frames out of a buffer that a transport fills."""

    __slots__ = ("_buffer", "_end", "_filled", "_max_frame", "_start", "_view", "frames", "wanted")

    def __init__(self, max_frame: int) -> None:
        self._max_frame = max_frame
        self._set(bytearray())
        self._start = 0
        self._end = 0
        self._filled = False
        self.frames = 0
        """Frames consumed so far: tells the sweep whether a begun frame is still the same one."""
        self.wanted = 0
        """Bytes from `start` that the begun frame needs, prefix included; 0 = not known yet."""

    @property
    def capacity(self) -> int:
        return len(self._buffer)

    @property
    def unread(self) -> int:
        return self._end - self._start

    @property
    def full(self) -> bool:
        """No room for another byte, even when all is moved to the front."""
        return self.unread == len(self._buffer)

    def required(self) -> int:
        """Capacity without which the frame that was begun cannot be received."""
        return max(self.wanted, BASE_BYTES)

    def preferred(self) -> int:
        """Capacity that would serve this connection well, not below `required`."""
        required = self.required()
        if required > CHUNK_BYTES:
            # Frames of nearly one size follow each other: leave room, or each needs a new buffer.
            return min(required + required // 8, self._max_frame + _PREFIX.size)
        if required > BASE_BYTES or self._filled:
            return CHUNK_BYTES
        return BASE_BYTES

    def resize(self, capacity: int) -> None:
        """Move what is unread into a fresh buffer of that capacity."""
        assert capacity >= self.unread
        fresh = bytearray(capacity)
        unread = self.unread
        fresh[:unread] = self._view[self._start : self._end]
        self._set(fresh)
        self._start = 0
        self._end = unread
        self._filled = False

    def shrink(self) -> None:
        """Let go of an empty buffer."""
        assert self.unread == 0
        self.resize(0)

    def space(self) -> memoryview:
        """Where the next bytes go. `capacity` must be at least `required`."""
        if self._start:
            unread = self.unread
            if unread:
                self._view[:unread] = self._view[self._start : self._end]
            self._start = 0
            self._end = unread
        assert self._end < len(self._buffer)
        return self._view[self._end :]

    def wrote(self, count: int) -> None:
        """The transport has put `count` bytes into `space`."""
        self._end += count
        self._filled = self._end == len(self._buffer)

    def peek(self) -> memoryview | None:
        """The next frame without its length, if it is complete."""
        start = self._start
        have = self._end - start
        if have < _PREFIX.size:
            self.wanted = 0
            return None
        (size,) = _PREFIX.unpack_from(self._buffer, start)
        if size < _MIN_FRAME or size > self._max_frame:
            raise FrameError(f"a frame of {size} bytes, allowed are 8 to {self._max_frame}")
        if have < size + _PREFIX.size:
            self.wanted = size + _PREFIX.size
            return None
        self.wanted = size + _PREFIX.size
        return self._view[start + _PREFIX.size : start + _PREFIX.size + size]

    def consume(self) -> None:
        """Done with the frame that `peek` showed."""
        self._start += self.wanted
        assert self._start <= self._end
        self.wanted = 0
        self.frames += 1

    def _set(self, buffer: bytearray) -> None:
        self._buffer = buffer
        self._view = memoryview(buffer)


def api_key(frame: memoryview) -> int:
    """The API key of a frame, before anything else of it is decoded."""
    key: int = _KEY.unpack_from(frame, 0)[0]
    return key
