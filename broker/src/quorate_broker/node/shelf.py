"""The replicas of this node.

Committed metadata says which there must be; `node.replicas` has them opened and removed here, off
the event loop. Messages for a group that is about to be opened wait for it, a few and
for a moment: the first election of a new topic then needs no second try. Read next:
`partition.shell`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from quorate_broker import seams
from quorate_broker.cluster.records import Member
from quorate_broker.log.cold import ColdRead
from quorate_broker.log.datadir import DataDir
from quorate_broker.log.disk import Disk
from quorate_broker.log.errors import CorruptLogError
from quorate_broker.log.jobs import Job
from quorate_broker.log.log import Log, LogSettings
from quorate_broker.node.deadlines import Deadlines
from quorate_broker.node.disks import Disks
from quorate_broker.partition.replica import Replica
from quorate_broker.partition.shell import Partition, Traffic
from quorate_broker.raft import membership
from quorate_broker.raft.core import Seat
from quorate_broker.raft.messages import HardState, Message, Peer
from quorate_broker.raft.settings import RaftSettings
from quorate_broker.raft.throttle import Throttle

log = logging.getLogger(__name__)

METADATA_TOPIC = uuid.UUID(int=1)
METADATA_GROUP = f"{METADATA_TOPIC}-0"
EARLY_GROUPS = 256
EARLY_MESSAGES = 4
SETTLE_S = 5.0
EARLY_MS = 2_000


def group_name(topic_id: uuid.UUID, index: int) -> str:
    """The name of a partition's Raft group, and of its folder."""
    return f"{_spelled(topic_id)}-{index}"


def group_names(topic_id: uuid.UUID, count: int) -> Iterator[str]:
    """Of the first `count` partitions of a topic."""
    spelled = _spelled(topic_id)
    return (f"{spelled}-{index}" for index in range(count))


@functools.lru_cache(maxsize=1_000)
def _spelled(topic_id: uuid.UUID) -> str:
    """A UUID is dear to spell, and each partition of a topic asks for it again and again."""
    return str(topic_id)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a shelf is made of."""

    me: Peer
    disk: Disk
    datadir: DataDir
    disks: Disks
    clock: seams.Clock
    random: random.Random
    throttle: Throttle = field(default_factory=Throttle)


class Outside(Protocol):
    """What the shelf tells its node."""

    def send(self, to: Peer, group: str, message: Message) -> None: ...

    def leadership_changed(self, partition: Partition) -> None: ...

    def in_sync_changed(self, partition: Partition) -> None: ...

    def partition_failed(self, partition: Partition, error: Exception) -> None: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A replica that metadata puts on this node.

    `founders` are the first voters of a group that begins with this replica; None: the group lives
    already, and this replica is hollow until its leader has filled it.
    """

    topic_id: uuid.UUID
    index: int
    founders: tuple[Member, ...] | None
    log: LogSettings
    raft: RaftSettings


