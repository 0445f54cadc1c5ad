"""What two brokers say first on a line between them, and who is turned away.

A line begins with HELLO (versions, cluster, who I am) and WELCOME (who you reached) or a refusal
in words. Both name every field, so that either end may be newer: a field that one does not know is
passed over, a field that is missing has its default. The version of a line is the highest that
both speak; what it allows stands with `VERSION`. Read next: `lines`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from quorate_broker.net import rpc
from quorate_broker.net.rpc import Frame
from quorate_broker.raft.messages import Peer

MIN_VERSION = 1
VERSION = 2
"""1: each message of Raft is a frame. 2: small ones may come many in a frame (`Kind.BEATS`)."""


class Hello(msgspec.Struct, frozen=True):
    min_version: int
    max_version: int
    cluster_id: str
    node_id: int
    incarnation: str
    line: str
    boot: str = ""
    """Of the process: another one each time it is started."""


class Welcome(msgspec.Struct, frozen=True):
    """`refused` is the reason in words, None when welcome; `retired`: for good."""

    version: int
    cluster_id: str
    node_id: int
    incarnation: str
    refused: str | None = None
    boot: str = ""
    retired: bool = False


@dataclass(slots=True)
class Ourselves:
    """What this end says of itself, and whom it turns away."""

    me: Peer
    boot: str
    cluster_id: str = ""
    retired: frozenset[Peer] = field(default_factory=frozenset)
    version: int = VERSION
    """The highest that this end speaks."""

    def hello(self, purpose: str) -> Hello:
        me = self.me
        return Hello(
            MIN_VERSION,
            self.version,
            self.cluster_id,
            me.node_id,
            me.incarnation,
            purpose,
            self.boot,
        )

    def welcome(self, hello: Hello) -> Welcome:
        """The answer, a refusal perhaps."""
        return Welcome(
            min(self.version, hello.max_version),
            self.cluster_id,
            self.me.node_id,
            self.me.incarnation,
            self._refusal(hello),
            self.boot,
            self._is_retired(hello),
        )

    def _refusal(self, hello: Hello) -> str | None:
        if hello.max_version < MIN_VERSION or hello.min_version > self.version:
            theirs = f"{hello.min_version}-{hello.max_version}"
            return f"it speaks versions {theirs}, not {MIN_VERSION}-{self.version}"
        if hello.cluster_id and self.cluster_id and hello.cluster_id != self.cluster_id:
            return f"cluster {hello.cluster_id} is not this cluster, {self.cluster_id}"
        if hello.node_id == self.me.node_id:
            return f"both ends claim to be broker {hello.node_id}"
        if self._is_retired(hello):
            return f"incarnation {hello.incarnation} of broker {hello.node_id} has been retired"
        return None

    def _is_retired(self, hello: Hello) -> bool:
        same = hello.cluster_id != "" and hello.cluster_id == self.cluster_id
        return same and Peer(hello.node_id, hello.incarnation) in self.retired


T = TypeVar("T")


def decode(frame: Frame, kind: type[T]) -> T:
    """The head of a frame. Raises rpc.FrameError, the end of its line."""
    try:
        return msgspec.msgpack.decode(frame.head, type=kind)
    except msgspec.MsgspecError as error:
        raise rpc.FrameError(f"unreadable {frame.kind.name}: {error}") from error
