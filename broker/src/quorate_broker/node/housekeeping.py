"""What is done to logs behind their clients' backs: old segments go, keys are compacted, bytes are
read over for rot, changed settings take effect.

    retention   the leader of a partition asks its log where it may begin by the topic's limits, and
                moves the start there by an entry, so that no failover brings anything back; size
                is looked at whenever a log has grown, age only now and then, as Kafka does it
    cleaning    each replica for itself, one log at a time in this broker
    scrubbing   each sealed segment once in `log.scrub.interval.ms`

All of it is slow on purpose, and has a thread of its own. Read next: `log.cleaner`, `log.scrub`.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping

from quorate_broker import config, seams
from quorate_broker.cluster.image import Topic
from quorate_broker.errors import KafkaError
from quorate_broker.log import cleaner
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.scrub import Damage, Scrub
from quorate_broker.node.context import Parts
from quorate_broker.node.disks import Disks
from quorate_broker.node.mending import NO_ROOM
from quorate_broker.node.room import Room
from quorate_broker.node.settings import topic_cleaner, topic_log, topic_retention
from quorate_broker.node.workers import Way
from quorate_broker.partition.replica import CorruptReplica
from quorate_broker.partition.shell import Partition

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
"""For settings that changed and segments that are new."""
FIRST_RETENTION_MS = 30_000
"""After the start, as Kafka's: the first looks at a log's age should not meet a start's work."""
SCRUB_LOOK_S = 10.0
SCRUB_STEP_BYTES = 1 << 20
NO_LIMIT = -1
KEEP, CLEAN, SCRUB = range(3)
LISTENED = (
    "log.cleaner.backoff.ms",
    "log.cleaner.enable",
    "log.cleanup.policy",
    "log.index.interval.bytes",
    "log.preallocate.bytes",
    "log.retention.bytes",
    "log.retention.check.interval.ms",
    "log.retention.hours",
    "log.retention.ms",
    "log.roll.ms",
    "log.scrub.interval.ms",
    "log.segment.bytes",
)
"""Settings that logs or these tasks wait with."""


class Throttle:
    """Lets a worker's thread do so many bytes a second, as of now, until `stop` is set."""

    def __init__(
        self, clock: seams.Clock, bytes_per_s: Callable[[], int], stop: threading.Event
    ) -> None:
        self._clock = clock
        self._bytes_per_s = bytes_per_s
        self._stop = stop
        self._due_ms = float(clock.monotonic_ms())

    def spent(self, size: int) -> None:
        self._due_ms += size * 1000 / self._bytes_per_s()
        ahead_ms = self._due_ms - self._clock.monotonic_ms()
        if ahead_ms > 0:
            self._stop.wait(ahead_ms / 1000)


