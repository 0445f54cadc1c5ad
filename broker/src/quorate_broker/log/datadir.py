"""The data directory: who owns it, and where everything lies (decision 9).

Signatures first; the body follows.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from quorate_broker.log.disk import Disk


@dataclass(frozen=True, slots=True)
class NodeFile:
    """node.json. `phase` and `genesis` belong to the bootstrap (decision 5)."""

    node_id: int
    incarnation: str
    cluster_id: str = ""
    phase: str = "empty"
    genesis: dict[str, Any] | None = None


class DataDir:
    """See module."""

    path: str
    node: NodeFile

    @classmethod
    def open(cls, disk: Disk, path: str, node_id: int, incarnation: str) -> DataDir:
        """Take LOCK, read node.json or (empty directory) write it with this new incarnation.

        Raises DataDirError with a sentence: held by another process, wrong format, another
        node's directory, unreadable node.json, data without node.json.
        """
        raise NotImplementedError

    def save(self, node: NodeFile) -> None:
        """Replace node.json, durably; node id and incarnation never change. Blocking."""
        raise NotImplementedError

    @property
    def journal_path(self) -> str:
        """raft/state.log"""
        ...

    def group_path(self, topic_id: uuid.UUID, partition: int) -> str:
        """groups/<topic-uuid>-<partition>"""
        raise NotImplementedError

    def groups(self) -> list[tuple[uuid.UUID, int]]:
        """Groups that have a folder here."""
        raise NotImplementedError

    def remove_group(self, topic_id: uuid.UUID, partition: int) -> None:
        """Delete a group's folder. Blocking."""
        raise NotImplementedError

    def retire_group(self, topic_id: uuid.UUID, partition: int, reason: str) -> str:
        """Set a group's folder aside under retired/; where it went. Blocking."""
        raise NotImplementedError

    def free_bytes(self) -> int: ...

    def close(self) -> None:
        """Give LOCK back."""
        raise NotImplementedError
