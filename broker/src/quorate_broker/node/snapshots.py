"""Snapshots of the metadata: what the log adds up to is kept, and the log begins behind it.

Each broker writes its own image as the log's state when the log has grown by enough; the leader
then has the log begin there, on every replica that has a state of its own that far (the others
follow when theirs is written). A restart reads the state and what is behind it; a broker that was
away for longer than the log reaches back is sent the leader's. Read next: `partition.hosted`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from quorate_broker.errors import KafkaError
from quorate_broker.partition.hosted import keep_state
from quorate_broker.partition.shell import Appended, Partition


class Snapshots:
    """Of one partition; `encode` says what its committed records up to now add up to."""

    def __init__(self, partition: Partition, encode: Callable[[], bytes], every_bytes: int) -> None:
        self._partition = partition
        self._encode = encode
        self.every_bytes = every_bytes
        self._size = 0
        """Of the log, at the last snapshot."""

    def look(self, next_offset: int) -> None:
        """Everything before `next_offset` has been applied."""
        size = self._partition.size_bytes
        self._size = min(self._size, size)  # the log has been cut at its front
        if size - self._size < self.every_bytes:
            return
        if keep_state(self._partition, next_offset, self._encode()):
            self._size = size
            self._begin_at(next_offset)

    def _begin_at(self, offset: int) -> None:
        """As leader. Whoever leads next does so with its own next snapshot."""
        if self._partition.is_leader:
            with contextlib.suppress(KafkaError):
                moved = self._partition.move_start(offset)
                moved.add_done_callback(_forget)


def _forget(moved: asyncio.Future[Appended]) -> None:
    """The leadership may be lost before it is committed; then the next snapshot does it."""
    if not moved.cancelled():
        moved.exception()
