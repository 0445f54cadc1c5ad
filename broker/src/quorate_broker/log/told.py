"""What a log's own entries told: who its members are, and where it begins.

Both take effect when they are appended and go back when they are truncated (decision 3), so they
are kept by index beside the log, in every checkpoint, and outlive the segments they stood in. What
they mean is Raft's affair: a membership is opaque bytes here. Next: `layout`.
"""

from __future__ import annotations

from bisect import bisect_right

import msgspec

from quorate_broker.log.errors import CorruptLogError
from quorate_broker.wire.batch import InternalEntry, InternalKind


class Told:
    """Memberships and log starts, each with the index of the entry that told it.

    `base` is the membership before all kept ones: the founding one, a snapshot's, or that of an
    entry which is gone.
    """

    def __init__(self, base: tuple[int, bytes] = (-1, b"")) -> None:
        self.base = base
        self.memberships: list[tuple[int, bytes]] = []
        self.starts: list[tuple[int, int]] = []

    @property
    def membership(self) -> tuple[int, bytes]:
        """The one in effect."""
        return self.memberships[-1] if self.memberships else self.base

    def note(self, entry: InternalEntry) -> None:
        """An internal entry was appended. Raises CorruptLogError when it says nothing we know."""
        match entry.kind:
            case InternalKind.MEMBERSHIP:
                self.memberships.append((entry.index, entry.content))
            case InternalKind.LOG_START:
                self.starts.append((entry.index, decode_start(entry.content)))
            case InternalKind.TERM_START:
                pass

    def truncate_after(self, index: int) -> None:
        """Forget what entries behind `index` told."""
        del self.memberships[bisect_right(self.memberships, index, key=_index) :]
        del self.starts[bisect_right(self.starts, index, key=_index) :]

    def forget_before(self, first_index: int) -> None:
        """The log begins at `first_index` now."""
        self.base = self.membership_at(first_index - 1)
        del self.memberships[: bisect_right(self.memberships, first_index - 1, key=_index)]
        del self.starts[: bisect_right(self.starts, first_index - 1, key=_index)]

    def started(self, offset: int) -> None:
        """The log begins at `offset` now: what told so, or told less, is done with."""
        self.starts = [start for start in self.starts if start[1] > offset]

    def membership_at(self, index: int) -> tuple[int, bytes]:
        """The one that was in effect at `index`."""
        place = bisect_right(self.memberships, index, key=_index) - 1
        return self.memberships[place] if place >= 0 else self.base


def _index(told: tuple[int, object]) -> int:
    return told[0]


def encode_start(offset: int) -> bytes:
    """The content of a LOG_START entry."""
    return msgspec.msgpack.encode(offset)


def decode_start(content: bytes) -> int:
    """The opposite; raises CorruptLogError, for its checksum held and nobody writes another."""
    try:
        return msgspec.msgpack.decode(content, type=int)
    except msgspec.DecodeError as error:
        raise CorruptLogError(f"a log start that cannot be read: {error}") from error
