"""What happens to logs by themselves: old segments go, keys are compacted, rot is found."""

from __future__ import annotations

import asyncio
import errno
import random
import threading
from collections.abc import Awaitable, Callable

import pytest

from quorate_broker import seams
from quorate_broker.cluster import commands
from quorate_broker.node.housekeeping import Housekeeping, Throttle
from quorate_broker.partition.replica import CorruptReplica
from quorate_broker.partition.shell import Partition
from quorate_broker.testing.lonely import Lonely, consume, living, produce
from quorate_broker.testing.simdisk import SimDisk
from quorate_broker.testing.stand import HandClock

VALUE = b"v" * 400
SEGMENT = "1024"


def run(
    test: Callable[[Lonely, Housekeeping], Awaitable[None]],
    *overrides: str,
    disk: SimDisk | None = None,
) -> None:
    disk = disk or SimDisk(random.Random(1))

    async def main() -> None:
        chosen = ("log.preallocate.bytes=0", "log.cleaner.enable=false", *overrides)
        async with living(disk, *chosen) as lonely:
            keeping = Housekeeping(lonely.parts, lonely.node._disks, lonely.node._room)
            await test(lonely, keeping)

    asyncio.run(main())


async def fill(partition: Partition, batches: int, timestamp_ms: int | None = None) -> None:
    """Batches of one record, two to a segment."""
    now_ms = seams.SystemClock().wall_ms()
    for number in range(batches):
        value = b"%d" % number + VALUE
        key = b"k%d" % (number % 2)
        at_ms = now_ms if timestamp_ms is None else timestamp_ms
        await produce(partition, (key, value), timestamp_ms=at_ms)


def test_segments_beyond_the_retention_size_go() -> None:
    async def test(lonely: Lonely, keeping: Housekeeping) -> None:
        _, partition = await lonely.topic("t", retention_bytes="2000", segment_bytes=SEGMENT)
        await fill(partition, 20)
        before = partition.size_bytes
        keeping.look(everyone=True)
        await lonely.until(lambda: partition.start_offset > 0)
        assert 2000 <= partition.size_bytes < before
        assert partition.high_watermark == 20
        assert len(consume(partition)) == 20 - partition.start_offset

    run(test)


def test_segments_beyond_the_retention_time_go_and_younger_ones_stay() -> None:
    async def test(lonely: Lonely, keeping: Housekeeping) -> None:
        _, partition = await lonely.topic("t", retention_ms="3600000", segment_bytes=SEGMENT)
        await fill(partition, 6, timestamp_ms=1_000)
        await fill(partition, 6)
        keeping.look(everyone=True)
        await lonely.until(lambda: partition.start_offset > 0)
        keeping.look(everyone=True)
        assert 4 <= partition.start_offset <= 6
        assert partition.high_watermark == 12

    run(test)


def test_old_records_stay_until_the_regular_look_at_their_age() -> None:
    """Whoever writes with timestamps of his own has time to read what he wrote."""

    async def test(lonely: Lonely, keeping: Housekeeping) -> None:
        _, partition = await lonely.topic("t", segment_bytes=SEGMENT)
        await fill(partition, 6, timestamp_ms=1_000)
        starts = partition.replica.log.starts
        keeping.look(everyone=False)
        assert partition.replica.log.starts == starts == []
        keeping.look(everyone=True)
        await lonely.until(lambda: partition.start_offset > 0)

    run(test)


def test_a_compacted_topic_loses_nothing_to_its_age() -> None:
    async def test(lonely: Lonely, keeping: Housekeeping) -> None:
        _, partition = await lonely.topic(
            "t", cleanup_policy="compact", retention_ms="1", segment_bytes=SEGMENT
        )
        await fill(partition, 6, timestamp_ms=1_000)
        starts = partition.replica.log.starts
        keeping.look(everyone=True)
        assert partition.replica.log.starts == starts == []
        assert partition.start_offset == 0

    run(test)


def test_retention_is_looked_at_again_when_a_log_has_grown() -> None:
    async def test(lonely: Lonely, keeping: Housekeeping) -> None:
        _, partition = await lonely.topic("t", retention_bytes="2000", segment_bytes=SEGMENT)
        keeping.look(everyone=True)
        await fill(partition, 20)
        keeping.look(everyone=False)
        await lonely.until(lambda: partition.start_offset > 0)

    run(test)


def test_a_setting_that_is_changed_takes_effect_on_logs_that_are_open() -> None:
    async def test(lonely: Lonely, keeping: Housekeeping) -> None:
        _, partition = await lonely.topic("t", segment_bytes=SEGMENT)
        keeping.look(everyone=False)
        assert partition.replica.log.settings.segment_bytes == int(SEGMENT)
        command = commands.ChangeTopicConfigs(
            changes=(commands.ConfigChange("t", {"segment.bytes": "4096"}),)
        )
        await lonely.node.context.controller(command)
        image = lonely.node.context.image
        await lonely.until(lambda: image.topics["t"].config == {"segment.bytes": "4096"})
        keeping.look(everyone=False)
        assert partition.replica.log.settings.segment_bytes == 4096

    run(test)


