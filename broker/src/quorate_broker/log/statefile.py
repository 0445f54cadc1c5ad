"""The hosted state: what a state machine had become at some index, instead of the entries before.

The log keeps it because it must be on disk before entries may go; what it means is the machine's
affair. File `state`: magic, version, CRC-32C over the rest, index, content; written whole, in the
first step of a job, so that no checkpoint ever lacks the state that it counts on.
"""

from __future__ import annotations

import struct

from crc32c import crc32c

from quorate_broker.log.disk import Disk, read_if_there
from quorate_broker.log.errors import CorruptLogError

NAME = "state"
_MAGIC = b"QSTA"
_VERSION = 1
_HEAD = struct.Struct(">4sHI")
_INDEX = struct.Struct(">q")


def encode(index: int, content: bytes) -> bytes:
    """The file's content."""
    body = _INDEX.pack(index) + content
    return _HEAD.pack(_MAGIC, _VERSION, crc32c(body)) + body


def decode(data: bytes) -> tuple[int, bytes]:
    """(index, content); raises CorruptLogError."""
    if len(data) < _HEAD.size + _INDEX.size:
        raise CorruptLogError("the state file is cut short")
    magic, version, crc = _HEAD.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise CorruptLogError(f"the state file is not of version {_VERSION}")
    body = data[_HEAD.size :]
    if crc32c(body) != crc:
        raise CorruptLogError("the state file's checksum does not hold")
    return _INDEX.unpack_from(body)[0], body[_INDEX.size :]


def load(disk: Disk, path: str) -> tuple[int, bytes] | None:
    """The state in folder `path`, None if there is none. Raises CorruptLogError."""
    data = read_if_there(disk, f"{path}/{NAME}")
    return None if data is None else decode(data)