class Shelf:
    """Implements `partition.shell.Ports` for every partition on it."""

    def __init__(self, parts: Parts, outside: Outside) -> None:
        self._parts = parts
        self._outside = outside
        self._partitions: dict[str, Partition] = {}
        self._by_place: dict[tuple[uuid.UUID, int], Partition] = {}
        self._wanted: dict[str, Wanted] = {}
        self._folders = asyncio.Lock()
        """Held while a folder is taken away, or opened a second time."""
        self._early: dict[str, list[tuple[Peer, Message]]] = {}
        self._early_until_ms = 0
        self._deadlines = Deadlines(parts.clock, self.tick)
        self.traffic = Traffic()

    # -- looking up

    @property
    def clock(self) -> seams.Clock:
        return self._parts.clock

    def get(self, topic_id: uuid.UUID, index: int) -> Partition | None:
        return self._by_place.get((topic_id, index))

    def by_group(self, group: str) -> Partition | None:
        return self._partitions.get(group)

    def __iter__(self) -> Iterator[Partition]:
        return iter(tuple(self._partitions.values()))

    def is_internal(self, partition: Partition) -> bool:
        """Written by brokers, not by producers: metadata, committed offsets."""
        wanted = self._wanted.get(partition.group)
        return wanted is not None and wanted.raft.eager_commit

    def resting(self) -> list[Partition]:
        """Those that rest, leading or not."""
        return [each for each in self._partitions.values() if each.resting]

    # -- opening and removing

    async def open(self, wanted: Wanted) -> Partition:
        """Open (recover, or make) one replica.

        Who is alone stands at once, and so does the preferred leader of a new group.
        """
        group = group_name(wanted.topic_id, wanted.index)
        replica = await self._parts.disks.call(lambda: self._recover(group, wanted))
        self._wanted[group] = wanted
        partition = self._partitions[group] = Partition(replica, self)
        self._by_place[wanted.topic_id, wanted.index] = partition
        self._drop_old_messages()
        for sender, message in self._early.pop(group, ()):
            partition.receive(sender, message)
        is_new = replica.log.last_index == -1 and replica.term == 0
        first = _peer(wanted.founders[0]) if wanted.founders else None
        if replica.leads_soon or (is_new and first == self._parts.me):
            partition.campaign()
        partition.kick()  # from here on its deadline is known
        partition.tell_failure()
        return partition

    def _recover(self, group: str, wanted: Wanted) -> Replica:
        parts = self._parts
        path = parts.datadir.group_path(wanted.topic_id, wanted.index)
        founding = None
        if wanted.founders is not None:
            founding = membership.of(map(_peer, wanted.founders)).encode()
        opened = Log.open(parts.disk, path, wanted.log, parts.clock.wall_ms(), founding=founding)
        try:
            return self._replica(group, wanted, opened)
        except CorruptLogError:  # bytes behind the checkpoint; the log says so itself by now
            return self._replica(group, wanted, opened)
        except OSError:
            with contextlib.suppress(OSError):
                opened.close()
            raise

    def _replica(self, group: str, wanted: Wanted, opened: Log) -> Replica:
        """Reads what is behind the checkpoint. Raises OSError, and CorruptLogError once."""
        parts = self._parts
        seat = Seat(group, parts.me, parts.throttle)
        return Replica(seat, opened, parts.disks.hard_state(group), wanted.raft, parts.random)

    async def remove(self, topic_id: uuid.UUID, index: int) -> None:
        """Close a replica that is not wanted here any more, and delete its files."""
        async with self._folders:
            await self._remove(topic_id, index)

    async def _remove(self, topic_id: uuid.UUID, index: int) -> None:
        group = group_name(topic_id, index)
        partition = self._partitions.pop(group, None)
        self._by_place.pop((topic_id, index), None)
        self._wanted.pop(group, None)
        if partition is not None:
            self._deadlines.forget(partition)
            partition.close()
            await partition.settled()
            await self._close_log(partition)
        await self._parts.disks.call(lambda: self._parts.datadir.remove_group(topic_id, index))

    async def reopen(self, partition: Partition, *, set_aside: bool) -> bool:
        """Recover the log of a replica that failed; with `set_aside` begin a hollow one instead.

        The partition stays the same, with another replica. False when it is gone meanwhile.
        """
        async with self._folders:
            wanted = self._wanted.get(partition.group)
            if wanted is None or self._partitions.get(partition.group) is not partition:
                return False
            await partition.settled()
            await self._close_log(partition)
            if set_aside:
                wanted = dataclasses.replace(wanted, founders=None)
                self._wanted[partition.group] = wanted
                await self._parts.disks.call(lambda: self._set_aside(partition.group, wanted))
            recover = lambda: self._recover(partition.group, wanted)  # noqa: E731
            replica = await self._parts.disks.call(recover)
            partition.begin_again(replica)
            partition.tell_failure()
            return True

    def _set_aside(self, group: str, wanted: Wanted) -> None:
        where = self._parts.datadir.retire_group(wanted.topic_id, wanted.index, "corrupt")
        log.warning("%s: what was here is now %s", group, where)

    async def close(self) -> None:
        """Close every log: trimmed, with a checkpoint."""
        partitions = list(self)
        self._partitions.clear()
        self._by_place.clear()
        for partition in partitions:
            partition.close()
        self._deadlines.close()
        if self._parts.disks.journal_lost:
            return  # the logs may hold terms that the journal lacks: leave them to recovery
        try:
            async with asyncio.timeout(SETTLE_S):
                for partition in partitions:
                    await partition.settled()
        except TimeoutError:
            log.error("the disk does not answer: the logs are left as after a crash")
            return
        async with asyncio.TaskGroup() as tasks:
            for partition in partitions:
                tasks.create_task(self._close_log(partition))

    async def _close_log(self, partition: Partition) -> None:
        """A disk that fails now costs the clean stop, nothing else: recovery does the rest."""
        close = partition.replica.log.close
        try:
            await self._parts.disks.call(close)
        except OSError as error:
            log.error("%s was not closed cleanly: %s", partition.group, error)
            with contextlib.suppress(OSError):
                await self._parts.disks.call(close)  # failed by now: only its files are closed

    # -- driving

    def tick(self, now_ms: int) -> None:
        """See to those whose time has come; the deadlines call it by themselves."""
        for partition in self._deadlines.due(now_ms):
            partition.tick(now_ms)
            self._deadlines.moved(partition)

    def receive(self, sender: Peer, group: str, message: Message) -> None:
        partition = self._partitions.get(group)
        if partition is not None:
            partition.receive(sender, message)
            return
        self._drop_old_messages()
        early = self._early.get(group)
        if early is None and len(self._early) < EARLY_GROUPS:
            early = self._early[group] = []
            self._early_until_ms = self._parts.clock.monotonic_ms() + EARLY_MS
        if early is not None and len(early) < EARLY_MESSAGES:
            early.append((sender, message))

    def _drop_old_messages(self) -> None:
        if self._early and self._parts.clock.monotonic_ms() >= self._early_until_ms:
            self._early.clear()

    def peer_lost(self, node_id: int) -> None:
        for partition in self._partitions.values():
            partition.peer_lost(node_id)

    def peer_silent(self, node_id: int) -> None:
        """Its lines stand and nothing comes: leaders of resting groups there may be frozen."""
        for partition in self.resting():
            if partition.leader_id == node_id:
                partition.wake()

    # -- ports of the partitions

    def send(self, to: Peer, group: str, message: Message) -> None:
        self._outside.send(to, group, message)

    def put_hard_state(self, group: str, state: HardState, done: Callable[[], None]) -> None:
        self._parts.disks.put_hard_state(group, state, done)

    def run_job(self, job: Job | ColdRead, done: Callable[[OSError | None], None]) -> None:
        self._parts.disks.run(job, done)

    def leadership_changed(self, partition: Partition) -> None:
        self._outside.leadership_changed(partition)

    def in_sync_changed(self, partition: Partition) -> None:
        self._outside.in_sync_changed(partition)

    def deadline_moved(self, partition: Partition) -> None:
        if self._partitions.get(partition.group) is partition:
            self._deadlines.moved(partition)

    def partition_failed(self, partition: Partition, error: Exception) -> None:
        log.error("%s takes no part any more: %s", partition.group, error)
        self._outside.partition_failed(partition, error)


def _peer(member: Member) -> Peer:
    return Peer(member.node_id, member.incarnation)
