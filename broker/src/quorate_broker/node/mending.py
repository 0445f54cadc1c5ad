"""Replicas that failed and can be had again without a person.

    no room on the disk   what was written stays; when there is room the log is closed, recovered
                          and takes part again: pages of a failed sync are believed by nobody
    rotten bytes          the folder is set aside under retired/, the log begins hollow and its
                          group's leader fills it; only where other replicas exist, and not again
                          and again
    anything else         a disk that errs on writes or syncs, a bug: fenced until the next start

The journal of votes is not mended: without it a node may not go on. Read next: `shelf`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable

from quorate_broker import seams
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.node.room import Room
from quorate_broker.node.shelf import Shelf
from quorate_broker.partition.replica import CorruptReplica
from quorate_broker.partition.shell import Partition

log = logging.getLogger(__name__)

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
REFILL_AGAIN_MS = 10 * 60 * 1000
"""Bytes that rot again within this time rot for a reason."""


class Mending:
    """One per broker; `run` is its task."""

    def __init__(
        self,
        shelf: Shelf,
        room: Room,
        clock: seams.Clock,
        has_others: Callable[[Partition], bool],
    ) -> None:
        """`has_others`: whether some other broker should have what a replica has."""
        self._shelf = shelf
        self._room = room
        self._clock = clock
        self._has_others = has_others
        self._failed: asyncio.Queue[tuple[Partition, bool]] = asyncio.Queue()
        self._refilled_ms: dict[str, int] = {}

    def failed(self, partition: Partition, error: BaseException) -> bool:
        """Whether this replica will be mended."""
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            self._failed.put_nowait((partition, False))
            return True
        if not isinstance(error, CorruptReplica | CorruptLogError):
            return False
        if not self._has_others(partition) or self._was_refilled_lately(partition):
            return False
        self._refilled_ms[partition.group] = self._clock.monotonic_ms()
        self._failed.put_nowait((partition, True))
        return True

    def _was_refilled_lately(self, partition: Partition) -> bool:
        last_ms = self._refilled_ms.get(partition.group)
        return last_ms is not None and self._clock.monotonic_ms() - last_ms < REFILL_AGAIN_MS

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                partition, is_rotten = await self._failed.get()
                name = f"mend {partition.group}"
                tasks.create_task(self._mend(partition, is_rotten), name=name)

    async def _mend(self, partition: Partition, is_rotten: bool) -> None:
        while True:
            if not is_rotten:
                await self._room.until_back()
            try:
                if not await self._shelf.reopen(partition, set_aside=is_rotten):
                    return
            except OSError as error:
                log.error("%s could not be opened again: %s", partition.group, error)
                if error.errno not in NO_ROOM:
                    return
                is_rotten = False  # it was set aside already, or there was nothing to set aside
                continue
            how = "begins anew, to be filled" if is_rotten else "is open again"
            log.warning("%s %s", partition.group, how)
            return
