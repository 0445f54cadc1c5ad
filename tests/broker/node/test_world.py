"""A whole node in a world made for it: no thread, no socket, no file."""

from __future__ import annotations

import asyncio
import random

from quorate_broker.testing.lonely import consume, living, produce
from quorate_broker.testing.simdisk import SimDisk


def test_a_node_lives_in_the_world_that_it_is_given() -> None:
    disk = SimDisk(random.Random(1))

    async def first_life() -> None:
        async with living(disk) as lonely:
            _, partition = await lonely.topic("t")
            await produce(partition, (b"k", b"v"))

    async def second_life() -> None:
        async with living(disk) as lonely:
            topic = lonely.node.context.image.topics["t"]
            await lonely.until(lambda: lonely.parts.shelf.get(topic.id, 0))
            partition = lonely.parts.shelf.get(topic.id, 0)
            assert partition is not None
            await lonely.until(lambda: partition.is_leader)
            assert consume(partition) == [b"v"]

    asyncio.run(first_life())
    asyncio.run(second_life())