def test_of_each_key_the_newest_record_stays() -> None:
    async def test(lonely: Lonely, keeping: Housekeeping) -> None:
        topic, partition = await lonely.topic(
            "t", cleanup_policy="compact", segment_bytes=SEGMENT, min_cleanable_dirty_ratio="0"
        )
        await fill(partition, 20)
        partition.replica._checkpoint(seams.SystemClock().monotonic_ms())
        partition.kick()
        await lonely.until(lambda: partition.replica.log.checkpoint_index > 18)
        before = partition.size_bytes
        assert await keeping.clean(topic, partition)
        assert partition.size_bytes < before / 3
        assert not await keeping.clean(topic, partition)

    disk = SimDisk(random.Random(1))
    run(test, disk=disk)

    async def again(lonely: Lonely, keeping: Housekeeping) -> None:
        topic = lonely.node.context.image.topics["t"]
        await lonely.until(lambda: lonely.parts.shelf.get(topic.id, 0))
        partition = lonely.parts.shelf.get(topic.id, 0)
        assert partition is not None
        await lonely.until(lambda: partition.is_leader)
        assert partition.high_watermark == 20
        values = consume(partition)
        assert len(values) < 5
        assert values[-2:] == [b"18" + VALUE, b"19" + VALUE]

    run(again, disk=disk)  # what was in memory is gone


@pytest.mark.parametrize("what", ["deleted", "fenced"])
def test_a_cleaning_ends_soon_when_its_log_is_gone(what: str) -> None:
    """Files that it writes must not come to lie in a folder that is being removed."""

    async def test(lonely: Lonely, keeping: Housekeeping) -> None:
        topic, partition = await lonely.topic(
            "t", cleanup_policy="compact", segment_bytes=SEGMENT, min_cleanable_dirty_ratio="0"
        )
        await fill(partition, 20)
        partition.replica._checkpoint(seams.SystemClock().monotonic_ms())
        partition.kick()
        await lonely.until(lambda: partition.replica.log.checkpoint_index > 18)
        lonely.workers.held = []
        cleaning = asyncio.ensure_future(keeping.clean(topic, partition))
        await lonely.until(lambda: lonely.workers.held)
        if what == "deleted":
            await lonely.node.context.controller(commands.DeleteTopics(("t",)))
            await lonely.until(lambda: lonely.parts.shelf.get(topic.id, 0) is None)
            assert lonely.disk.exists(lonely.folder(topic))
        else:
            partition.fail(OSError(errno.EIO, "bad sector"))
        settling = asyncio.ensure_future(partition.settled())
        await asyncio.sleep(0)
        assert not settling.done()
        lonely.workers.held.pop()()
        assert not await cleaning
        await settling
        files = lonely.disk.listdir(lonely.folder(topic)) if what == "fenced" else []
        assert [name for name in files if name.endswith(".cleaned")] == []
        if what == "deleted":
            await lonely.until(lambda: not lonely.disk.exists(lonely.folder(topic)))

    run(test)


def test_rot_in_a_sealed_segment_is_found_and_fences_a_replica_that_is_the_only_one() -> None:
    async def test(lonely: Lonely, keeping: Housekeeping) -> None:
        topic, partition = await lonely.topic("t", segment_bytes=SEGMENT)
        await fill(partition, 6)
        await keeping.scrub(partition)
        assert partition.replica.error is None
        first = f"{lonely.folder(topic)}/{partition.replica.log.segments[0].name}"
        lonely.disk.flip(first, 200)
        await keeping.scrub(partition)
        assert isinstance(partition.replica.error, CorruptReplica)
        assert lonely.disk.exists(first)  # nobody else has it: it is kept as it is
        assert not partition.is_leader

    run(test)


def test_work_is_throttled_and_stops_being_so_when_the_node_stops() -> None:
    clock, waits = HandClock(), []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            waits.append(timeout)
            clock.now_ms += int(timeout * 1000)
            return False

    throttle = Throttle(clock, lambda: 1_000, Stop())
    throttle.spent(500)
    throttle.spent(500)
    assert waits == [0.5, 0.5]
    clock.now_ms += 2_000
    throttle.spent(1_000)
    assert waits == [0.5, 0.5]


@pytest.mark.parametrize("everything", [True, False])
def test_the_scrubber_comes_by_itself_or_never(everything: bool) -> None:
    async def test(lonely: Lonely, keeping: Housekeeping) -> None:
        topic, partition = await lonely.topic("t", segment_bytes=SEGMENT)
        await fill(partition, 6)
        lonely.disk.flip(f"{lonely.folder(topic)}/{partition.replica.log.segments[0].name}", 200)
        if everything:
            await lonely.until(lambda: partition.replica.error is not None)
        else:
            waiting = asyncio.ensure_future(keeping._scrub())
            for _ in range(50):
                await asyncio.sleep(0)
            assert not waiting.done(), "it comes when it is told another interval"
            assert partition.replica.error is None
            waiting.cancel()

    run(test, f"log.scrub.interval.ms={1 if everything else 0}")
