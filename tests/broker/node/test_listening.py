"""Each setting that needs no restart acts on the running broker, and the table is complete."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import cast

import pytest

from quorate_broker import config
from quorate_broker.api import metadata as metadata_api
from quorate_broker.api import topics as topics_api
from quorate_broker.api.context import Call
from quorate_broker.cluster import commands, records
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.groups.coordinator import Coordinator
from quorate_broker.node import doors, listening, remembered
from quorate_broker.node.settings import topic_cleaner, topic_log, topic_retention
from quorate_broker.testing.lonely import DATA, Lonely, living, produce
from quorate_broker.testing.simdisk import SimDisk
from quorate_broker.wire.messages import metadata

LISTENER = 'listeners=[{name="plain", host="127.0.0.1", port=PORT, authentication="none"}]'
DYNAMIC = {
    name
    for name, row in config.SETTINGS.items()
    if not row.needs_restart and row.scope is not config.Scope.NODE
}
"""Of those that brokers share; what of its own file a node heeds is told in `test_told`."""


def ports() -> tuple[str, ...]:
    """For the sockets of one test. That of the brokers' lines, which nobody opens, is none that the
    system gives."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        kafka, proxy = one.getsockname()[1], other.getsockname()[1]
    listener = LISTENER.replace("PORT", str(kafka))
    proxied = ("proxy.host=127.0.0.1", f"proxy.port={proxy}")
    return (listener, *proxied, "rpc.port=1", "log.preallocate.bytes=0")


class Running:
    """A broker that runs, and one setting of it that a test changes."""

    def __init__(self, lonely: Lonely, name: str) -> None:
        self.lonely = lonely
        self.parts = lonely.parts
        self.name = name

    async def set(self, value: str) -> None:
        """Through the metadata, as the Admin API and Kafka's clients do."""
        change = commands.ChangeSettings(put={self.name: value})
        reply = await self.parts.controller.command(change, self.parts.peers)
        assert isinstance(reply, commands.SettingsResult)
        assert not reply.problems
        wanted = config.SETTINGS[self.name].parse(value)
        await self.lonely.until(lambda: self.parts.settings[self.name] == wanted)

    async def created(self, name: str, replicas: int = -1) -> commands.TopicResult:
        new = commands.NewTopic(name, -1, replicas)
        reply = await self.lonely.node.context.controller(commands.CreateTopics((new,)))
        return cast(commands.TopicResults, reply).results[0]


async def num_partitions(one: Running) -> None:
    await one.set("7")
    assert (await one.created("t")).partitions == 7


async def default_replication_factor(one: Running) -> None:
    await one.set("2")
    assert (await one.created("t")).code == ErrorCode.INVALID_REPLICATION_FACTOR


