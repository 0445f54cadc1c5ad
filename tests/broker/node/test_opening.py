"""When a broker that starts opens its doors: once clients need not be told to come again."""

from __future__ import annotations

import asyncio
import errno
import random

import pytest

from quorate_broker.cluster import commands
from quorate_broker.node import main
from quorate_broker.testing.lonely import Lonely, living
from quorate_broker.testing.simdisk import SimDisk

PARTITIONS = 8


async def stopped(disk: SimDisk) -> str:
    """A node has made a topic, and has stopped; where the groups of that topic are."""
    async with living(disk) as lonely:
        made = commands.NewTopic("many", PARTITIONS, 1)
        await lonely.node.context.controller(commands.CreateTopics((made,)))
        await lonely.until(lambda: led(lonely) == PARTITIONS)
        return str(lonely.node.context.image.topics["many"].id)


def led(lonely: Lonely) -> int:
    """How many partitions of the topic are led here."""
    topic = lonely.node.context.image.topics["many"]
    found = [lonely.parts.shelf.get(topic.id, info.index) for info in topic.partitions]
    return sum(partition is not None and partition.is_leader for partition in found)


async def led_when_it_serves(disk: SimDisk) -> int:
    lonely = Lonely(disk)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(lonely.node.run())
        while not lonely.node.serving:  # seen in the turn of the loop in which it comes to be
            await asyncio.sleep(0)
        found = led(lonely)
        lonely.stop.set()
    return found


def test_a_broker_serves_when_it_leads_whatever_nobody_else_has_a_vote_for() -> None:
    async def test() -> None:
        disk = SimDisk(random.Random(1))
        await stopped(disk)
        assert await led_when_it_serves(disk) == PARTITIONS

    asyncio.run(test())


def test_a_broker_does_not_wait_for_what_cannot_be_opened() -> None:
    async def test() -> None:
        disk = SimDisk(random.Random(1))
        topic_id = await stopped(disk)
        bad = f"{topic_id}-0/"
        disk.fault = lambda operation, path: errno.EIO if bad in path else None
        assert await led_when_it_serves(disk) == PARTITIONS - 1

    asyncio.run(test())


def test_a_slow_disk_keeps_the_doors_closed_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        disk = SimDisk(random.Random(1))
        await stopped(disk)
        monkeypatch.setattr(main.Replicas, "opened", asyncio.Event().wait)
        assert await led_when_it_serves(disk) == PARTITIONS

    monkeypatch.setattr(main, "OPENING_S", 0.3)
    asyncio.run(test())
