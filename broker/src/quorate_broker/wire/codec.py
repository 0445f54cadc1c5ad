"""Messages to bytes and back.

`decode` and `encode` compile the functions for one (message, version) when they first meet it and
keep them: see `readers` and `writers`. Records come out as slices of the frame and go in as the
caller's own buffers; neither way copies them. Next: `frames`, which puts headers around messages.
"""

from __future__ import annotations

import struct
from typing import TypeVar

from quorate_broker.wire import readers, schema, writers
from quorate_broker.wire.primitives import WireError as WireError
from quorate_broker.wire.schema import Buffer as Buffer

T = TypeVar("T")

_READERS: dict[tuple[type, int], readers.Reader] = {}
_WRITERS: dict[tuple[type, int], writers.Writer] = {}
_VERSION = struct.Struct(">h")


def decode(cls: type[T], version: int, buf: memoryview, at: int = 0) -> tuple[T, int]:
    """The message at `at` in its `version`, and the position behind it; raises WireError.

    Record fields are slices of `buf`: they live as long as it does.
    """
    reader = _READERS.get((cls, version)) or _reader(cls, version)
    try:
        return reader(buf, at, len(buf))
    except (struct.error, IndexError) as error:
        raise WireError(f"{cls.__name__} v{version} is cut short") from error
    except UnicodeDecodeError as error:
        raise WireError(f"{cls.__name__} v{version} has a string that is not UTF-8") from error


def encode(message: object, version: int) -> list[Buffer]:
    """`message` in its `version`, as buffers to be sent one after the other."""
    out: list[Buffer] = []
    out.append(encode_into(message, version, bytearray(), out))
    return out


def encode_into(message: object, version: int, head: bytearray, out: list[Buffer]) -> bytearray:
    """Write behind `head`. What is complete goes to `out`; the last, open piece is returned."""
    cls = type(message)
    writer = _WRITERS.get((cls, version)) or _writer(cls, version)
    return writer(message, head, out)


def encode_versioned(message: object, version: int) -> bytes:
    """A value that names its version in its first two bytes, as Kafka's own records do."""
    out: list[Buffer] = []
    out.append(encode_into(message, version, bytearray(_VERSION.pack(version)), out))
    return b"".join(out)


def decode_versioned(cls: type[T], value: Buffer) -> tuple[T, int]:
    """The message behind its two bytes of version, and that version; raises WireError."""
    view = memoryview(value)
    if len(view) < _VERSION.size:
        raise WireError(f"{cls.__name__} without a version")
    version: int = _VERSION.unpack_from(view)[0]
    return decode(cls, version, view, _VERSION.size)[0], version


def is_flexible(cls: type, version: int) -> bool:
    """Whether `version` of the message has compact lengths and tagged fields."""
    return version in schema.message_of(cls).flexible


def _reader(cls: type, version: int) -> readers.Reader:
    _check(cls, version)
    reader = readers.compile_reader(cls, version, is_flexible(cls, version))
    _READERS[cls, version] = reader
    return reader


def _writer(cls: type, version: int) -> writers.Writer:
    _check(cls, version)
    writer = writers.compile_writer(cls, version, is_flexible(cls, version))
    _WRITERS[cls, version] = writer
    return writer


def _check(cls: type, version: int) -> None:
    if version not in schema.message_of(cls).versions:
        raise WireError(f"{cls.__name__} has no version {version}")
