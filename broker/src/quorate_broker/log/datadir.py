"""The data directory: who owns it, and where everything lies (decision 9).

    LOCK                             held (flock) by the one process that may write here
    node.json                        format, cluster id, node id, incarnation, phase, genesis
    raft/state.log                   terms and votes of all groups: `journal`
    groups/<topic-uuid>-<partition>/ segments, indexes and checkpoint of one replica: `log`
    retired/                         what must not be used again, but not be destroyed either

The incarnation is drawn once, for an empty directory, and is half of a voter's identity: a node
whose disk was lost comes back as somebody else. Every refusal is a sentence for a person.
"""

from __future__ import annotations

import json
import posixpath
import uuid
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
from crc32c import crc32c

from quorate_broker.log.disk import Disk, read_whole, write_whole
from quorate_broker.log.errors import DataDirError

FORMAT = 1
_LOCK = "LOCK"
_NODE = "node.json"
_GROUPS = "groups"
_RETIRED = "retired"
_JOURNAL = "raft/state.log"


@dataclass(frozen=True, slots=True)
class NodeFile:
    """Who this node is. `phase` and `genesis` belong to the bootstrap (decision 5)."""

    node_id: int
    incarnation: str
    cluster_id: str = ""
    phase: str = "empty"
    genesis: dict[str, Any] | None = None


class DataDir:
    """An owned data directory; made by `open`, given back by `close`."""

    def __init__(self, disk: Disk, path: str, lock: int, node: NodeFile) -> None:
        self.path = path
        self.node = node
        self._disk = disk
        self._lock = lock

    @classmethod
    def open(cls, disk: Disk, path: str, node_id: int, incarnation: str) -> DataDir:
        """Take LOCK; read node.json, or in an empty directory write it with this incarnation.

        Raises DataDirError with a sentence: held by another process, another format, another
        node's directory, an unreadable node.json, data without node.json. OSError as it comes.
        """
        disk.mkdirs(path)
        lock = disk.lock(f"{path}/{_LOCK}")
        if lock is None:
            raise DataDirError(f"{path} is in use by another process (its LOCK is held)")
        try:
            node = read_node(disk, path)
            if node is None:
                node = _begin(disk, path, NodeFile(node_id, incarnation))
            if node.node_id != node_id:
                raise DataDirError(
                    f"{path} belongs to node {node.node_id}, but this is node {node_id}; "
                    "give each node its own directory"
                )
            disk.mkdirs(f"{path}/{_GROUPS}")
            if disk.listdir(f"{path}/{_GROUPS}") and not disk.exists(f"{path}/{_JOURNAL}"):
                raise DataDirError(
                    f"{path} holds groups but no {_JOURNAL}: its votes are lost, so it cannot "
                    "take part any more; start this node with an empty directory"
                )
        except BaseException:
            disk.close(lock)
            raise
        return cls(disk, path, lock, node)

    def save(self, node: NodeFile) -> None:
        """Replace node.json, durably. Node id and incarnation never change. Blocking."""
        assert (node.node_id, node.incarnation) == (self.node.node_id, self.node.incarnation)
        write_whole(self._disk, self.path, _NODE, _encode(node))
        self.node = node

    @property
    def journal_path(self) -> str:
        return f"{self.path}/{_JOURNAL}"

    def group_path(self, topic_id: uuid.UUID, partition: int) -> str:
        """The folder of one group; there or not."""
        return f"{self.path}/{_GROUPS}/{topic_id}-{partition}"

    def groups(self) -> list[tuple[uuid.UUID, int]]:
        """Groups that have a folder here."""
        found = []
        for name in self._disk.listdir(f"{self.path}/{_GROUPS}"):
            topic, _, partition = name.rpartition("-")
            try:
                found.append((uuid.UUID(topic), int(partition)))
            except ValueError as error:
                raise DataDirError(f"{self.path}/{_GROUPS}/{name} is not of this node") from error
        return found

    def remove_group(self, topic_id: uuid.UUID, partition: int) -> None:
        """Delete a group's folder, if it is there. Blocking."""
        path = self.group_path(topic_id, partition)
        if self._disk.exists(path):
            self._disk.rmtree(path)
            self._disk.sync_dir(f"{self.path}/{_GROUPS}")

    def retire_group(self, topic_id: uuid.UUID, partition: int, reason: str) -> str:
        """Set a group's folder aside; where it went. `reason` is one word. Blocking."""
        retired = f"{self.path}/{_RETIRED}"
        self._disk.mkdirs(retired)
        source = self.group_path(topic_id, partition)
        number = 1
        while self._disk.exists(
            target := f"{retired}/{posixpath.basename(source)}.{reason}.{number}"
        ):
            number += 1
        self._disk.rename(source, target)
        self._disk.sync_dir(retired)
        self._disk.sync_dir(f"{self.path}/{_GROUPS}")
        return target

    def set_aside(self) -> str:
        """Put everything under retired/: the next `open` finds an empty directory. Blocking.

        node.json goes last: until then a crash leaves a disk that still says whose it was, and
        that is told again that it is void.
        """
        target = f"{self.path}/{_RETIRED}/node-{self.node.node_id}.{self.node.incarnation}"
        self._disk.mkdirs(target)
        for name in (_GROUPS, posixpath.dirname(_JOURNAL), _NODE):
            if self._disk.exists(f"{self.path}/{name}"):
                self._disk.rename(f"{self.path}/{name}", f"{target}/{name}")
                self._disk.sync_dir(target)
                self._disk.sync_dir(self.path)
        return target

    def free_bytes(self) -> int:
        """Space left for us on this file system."""
        return self._disk.free_bytes(self.path)

    def close(self) -> None:
        """Give LOCK back."""
        self._disk.close(self._lock)


def _begin(disk: Disk, path: str, node: NodeFile) -> NodeFile:
    """Take an empty directory; one with data in it lost its node.json, and that is no start."""
    for name in (_GROUPS, "raft"):
        if disk.exists(f"{path}/{name}") and disk.listdir(f"{path}/{name}"):
            raise DataDirError(
                f"{path} holds data but no {_NODE}; whose it is cannot be told, so it is not used"
            )
    write_whole(disk, path, _NODE, _encode(node))
    return node


def _encode(node: NodeFile) -> bytes:
    fields = {"format": FORMAT, **asdict(node)}
    fields["checksum"] = checksum(fields)
    return json.dumps(fields, indent=2, sort_keys=True).encode() + b"\n"


def checksum(fields: dict[str, Any]) -> str:
    """Of all the other fields of node.json."""
    return f"{crc32c(json.dumps(fields, sort_keys=True).encode()):08x}"


def read_node(disk: Disk, path: str) -> NodeFile | None:
    """What node.json says, None if there is none. Raises DataDirError with a sentence."""
    name = f"{path}/{_NODE}"
    if not disk.exists(name):
        return None
    try:
        fields = json.loads(read_whole(disk, name))
        found = fields.pop("format")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise DataDirError(f"{name} cannot be read ({error}); restore it from a copy") from error
    if found != FORMAT:
        raise DataDirError(f"{name} is of format {found}; this version reads format {FORMAT}")
    if fields.pop("checksum", None) != checksum({"format": found, **fields}):
        raise DataDirError(f"{name} was changed or damaged: its checksum does not hold")
    try:
        return msgspec.convert(fields, NodeFile)
    except msgspec.ValidationError as error:
        raise DataDirError(f"{name} cannot be read: {error}") from error
