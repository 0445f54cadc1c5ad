"""How a change of the cluster's settings reaches what is running, and what the others are told.

    metadata moves ──▶ Live.hear ──▶ whoever listens          what is read at each use: READ_AT_USE
                   └─▶ settings.json, for the next start      what needs a restart: `Live.behind`
                   └─▶ Standing, in the gossip: which version this broker runs, and what it cannot

Each shared setting that needs no restart stands in `READ_AT_USE`, or has a listener where its value
is kept: most of them below, those of sockets in `doors`, those of logs in `housekeeping`. The first
settings of a cluster are what its metadata leader's file says. Read next: `config.live`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from quorate_broker import config
from quorate_broker.admin.view import Standing
from quorate_broker.cluster import commands, records
from quorate_broker.cluster.image import Image
from quorate_broker.config import live as lives
from quorate_broker.errors import KafkaError
from quorate_broker.log.datadir import DataDir
from quorate_broker.log.disk import Disk
from quorate_broker.node import remembered
from quorate_broker.node.context import NodeContext, Parts
from quorate_broker.node.disks import Disks
from quorate_broker.node.settings import GROUP_SETTINGS, metadata_log

log = logging.getLogger(__name__)

AGAIN_S = 0.5

READ_AT_USE = frozenset(
    {
        "auto.create.topics.enable",
        "auto.leader.rebalance.enable",
        "fetch.max.bytes",
        "leader.replication.throttled.rate",
        "log.cleaner.dedupe.buffer.size",
        "log.cleaner.delete.retention.ms",
        "log.cleaner.io.max.bytes.per.second",
        "log.cleaner.max.compaction.lag.ms",
        "log.cleaner.min.cleanable.ratio",
        "log.cleaner.min.compaction.lag.ms",
        "log.scrub.max.bytes.per.second",
        "message.max.bytes",
        "min.insync.replicas",
        "offsets.topic.num.partitions",
        "offsets.topic.replication.factor",
        "proxy.produce.timeout.ms",
        "storage.min.free.bytes",
    }
)
"""Nobody keeps the value of these: they are looked up in the settings of the day."""


class Listening:
    """One per broker; `look` whenever metadata has moved, `run` is its task."""

    def __init__(
        self, parts: Parts, disks: Disks, disk: Disk, datadir: DataDir, tell: Callable[[], None]
    ) -> None:
        self._parts = parts
        self._disks = disks
        self._disk = disk
        self._datadir = datadir
        self._tell = tell
        self._kept: config.Said | None = None
        self._look = asyncio.Event()

    def listen(self, context: NodeContext) -> None:
        """What this room keeps of the settings."""
        parts, live = self._parts, self._parts.live
        live.listen(("disk.threads",), lambda: self._disks.resize(live.now.disk_threads))
        live.listen(
            ("num.partitions", "default.replication.factor"),
            lambda: parts.controller.configure(live.now),
        )
        live.listen(("replica.lag.time.max.ms",), self._set_lag)
        live.listen(GROUP_SETTINGS, context.configure_groups)
        live.listen(("metadata.log.max.record.bytes.between.snapshots",), self._set_metadata_log)

    def look(self, image: Image) -> None:
        """Metadata has moved."""
        live, me = self._parts.live, self._parts.settings.node_id
        live.hear(
            config.Said(
                image.settings_version, image.settings.get(0, {}), image.settings.get(me, {})
            )
        )
        standing = Standing(
            live.said.version,
            live.restart,
            live.invalid,
            live.unknown,
            tuple(sorted(live.said.own)),
        )
        if standing != self._parts.leaders.standings.get(me):
            self._parts.leaders.standings[me] = standing
            self._tell()
        self._look.set()

    async def run(self) -> None:
        while True:
            await self._look.wait()
            self._look.clear()
            await self.keep()
            if not await self._seed():
                await asyncio.sleep(AGAIN_S)
                self._look.set()

    async def keep(self) -> bool:
        """Have what was said on the disk, for the next start; whether it is there."""
        said = self._parts.live.said
        if said.version == 0 or said == self._kept:
            return said.version != 0
        content = remembered.encode(said, self._datadir.node.cluster_id)
        try:
            await self._disks.call(
                lambda: remembered.write(self._disk, self._datadir.path, content)
            )
        except OSError as error:
            log.warning("the cluster's settings cannot be kept for the next start: %s", error)
            return False
        self._kept = said
        return True

    async def _seed(self) -> bool:
        """As the leader of a cluster that has no settings yet: what the file says. False: again."""
        controller = self._parts.controller
        image = controller.image
        if image.feature_level < records.SETTINGS or image.settings_version or not controller.leads:
            return True
        first = lives.seeds(self._parts.live.file)
        try:
            seed = commands.ChangeSettings(put=first, seed=True)
            await controller.command(seed, self._parts.peers)
        except KafkaError as error:
            log.info("the cluster's first settings are not written yet: %s", error)
            return False
        return True

    def _set_lag(self) -> None:
        for partition in self._parts.shelf:
            partition.replica.set_lag(self._parts.settings.replica_lag_time_max_ms)

    def _set_metadata_log(self) -> None:
        settings = self._parts.settings
        self._parts.controller.snapshot_every(
            settings.metadata_log_max_record_bytes_between_snapshots
        )
        self._parts.controller.partition.replica.log.settings = metadata_log(settings)
