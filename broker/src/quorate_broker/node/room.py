"""Room on the disk: looked after beside the event loop, and acted upon before there is none.

Below a reserve (`storage.min.free.bytes`) this broker takes no records from producers or leaders,
and hands what it leads to brokers that have room; reads go on. Metadata and what groups commit is
written all the same: topics can only be deleted, and room be made, by writing that down. When room
comes back, so does everything else by itself. The others hear of it by gossip. Kafka has no such
thing; Redpanda rejects producers likewise. Next: `mending`, for what ran into a full disk.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterator

from quorate_broker import config
from quorate_broker.errors import KafkaError
from quorate_broker.log.datadir import DataDir
from quorate_broker.net.peers import Peers
from quorate_broker.node.disks import Disks
from quorate_broker.node.leaders import Leaders
from quorate_broker.node.shelf import Shelf
from quorate_broker.partition.shell import Partition

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.25
HAND_OVER_EVERY = 4
HAND_OVER_AT_ONCE = 16
MOST_RESERVE_BYTES = 1 << 30
RESERVE_PARTS = 20
AGAIN_PARTS = 10
"""Room counts as back with a tenth of the reserve beyond it, so that nothing flutters."""
LEAST_BYTES = 1 << 20
"""With less free than this a log is not worth opening, whatever the reserve."""


class Room:
    """One per broker; `changed` is called when it runs short, and when it does so no longer."""

    def __init__(
        self, live: config.Live, disks: Disks, datadir: DataDir, changed: Callable[[], None]
    ) -> None:
        self._live = live
        self._disks = disks
        self._datadir = datadir
        self._changed = changed
        self._back = asyncio.Event()
        self.total_bytes = 0
        self.free_bytes = 0
        self.is_short = False

    @property
    def reserve_bytes(self) -> int:
        wanted = self._live.now.storage_min_free_bytes
        if wanted >= 0:
            return wanted
        return min(MOST_RESERVE_BYTES, self.total_bytes // RESERVE_PARTS)

    async def run(self, shelf: Shelf, peers: Peers, leaders: Leaders) -> None:
        """Pause the shelf's partitions and hand them over, or let them go on."""
        turn = 0
        while True:
            before = self.is_short
            await self.look()
            if self.is_short or before:
                for partition in shelf:
                    partition.paused = self.is_short and not shelf.is_internal(partition)
            if self.is_short and turn % HAND_OVER_EVERY == 0:
                hand_over(shelf, peers, leaders)
            turn += 1
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Once, in a disk thread."""
        try:
            self.total_bytes, self.free_bytes = await self._disks.call(self._measure)
        except OSError as error:
            log.warning("cannot tell how much room there is: %s", error)
            return
        if self.free_bytes >= max(self.reserve_bytes, LEAST_BYTES):
            self._back.set()
        else:
            self._back.clear()
        short = self._is_short_now()
        if short != self.is_short:
            self.is_short = short
            free, reserve = self.free_bytes >> 20, self.reserve_bytes >> 20
            if short:
                log.error("%d MiB free of %d that must be: no records are taken", free, reserve)
            else:
                log.warning("%d MiB free again: records are taken", free)
            self._changed()

    def _is_short_now(self) -> bool:
        enough = self.reserve_bytes
        if self.is_short:
            enough += enough // AGAIN_PARTS
        return self.free_bytes < enough

    def _measure(self) -> tuple[int, int]:
        try:
            total = shutil.disk_usage(self._datadir.path).total
        except FileNotFoundError:
            total = 0  # a simulator's disk: no reserve but one in bytes
        return total, self._datadir.free_bytes()

    async def until_back(self) -> None:
        """Until there is more than the reserve."""
        self._back.clear()  # what was free when something hit the end counts no more
        await self._back.wait()


def hand_over(shelf: Shelf, peers: Peers, leaders: Leaders) -> None:
    """Ask some of those that are led here to be led by brokers that have room."""
    asked = 0
    for partition in shelf:
        if shelf.is_internal(partition):
            continue
        targets = sorted(_targets(partition, peers, leaders))
        if targets:
            try:
                partition.transfer_leadership(targets[asked % len(targets)])
            except KafkaError:
                continue
            asked += 1
        if asked >= HAND_OVER_AT_ONCE:
            return


def _targets(partition: Partition, peers: Peers, leaders: Leaders) -> Iterator[int]:
    if not partition.is_leader:
        return
    for node_id in partition.replica.in_sync - {peers.me.node_id}:
        if node_id not in leaders.short and peers.alive(node_id):
            yield node_id
