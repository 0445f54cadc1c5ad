"""What the cluster said about settings when this broker last heard of it: `settings.json`.

A broker needs some of them before it has the cluster's metadata. The file is a copy: one that is
missing, unreadable, or of another cluster counts as nothing, and is written anew. Read next:
`listening`.
"""

from __future__ import annotations

import logging

import msgspec
from crc32c import crc32c

from quorate_broker import config
from quorate_broker.log.disk import Disk, read_whole, write_whole

log = logging.getLogger(__name__)

NAME = "settings.json"


class _Kept(msgspec.Struct, frozen=True):
    cluster_id: str
    version: int
    everybody: dict[str, str]
    own: dict[str, str]


class _File(msgspec.Struct, frozen=True):
    checksum: str
    kept: _Kept


def encode(said: config.Said, cluster_id: str) -> bytes:
    """Readable, and with a checksum."""
    kept = _Kept(cluster_id, said.version, dict(said.everybody), dict(said.own))
    return msgspec.json.format(msgspec.json.encode(_File(_checksum(kept), kept))) + b"\n"


def write(disk: Disk, path: str, content: bytes) -> None:
    """Into the data directory `path`, durably. Blocking."""
    write_whole(disk, path, NAME, content)


def read(disk: Disk, path: str, cluster_id: str) -> config.Said:
    """Of that cluster; nothing said where nothing can be read. Blocking."""
    name = f"{path}/{NAME}"
    try:
        if not cluster_id or not disk.exists(name):
            return config.Said()
        file = msgspec.json.decode(read_whole(disk, name), type=_File)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        log.warning("%s cannot be read, and is written anew: %s", name, error)
        return config.Said()
    if file.checksum != _checksum(file.kept):
        log.warning("%s was changed or damaged, and is written anew", name)
        return config.Said()
    if file.kept.cluster_id != cluster_id:
        return config.Said()
    return config.Said(file.kept.version, file.kept.everybody, file.kept.own)


def _checksum(kept: _Kept) -> str:
    return f"{crc32c(msgspec.json.encode(kept)):08x}"