async def auto_create(one: Running) -> None:
    await one.set("false")
    asked = metadata.MetadataRequest(topics=[metadata.MetadataRequestTopic(name="t")])
    answer = metadata_api.handle(one.lonely.node.context, Call(12, listener="plain"), asked)
    assert isinstance(answer, metadata.MetadataResponse)
    assert answer.topics[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


async def leader_rebalance(one: Running) -> None:
    await one.set("false")
    assert not one.parts.settings.auto_leader_rebalance_enable  # looked up before each handover


async def min_insync(one: Running) -> None:
    await one.set("3")
    assert one.lonely.node.context.settings.min_insync_replicas == 3


async def message_max(one: Running) -> None:
    topic, _ = await one.lonely.topic("t")
    await one.set("2000")
    assert topics_api.max_message_bytes(one.lonely.node.context.settings, topic) == 2000


def of_log(field: str, value: str) -> Callable[[Running], Awaitable[None]]:
    """The open log of a partition has it, without a look at the clock."""

    async def row(one: Running) -> None:
        _, partition = await one.lonely.topic("t")
        log = partition.replica.log
        before = getattr(log.settings, field)
        await one.set(value)
        await one.lonely.until(lambda: getattr(log.settings, field) != before)
        assert log.settings == topic_log(one.parts.settings, {})

    return row


def of_retention(value: str) -> Callable[[Running], Awaitable[None]]:
    """Old segments go at once, not at the next look of the retention."""

    async def row(one: Running) -> None:
        _, partition = await one.lonely.topic("t", segment_bytes="1024")
        for number in range(12):
            await produce(partition, (b"k%d" % number, b"v" * 400), timestamp_ms=1_000)
        assert partition.start_offset == 0
        if one.name == "log.retention.check.interval.ms":
            other = commands.ChangeSettings(put={"log.retention.bytes": "1000"})
            await one.parts.controller.command(other, one.parts.peers)
        await one.set(value)
        await one.lonely.until(lambda: partition.start_offset > 0)

    return row


async def cleanup_policy(one: Running) -> None:
    await one.set("compact")
    assert topic_retention(one.parts.settings, {}).compacts


async def cleaner_enable(one: Running) -> None:
    await one.set("false")
    _, partition = await one.lonely.topic(
        "t", cleanup_policy="compact", segment_bytes="1024", min_cleanable_dirty_ratio="0"
    )
    for number in range(12):
        await produce(partition, (b"k", b"%d" % number + b"v" * 400))
    size = partition.size_bytes
    await one.set("true")
    await one.lonely.until(lambda: partition.size_bytes < size)


def of_cleaner(field: str, value: str) -> Callable[[Running], Awaitable[None]]:
    """What the next look of the cleaner goes by."""

    async def row(one: Running) -> None:
        before = topic_cleaner(one.parts.settings, {})
        await one.set(value)
        after = topic_cleaner(one.parts.settings, {})
        assert getattr(after, field) != getattr(before, field)

    return row


def looked_up(value: str) -> Callable[[Running], Awaitable[None]]:
    """In the settings of the day, each time that it counts."""

    async def row(one: Running) -> None:
        await one.set(value)
        assert one.name in listening.READ_AT_USE or one.name == "log.cleaner.backoff.ms"

    return row


async def free_bytes(one: Running) -> None:
    room = one.lonely.node._room
    assert not room.is_short
    await one.set(str(1 << 50))
    await one.lonely.until(lambda: room.is_short)
    await one.set("0")
    await one.lonely.until(lambda: not room.is_short)


async def scrub_interval(one: Running) -> None:
    """A broker that was told never to look does so now."""
    await one.set("0")
    _, partition = await one.lonely.topic("t", segment_bytes="1024")
    for number in range(12):
        await produce(partition, (b"k%d" % number, b"v" * 400))
    read = partition.busy
    looked = asyncio.Event()

    @contextlib.contextmanager
    def busy() -> Iterator[None]:
        looked.set()
        with read():
            yield

    partition.busy = busy  # type: ignore[method-assign]
    await one.set("1")
    await looked.wait()


async def disk_threads(one: Running) -> None:
    await one.set("9")
    assert one.lonely.workers.threads == 9


async def snapshots(one: Running) -> None:
    await one.set("4096")
    assert one.parts.controller._snapshots.every_bytes == 4096
    assert one.parts.controller.partition.replica.log.settings.segment_bytes == 4 * 4096


async def lag(one: Running) -> None:
    _, partition = await one.lonely.topic("t")
    await one.set("5000")
    assert partition.replica._raft._state.settings.lag_ms == 5000


async def throttled_rate(one: Running) -> None:
    await one.set("4096")
    assert one.parts.shelf._parts.throttle._rate() == 4096


async def of_listeners(one: Running) -> None:
    async with open_doors(one) as opened:
        await one.set("2048")
        limits = opened[0].limits
        assert 2048 in (limits.max_frame_bytes, limits.max_connections)


async def proxy_body(one: Running) -> None:
    async with open_doors(one):
        await one.set("2048")
        port = one.parts.settings.proxy_port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = "POST /topics/t HTTP/1.1\r\nHost: q\r\nContent-Length: 3000\r\n"
        kind = "Content-Type: application/vnd.kafka.json.v2+json\r\nAccept: */*\r\n\r\n"
        writer.write((head + kind).encode())
        assert b" 413 " in await reader.readline()
        writer.close()


@contextlib.asynccontextmanager
async def open_doors(one: Running):  # type: ignore[no-untyped-def]
    """The sockets of a broker whose world has none."""
    async with asyncio.TaskGroup() as tasks, contextlib.AsyncExitStack() as stack:
        yield await doors.open_all(stack, tasks, one.parts, one.lonely.node.context)


async def offsets_topic(one: Running) -> None:
    await one.set("3" if "partitions" in one.name else "2")
    if "factor" in one.name:
        with pytest.raises(KafkaError):
            await one.lonely.node.context.ensure_internal_topic()
        return
    await one.lonely.node.context.ensure_internal_topic()
    await one.lonely.until(lambda: "__consumer_offsets" in one.lonely.node.context.image.topics)
    assert len(one.lonely.node.context.image.topics["__consumer_offsets"].partitions) == 3


def of_groups(field: str, value: str, found: int) -> Callable[[Running], Awaitable[None]]:
    """A coordinator that is active has it."""

    async def row(one: Running) -> None:
        context = one.lonely.node.context
        await context.ensure_internal_topic()
        hosts = context._coordinators
        await one.lonely.until(lambda: any(host.machine for host in hosts.values()))
        await one.set(value)
        machines = [host.machine for host in hosts.values() if host.machine]
        for machine in machines:
            assert isinstance(machine, Coordinator)
            assert getattr(machine._settings, field) == found
            assert getattr(machine._rebalancer.settings, field) == found

    return row


ROWS: dict[str, Callable[[Running], Awaitable[None]]] = {
    "num.partitions": num_partitions,
    "default.replication.factor": default_replication_factor,
    "auto.create.topics.enable": auto_create,
    "auto.leader.rebalance.enable": leader_rebalance,
    "min.insync.replicas": min_insync,
    "message.max.bytes": message_max,
    "log.segment.bytes": of_log("segment_bytes", "2048"),
    "log.index.interval.bytes": of_log("index_interval_bytes", "128"),
    "log.preallocate.bytes": of_log("preallocate_bytes", "4096"),
    "log.roll.ms": of_log("segment_ms", "5000"),
    "disk.threads": disk_threads,
    "metadata.log.max.record.bytes.between.snapshots": snapshots,
    "log.cleanup.policy": cleanup_policy,
    "log.retention.ms": of_retention("3600000"),
    "log.retention.hours": of_retention("1"),
    "log.retention.bytes": of_retention("1000"),
    "log.retention.check.interval.ms": of_retention("1"),
    "log.cleaner.enable": cleaner_enable,
    "log.cleaner.backoff.ms": looked_up("5"),
    "log.cleaner.dedupe.buffer.size": of_cleaner("map_keys", "1000000"),
    "log.cleaner.io.max.bytes.per.second": looked_up("4096"),
    "log.cleaner.min.cleanable.ratio": of_cleaner("min_cleanable_dirty_ratio", "0.25"),
    "log.cleaner.delete.retention.ms": of_cleaner("delete_retention_ms", "5"),
    "log.cleaner.min.compaction.lag.ms": of_cleaner("min_compaction_lag_ms", "5"),
    "log.cleaner.max.compaction.lag.ms": of_cleaner("max_compaction_lag_ms", "5"),
    "storage.min.free.bytes": free_bytes,
    "log.scrub.interval.ms": scrub_interval,
    "log.scrub.max.bytes.per.second": looked_up("4096"),
    "socket.request.max.bytes": of_listeners,
    "max.connections": of_listeners,
    "fetch.max.bytes": looked_up("4096"),
    "proxy.request.max.bytes": proxy_body,
    "proxy.produce.timeout.ms": looked_up("4096"),
    "replica.lag.time.max.ms": lag,
    "leader.replication.throttled.rate": throttled_rate,
    "offsets.topic.num.partitions": offsets_topic,
    "offsets.topic.replication.factor": offsets_topic,
    "group.min.session.timeout.ms": of_groups("min_session_timeout_ms", "5", 5),
    "group.max.session.timeout.ms": of_groups("max_session_timeout_ms", "7000", 7000),
    "group.initial.rebalance.delay.ms": of_groups("initial_rebalance_delay_ms", "5", 5),
    "group.max.size": of_groups("max_size", "5", 5),
    "offsets.retention.minutes": of_groups("offsets_retention_ms", "5", 300_000),
    "offsets.retention.check.interval.ms": of_groups("offsets_retention_check_ms", "5", 5),
    "offset.metadata.max.bytes": of_groups("offset_metadata_max_bytes", "5", 5),
}


def test_every_setting_that_needs_no_restart_is_tried() -> None:
    assert set(ROWS) == DYNAMIC


def test_every_setting_that_needs_no_restart_is_looked_up_or_listened_to() -> None:
    async def main() -> None:
        async with living(SimDisk(random.Random(1)), *ports()) as lonely:
            async with open_doors(Running(lonely, "")):
                listened = set(lonely.node.live._listeners)
            assert listened | listening.READ_AT_USE == DYNAMIC
            assert not listened & listening.READ_AT_USE

    asyncio.run(main())


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_running_broker_acts_on_a_change_of(name: str) -> None:
    async def main() -> None:
        async with living(SimDisk(random.Random(1)), *ports()) as lonely:
            await lonely.until(lambda: lonely.node.live.said.version > 0)
            await ROWS[name](Running(lonely, name))

    asyncio.run(main())


def test_what_the_file_says_becomes_the_clusters_first_settings() -> None:
    async def main() -> None:
        async with living(SimDisk(random.Random(1)), "num.partitions=6") as lonely:
            await lonely.until(lambda: lonely.node.live.said.version > 0)
            assert lonely.node.live.said.everybody == {"num.partitions": "6"}
            assert lonely.parts.settings.num_partitions == 6

    asyncio.run(main())


def test_a_broker_starts_with_what_the_cluster_said_last_and_not_with_its_file() -> None:
    disk = SimDisk(random.Random(1))

    async def first() -> None:
        async with living(disk, "raft.election.timeout.ms=400") as lonely:
            await lonely.until(lambda: lonely.node.live.said.version > 0)
            one = Running(lonely, "raft.election.timeout.ms")
            change = commands.ChangeSettings(put={one.name: "500"})
            await one.parts.controller.command(change, one.parts.peers)
            await lonely.until(lambda: lonely.node.live.restart)
            assert one.parts.settings.raft_election_timeout_ms == 400
            standing = one.parts.leaders.standings[1]
            assert standing.restart
            kept = f"{DATA}/{remembered.NAME}"
            await lonely.until(
                lambda: remembered.read(disk, DATA, one.parts.peers.cluster_id).version == 2
            )
            assert disk.exists(kept)

    async def second() -> None:
        async with living(disk, "raft.election.timeout.ms=400") as lonely:
            assert lonely.parts.settings.raft_election_timeout_ms == 500
            assert not lonely.node.live.restart

    asyncio.run(first())
    asyncio.run(second())


def test_a_copy_of_the_settings_that_is_damaged_or_of_another_cluster_counts_as_nothing() -> None:
    disk = SimDisk(random.Random(1))
    disk.mkdirs(DATA)
    said = config.Said(3, {"num.partitions": "7"}, {})
    remembered.write(disk, DATA, remembered.encode(said, "c1"))
    assert remembered.read(disk, DATA, "c1") == said
    assert remembered.read(disk, DATA, "c2").version == 0
    assert remembered.read(disk, DATA, "").version == 0
    content = remembered.encode(said, "c1").replace(b'"7"', b'"8"')
    remembered.write(disk, DATA, content)
    assert remembered.read(disk, DATA, "c1").version == 0
    remembered.write(disk, DATA, b"{")
    assert remembered.read(disk, DATA, "c1").version == 0


def test_a_broker_of_an_older_version_stays_at_its_level_and_goes_by_its_file() -> None:
    async def main() -> None:
        overrides = ("feature.level.known=2", "num.partitions=6")
        async with living(SimDisk(random.Random(1)), *overrides) as lonely:
            assert lonely.node.context.image.feature_level == records.OLDEST
            assert lonely.parts.settings.num_partitions == 6
            with pytest.raises(KafkaError, match="feature level 2"):
                await Running(lonely, "num.partitions").set("7")

    asyncio.run(main())


def test_an_older_broker_on_the_disk_of_a_newer_cluster_ends_with_a_sentence() -> None:
    disk = SimDisk(random.Random(1))

    async def newer() -> None:
        async with living(disk) as lonely:
            await lonely.until(lambda: lonely.node.live.said.version > 0)

    async def older() -> None:
        lonely = Lonely(disk, "feature.level.known=2")
        async with asyncio.timeout(20):
            await lonely.node.run()
        assert "knows 2 only" in str(lonely.node.failure)

    asyncio.run(newer())
    asyncio.run(older())
