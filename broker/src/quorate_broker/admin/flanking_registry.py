"""Which flanking nodes are there: soft state with a short time to live, on the metadata leader.

A flanking node registers every 3 s and is forgotten after 10 s of silence. Nothing of it is
written anywhere: a new metadata leader starts with an empty registry and has learned all of them
3 s later, and no broker depends on any of them. The class is pure; `now_ms` comes in.
"""

from __future__ import annotations

import dataclasses

TIME_TO_LIVE_MS = 10_000
REGISTER_INTERVAL_MS = 3_000
FIRST_ID = 101
MAX_NODES = 10_000


class RegistryFullError(Exception):
    """More flanking nodes than we keep; somebody makes up ids."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FlankingNode:
    """What a flanking node says of itself."""

    node_id: int
    pod: str
    incarnation: str
    """Drawn anew at each start of the process."""
    ready: bool
    version: str
    proxy: str
    """`host:port` of its HTTP Proxy, empty if unknown."""


class FlankingRegistry:
    """Flanking nodes that were heard of within the time to live."""

    def __init__(self) -> None:
        self._nodes: dict[int, FlankingNode] = {}
        self._deadlines_ms: dict[int, int] = {}

    def register(self, node: FlankingNode, now_ms: int) -> bool:
        """Note that `node` lives; True if the list of nodes is another one now.

        Of two processes with one id (a pod that is replaced) the one heard last stands.
        """
        if node.node_id not in self._nodes and len(self._nodes) >= MAX_NODES:
            raise RegistryFullError(f"{MAX_NODES} flanking nodes are registered already")
        changed = self._nodes.get(node.node_id) != node
        self._nodes[node.node_id] = node
        self._deadlines_ms[node.node_id] = now_ms + TIME_TO_LIVE_MS
        return changed

    def remove(self, node_id: int, incarnation: str) -> bool:
        """Forget a node that says goodbye; a late goodbye never removes its successor."""
        node = self._nodes.get(node_id)
        if node is None or node.incarnation != incarnation:
            return False
        self._forget(node_id)
        return True

    def expire(self, now_ms: int) -> bool:
        """Forget whoever was silent for too long; True if anybody was."""
        silent = [node_id for node_id, at in self._deadlines_ms.items() if at <= now_ms]
        for node_id in silent:
            self._forget(node_id)
        return bool(silent)

    def clear(self) -> bool:
        """Forget all: this node leads no longer. True if there was anybody."""
        any_known = bool(self._nodes)
        self._nodes.clear()
        self._deadlines_ms.clear()
        return any_known

    @property
    def deadline_ms(self) -> int | None:
        """When `expire` has something to do at the earliest."""
        return min(self._deadlines_ms.values(), default=None)

    def nodes(self) -> tuple[FlankingNode, ...]:
        """In the order of their ids."""
        return tuple(self._nodes[node_id] for node_id in sorted(self._nodes))

    def _forget(self, node_id: int) -> None:
        del self._nodes[node_id]
        del self._deadlines_ms[node_id]