class Housekeeping:
    """One per broker; `run` is its task."""

    def __init__(self, parts: Parts, disks: Disks, room: Room) -> None:
        self._parts = parts
        self._disks = disks
        self._room = room
        self._configs: dict[uuid.UUID, Mapping[str, str]] = {}
        self._segments: dict[Partition, int] = {}
        self._due_ms = self._parts.clock.monotonic_ms() + FIRST_RETENTION_MS
        """When all logs are looked through next."""
        self._stop = threading.Event()
        self._nudges: tuple[asyncio.Event, ...] = tuple(asyncio.Event() for _ in range(3))
        parts.live.listen(LISTENED, self._nudge)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep(), name="retention")
                tasks.create_task(self._clean(), name="cleaner")
                tasks.create_task(self._scrub(), name="scrubber")
        finally:
            self._stop.set()  # nobody waits for the bytes of a throttled thread

    @property
    def _settings(self) -> config.Settings:
        return self._parts.settings

    def _nudge(self) -> None:
        """Settings have changed: everybody looks now, at the age of logs too."""
        self._due_ms = self._parts.clock.monotonic_ms()
        self._configs.clear()
        for nudge in self._nudges:
            nudge.set()

    async def _pause(self, task: int, seconds: float) -> None:
        """Between two looks of a task."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._nudges[task].wait()
        self._nudges[task].clear()

    def _hosted(self) -> Iterator[tuple[Topic, Partition]]:
        """Replicas here that take part, with their topics."""
        shelf = self._parts.shelf
        for topic in tuple(self._parts.controller.image.topics.values()):
            for info in topic.partitions:
                partition = shelf.get(topic.id, info.index)
                if partition is not None and not partition.is_out:
                    yield topic, partition

    # -- settings and retention

    async def _keep(self) -> None:
        while True:
            now_ms = self._parts.clock.monotonic_ms()
            interval_ms = self._settings.log_retention_check_interval_ms
            due_ms = min(self._due_ms, now_ms + interval_ms)  # the interval may have shrunk
            everyone = now_ms >= due_ms
            self._due_ms = now_ms + interval_ms if everyone else due_ms
            self.look(everyone)
            await self._pause(KEEP, LOOK_EVERY_S)

    def look(self, everyone: bool) -> None:
        """See to new settings, and to retention: of all logs, or of those that grew by size."""
        grown: dict[Partition, int] = {}
        for topic, partition in self._hosted():
            replica = partition.replica
            if topic.config != self._configs.get(topic.id):
                replica.log.settings = topic_log(self._settings, topic.config)
            grown[partition] = count = len(replica.log.segments)
            if partition.is_leader and (everyone or count != self._segments.get(partition)):
                self._trim(topic, partition, by_age=everyone)
        self._segments = grown
        topics = self._parts.controller.image.topics_by_id
        self._configs = {topic_id: topic.config for topic_id, topic in topics.items()}

    def _trim(self, topic: Topic, partition: Partition, by_age: bool) -> None:
        """Move the log's start to where the topic's limits allow."""
        limits = topic_retention(self._settings, topic.config)
        if not limits.deletes:
            return
        found = partition.replica.log
        age_ms = limits.ms if by_age else NO_LIMIT
        start = found.retention_start(
            self._parts.clock.wall_ms(), age_ms, limits.bytes, partition.high_watermark
        )
        if start <= found.start_offset or any(start <= offset for _, offset in found.starts):
            return
        try:
            moved = partition.move_start(start)
        except KafkaError as error:
            log.info("%s keeps its old segments for now: %s", partition.group, error)
        else:
            moved.add_done_callback(lambda done: done.exception())  # the next look asks again

    # -- cleaning

    async def _clean(self) -> None:
        while True:
            cleaned = 0
            for topic, partition in tuple(self._hosted()):
                compacts = topic_retention(self._settings, topic.config).compacts
                if compacts and self._settings.log_cleaner_enable:
                    cleaned += await self.clean(topic, partition)
            if not cleaned:
                backoff_s = self._settings.log_cleaner_backoff_ms / 1000
                await self._pause(CLEAN, max(backoff_s, LOOK_EVERY_S))

    async def clean(self, topic: Topic, partition: Partition) -> bool:
        """Clean one log, if that is worth its while. Whether it was."""
        if self._room.is_short or partition.is_out:
            return False
        found = partition.replica.log
        policy = topic_cleaner(self._settings, topic.config)
        committed = min(partition.high_watermark, found.next_offset)
        wall_ms = self._parts.clock.wall_ms()
        held = self._parts.leaders.held.get(partition.group, 0)
        if partition.is_leader:
            held = partition.replica.held_by_all
        cleaning = cleaner.plan(found, policy, wall_ms, committed, held)
        if cleaning is None:
            return False
        throttle = Throttle(
            self._parts.clock,
            lambda: self._settings.log_cleaner_io_max_bytes_per_second,
            self._stop,
        )
        try:
            cleaned = await self._run(partition, cleaning, throttle)
        except (OSError, CorruptLogError) as error:
            self._cleaning_failed(partition, cleaning, error)
            return False
        if cleaned is None or partition.is_out or partition.replica.log is not found:
            return False
        taken = found.swap(cleaned)
        partition.kick()
        if not taken:  # retention was faster
            return False
        _tell(partition, cleaned)
        return True

    async def _run(
        self, partition: Partition, cleaning: cleaner.Cleaning, throttle: Throttle
    ) -> cleaner.Cleaned | None:
        """In the slow thread; stopped when the replica is closed or fails meanwhile."""

        def look() -> None:
            if partition.is_out:
                cleaning.stop()

        partition.add_waiter(look)
        try:
            with partition.busy():
                return await self._disks.call(lambda: cleaning.run(throttle.spent), Way.SLOW)
        finally:
            partition.remove_waiter(look)
            cleaning.stop()  # if this was cancelled, the thread goes on without it

    def _cleaning_failed(
        self, partition: Partition, cleaning: cleaner.Cleaning, error: OSError | CorruptLogError
    ) -> None:
        if partition.is_out or not cleaning.is_current:
            return  # retention, or somebody else, took its files away
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            log.warning("%s is not compacted: %s", partition.group, error)
        else:
            _fence(partition, error)

    # -- scrubbing

    async def _scrub(self) -> None:
        """Everything once in an interval, spread over it; each log first at a time by chance."""
        due: dict[Partition, int] = {}
        before_ms = 0
        while True:
            interval_ms = self._settings.log_scrub_interval_ms
            if interval_ms != before_ms:
                due.clear()
                before_ms = interval_ms
            if interval_ms == 0:
                await self._nudges[SCRUB].wait()
                self._nudges[SCRUB].clear()
                continue
            await self._pause(SCRUB, min(SCRUB_LOOK_S, interval_ms / 1000))
            if self._settings.log_scrub_interval_ms != interval_ms:
                continue
            now_ms = self._parts.clock.monotonic_ms()
            hosted = {partition for _, partition in self._hosted()}
            for partition in [one for one in due if one not in hosted]:
                del due[partition]
            for _, partition in self._hosted():
                if partition not in due:
                    due[partition] = now_ms + self._parts.random.randrange(interval_ms)
            late = [(due_ms, number, one) for number, (one, due_ms) in enumerate(due.items())]
            for due_ms, _, partition in heapq.nsmallest(1, late):
                if due_ms <= now_ms:
                    await self.scrub(partition)
                    due[partition] = self._parts.clock.monotonic_ms() + interval_ms

    async def scrub(self, partition: Partition) -> None:
        """Read over the sealed segments of one log."""
        found = partition.replica.log
        round_ = Scrub(found)
        while partition.replica.log is found and not partition.is_out:
            before = round_.bytes_read
            try:
                with partition.busy():
                    damage = await self._disks.call(lambda: round_.step(SCRUB_STEP_BYTES), Way.SLOW)
            except OSError as error:
                if not partition.is_out:
                    _fence(partition, error)
                return
            if damage is None:
                return
            if partition.replica.log is found and not partition.is_out:
                _judge(partition, [one for one in damage if round_.is_current(one)])
            rate = self._settings.log_scrub_max_bytes_per_second
            await asyncio.sleep((round_.bytes_read - before) / rate)


def _judge(partition: Partition, damage: list[Damage]) -> None:
    for one in damage:
        log.error("%s: %s", partition.group, one.what)
    bad = [one.what for one in damage if not one.harmless]
    if bad:
        _fence(partition, CorruptReplica(bad[0]))


def _fence(partition: Partition, error: Exception) -> None:
    if isinstance(error, CorruptLogError):
        error = CorruptReplica(str(error))
    partition.fail(error)


def _tell(partition: Partition, cleaned: cleaner.Cleaned) -> None:
    log.info(
        "%s compacted to offset %d: %d KiB are %d, %d records and %d tombstones are gone",
        partition.group,
        cleaned.clean_to,
        cleaned.bytes_before >> 10,
        cleaned.bytes_after >> 10,
        cleaned.records_removed,
        cleaned.tombstones_removed,
    )
