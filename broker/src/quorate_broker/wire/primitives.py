"""What compiled readers and writers call for the odd cases. Next: `readers`, `writers`."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from quorate_broker.wire.limits import LIMITS

_CACHED_COUNTS = 64  # replica lists are short


class WireError(Exception):
    """The peer's bytes are not the message they claim to be. The connection is closed."""


def read_uvarint(buf: memoryview, at: int, first: int) -> tuple[int, int]:
    """The rest of an unsigned varint whose first byte, `first`, lay just before `at`."""
    value = first & 0x7F
    for shift in (7, 14, 21, 28):
        byte = buf[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise WireError("a varint of more than five bytes")


def write_uvarint(value: int) -> bytes:
    """An unsigned varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def skip_tags(buf: memoryview, at: int, count: int, end: int) -> int:
    """Step over tagged fields that we do not know; `count` may still be a varint's first byte."""
    count, at = tag_count(buf, at, count, end)
    for _ in range(count):
        _, size, at = tag_head(buf, at, end)
        at += size
    return at


def tag_count(buf: memoryview, at: int, count: int, end: int) -> tuple[int, int]:
    """The number of tagged fields, checked: each takes at least two bytes."""
    if count > 0x7F:
        count, at = read_uvarint(buf, at, count)
    if count * 2 > end - at or count > LIMITS.tagged_fields:
        raise WireError(f"{count} tagged fields in {end - at} bytes")
    return count, at


def tag_head(buf: memoryview, at: int, end: int) -> tuple[int, int, int]:
    """Tag, size and content position of one tagged field."""
    tag = buf[at]
    at += 1
    if tag > 0x7F:
        tag, at = read_uvarint(buf, at, tag)
    size = buf[at]
    at += 1
    if size > 0x7F:
        size, at = read_uvarint(buf, at, size)
    if size > end - at:
        raise WireError(f"a tagged field of {size} bytes where {end - at} remain")
    return tag, size, at


def refuse(what: str, count: int, at: int, end: int) -> WireError:
    """A length or count that cannot be."""
    return WireError(f"{what}: {count} where {end - at} bytes remain")


class Runs(dict[int, Callable[..., Any]]):
    """`struct` functions for n numbers of one kind, made when first asked for."""

    def __init__(self, letter: str, method: str) -> None:
        super().__init__()
        self._letter = letter
        self._method = method

    def __missing__(self, count: int) -> Callable[..., Any]:
        run: Callable[..., Any] = getattr(struct.Struct(f">{count}{self._letter}"), self._method)
        if count <= _CACHED_COUNTS:
            self[count] = run
        return run
