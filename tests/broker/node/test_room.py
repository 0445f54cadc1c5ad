"""A disk that fills up: nothing is taken before there is no room, and all comes back with it."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Awaitable, Callable

import pytest

from quorate_broker.cluster import commands
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.node.shelf import METADATA_GROUP
from quorate_broker.testing.lonely import Lonely, consume, living, produce
from quorate_broker.testing.simdisk import SimDisk

RESERVE = 1 << 20


def run(test: Callable[[Lonely], Awaitable[None]], *overrides: str) -> None:
    async def main() -> None:
        disk = SimDisk(random.Random(1), capacity=100 << 20)
        small = ("log.preallocate.bytes=0", *overrides)
        async with living(disk, *small) as lonely:
            await test(lonely)

    asyncio.run(main())


def fill(disk: SimDisk, free_bytes: int) -> None:
    disk.capacity = disk.capacity - disk.free_bytes("/") + free_bytes


def test_produce_is_refused_before_the_disk_is_full_and_reads_go_on() -> None:
    async def test(lonely: Lonely) -> None:
        _, partition = await lonely.topic("t")
        await produce(partition, (b"k", b"before"))
        fill(lonely.disk, RESERVE - 1)
        await lonely.until(lambda: partition.paused)
        with pytest.raises(KafkaError) as refused:
            await produce(partition, (b"k", b"never"))
        assert refused.value.code is ErrorCode.KAFKA_STORAGE_ERROR
        assert consume(partition) == [b"before"]
        assert lonely.parts.leaders.short == {1}
        fill(lonely.disk, 2 * RESERVE)
        await lonely.until(lambda: not partition.paused)
        await produce(partition, (b"k", b"after"))
        assert consume(partition) == [b"before", b"after"]
        assert lonely.parts.leaders.short == set()

    run(test, f"storage.min.free.bytes={RESERVE}")


def test_topics_can_be_deleted_and_groups_commit_while_there_is_no_room_to_produce() -> None:
    """How else would there ever be room again?"""

    async def test(lonely: Lonely) -> None:
        topic, _ = await lonely.topic("t")
        await lonely.topic("u")
        await lonely.node.context.ensure_internal_topic()
        fill(lonely.disk, RESERVE - 1)
        await lonely.until(lambda: lonely.parts.leaders.short)
        offsets = lonely.node.context.image.topics["__consumer_offsets"]
        await lonely.until(lambda: lonely.parts.shelf.get(offsets.id, 0))
        internal = lonely.parts.shelf.get(offsets.id, 0)
        assert internal is not None
        assert not internal.paused
        await lonely.node.context.controller(commands.DeleteTopics(("t",)))
        await lonely.until(lambda: lonely.parts.shelf.get(topic.id, 0) is None)
        assert not lonely.disk.exists(lonely.folder(topic))

    run(test, f"storage.min.free.bytes={RESERVE}")


def test_room_that_comes_and_goes_at_the_border_does_not_flutter() -> None:
    async def test(lonely: Lonely) -> None:
        _, partition = await lonely.topic("t")
        fill(lonely.disk, RESERVE - 1)
        await lonely.until(lambda: partition.paused)
        fill(lonely.disk, RESERVE + 1)
        await lonely.node._room.look()
        assert lonely.node._room.is_short
        fill(lonely.disk, RESERVE + RESERVE // 10 + 1)
        await lonely.node._room.look()
        assert not lonely.node._room.is_short

    run(test, f"storage.min.free.bytes={RESERVE}")


@pytest.mark.parametrize("which", ["topic", "metadata"])
def test_a_replica_that_ran_into_a_full_disk_is_open_again_when_there_is_room(which: str) -> None:
    async def test(lonely: Lonely) -> None:
        topic, partition = await lonely.topic("t")
        await produce(partition, (b"k", b"before"))
        name = METADATA_GROUP if which == "metadata" else str(topic.id)
        free = [False]

        def full(operation: str, path: str) -> int | None:
            writes = operation in ("pwrite", "sync") and f"/groups/{name}" in path
            return errno.ENOSPC if writes and not free[0] else None

        lonely.disk.fault = full
        if which == "metadata":
            metadata = lonely.parts.controller.partition
            command = lonely.node.context.controller(
                commands.CreateTopics((commands.NewTopic("u", 1, 1),))
            )
            creating = asyncio.ensure_future(command)
            await lonely.until(lambda: metadata.replica.error)
            free[0] = True
            await creating
            await lonely.until(lambda: "u" in lonely.node.context.image.topics)
        else:
            with pytest.raises(KafkaError) as refused:
                await produce(partition, (b"k", b"lost"))
            assert refused.value.code.retriable
            assert partition.replica.error is not None
            free[0] = True
            await lonely.until(lambda: partition.is_leader)
            await produce(partition, (b"k", b"after"))
            assert consume(partition)[0] == b"before"
            assert consume(partition)[-1] == b"after"
        assert lonely.node.failure is None

    run(test, "storage.min.free.bytes=0")


def test_a_disk_that_errs_otherwise_is_not_believed_again() -> None:
    async def test(lonely: Lonely) -> None:
        topic, partition = await lonely.topic("t")

        def broken(operation: str, path: str) -> int | None:
            return errno.EIO if operation == "sync" and str(topic.id) in path else None

        lonely.disk.fault = broken
        with pytest.raises(KafkaError):
            await produce(partition, (b"k", b"v"))
        lonely.disk.fault = None
        for _ in range(3):
            await lonely.node._room.look()
        assert partition.replica.error is not None

    run(test, "storage.min.free.bytes=0")
