"""Three whole nodes in one loop: what only shows when all the parts of several nodes meet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from quorate_broker.cluster import commands
from quorate_broker.errors import KafkaError
from quorate_broker.partition.replica import CorruptReplica
from quorate_broker.raft.messages import HardState
from quorate_broker.testing.lonely import produce
from quorate_broker.testing.together import Together, living

EVERYONE = (1, 2, 3)


def run(test: Callable[[Together], Awaitable[None]], *overrides: str) -> None:
    async def main() -> None:
        async with living(3, *overrides) as together:
            made = commands.CreateTopics((commands.NewTopic("t", 1, 3),))
            await together.nodes[1].context.controller(made)
            await together.until(lambda: len(together.replicas("t")) == 3)
            await test(together)

    asyncio.run(main())


def contents(together: Together) -> list[bytes]:
    """Of each replica's log, from the start to its end."""
    found = []
    for partition in together.replicas("t").values():
        read = partition.scan(0, 1 << 20, partition.next_offset)
        found.append(b"".join(bytes(part) for part in read))
    return found


def test_a_leader_that_is_cut_off_is_replaced_and_follows_when_it_is_back() -> None:
    async def test(together: Together) -> None:
        old = await together.leader("t", EVERYONE)
        await produce(together.replicas("t")[old], (b"k", b"before"))
        others = [i for i in EVERYONE if i != old]
        for other in others:
            together.network.cut(old, other)
        lost = produce(together.replicas("t")[old], (b"k", b"lost"))
        new = await together.leader("t", others)
        await produce(together.replicas("t")[new], (b"k", b"after"))
        together.network.heal()
        with pytest.raises(KafkaError) as refused:
            await lost
        assert refused.value.code.retriable
        await together.until(lambda: len(set(contents(together))) == 1)
        assert contents(together)[0].count(b"before") == 1
        assert contents(together)[0].count(b"after") == 1
        assert b"lost" not in contents(together)[0]

    run(test)


def test_rot_on_one_broker_is_set_aside_and_filled_again_by_the_others() -> None:
    async def test(together: Together) -> None:
        leader = await together.leader("t", EVERYONE)
        values = [b"%d" % number + b"v" * 600 for number in range(8)]
        for value in values:
            await produce(together.replicas("t")[leader], (b"k", value))
        await together.until(lambda: len(set(contents(together))) == 1)
        sick = next(i for i in EVERYONE if i != leader)
        partition = together.replicas("t")[sick]
        first = partition.replica
        folder = first.log.path
        together.disks[sick].flip(f"{folder}/{first.log.segments[0].name}", 300)
        await together.until(lambda: partition.replica is not first)
        await together.until(lambda: not partition.replica.log.hollow)
        await together.until(lambda: len(set(contents(together))) == 1)
        assert together.disks[sick].listdir("/data/retired") != []
        assert all(contents(together)[0].count(value) == 1 for value in values)
        assert together.nodes[sick].failure is None

    run(test, "log.segment.bytes=1024", "log.scrub.interval.ms=50")


def test_a_replica_that_moves_away_leaves_its_vote_behind_until_its_topic_is_gone() -> None:
    """Else, wanted again in the same term, this broker could vote a second time in it."""

    async def test(together: Together) -> None:
        leader = await together.leader("t", EVERYONE)
        mover = next(i for i in EVERYONE if i != leader)
        partition = together.replicas("t")[mover]
        disks = together.nodes[mover]._disks
        before = disks.hard_state(partition.group)
        assert before.term > 0
        others = tuple(i for i in EVERYONE if i != mover)
        await reassign(together, (leader, *(i for i in others if i != leader)))
        await together.until(lambda: mover not in together.replicas("t"))
        assert disks.hard_state(partition.group).term >= before.term
        await reassign(together, EVERYONE)
        await together.until(
            lambda: len(set(contents(together))) == 1 and mover in voters(together)
        )
        assert together.replicas("t")[mover].replica.term >= before.term
        await together.nodes[leader].context.controller(commands.DeleteTopics(("t",)))
        await together.until(lambda: disks.hard_state(partition.group) == HardState())

    run(test)


async def reassign(together: Together, brokers: tuple[int, ...]) -> None:
    wish = commands.ReassignPartitions((commands.Reassignment("t", 0, brokers),))
    await together.nodes[1].context.controller(wish)


def voters(together: Together) -> set[int]:
    """By the word of metadata, once it is settled."""
    (info,) = together.nodes[1].context.image.topics["t"].partitions
    return set() if info.target is not None else set(info.replicas)


def test_a_broker_without_room_leads_nothing_and_is_not_waited_for() -> None:
    async def test(together: Together) -> None:
        leader = await together.leader("t", EVERYONE)
        disk = together.disks[leader]
        used = disk.capacity - disk.free_bytes("/")
        disk.capacity = used + (1 << 19)
        others = [i for i in EVERYONE if i != leader]
        new = await together.leader("t", others)
        await produce(together.replicas("t")[new], (b"k", b"v"))
        told = together.nodes[new].parts
        assert told is not None
        await together.until(lambda: leader in told.leaders.short)
        disk.capacity = 1 << 40
        await together.until(lambda: len(set(contents(together))) == 1)
        await together.until(lambda: leader not in told.leaders.short)

    run(test, f"storage.min.free.bytes={1 << 20}")


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_a_broker_whose_metadata_rots_is_filled_again_and_goes_on(who: str) -> None:
    """Blind for a moment, it need not end: the others have what it had."""

    async def test(together: Together) -> None:
        parts = {i: node.parts for i, node in together.nodes.items()}
        leads = [i for i, one in parts.items() if one is not None and one.controller.leads]
        sick = leads[0] if who == "leader" else next(i for i in EVERYONE if i not in leads)
        mine = parts[sick]
        assert mine is not None
        metadata = mine.controller.partition
        first = metadata.replica
        metadata.fail(CorruptReplica("rot"))
        await together.until(lambda: metadata.replica is not first)
        made = commands.CreateTopics((commands.NewTopic("later", 1, 3),))
        await together.nodes[sick].context.controller(made)
        await together.until(lambda: len(together.replicas("later")) == 3)
        await together.until(lambda: not metadata.replica.log.hollow)
        assert together.nodes[sick].failure is None
        assert metadata.replica.error is None

    run(test)


def test_a_broker_whose_metadata_rots_begins_from_a_snapshot_where_the_log_is_trimmed() -> None:
    async def test(together: Together) -> None:
        context = together.nodes[1].context
        for number in range(60):
            made = commands.NewTopic(f"topic-{number}", 1, 1, config={"segment.bytes": "4096"})
            await context.controller(commands.CreateTopics((made,)))
        parts = {i: node.parts for i, node in together.nodes.items()}
        logs = {i: one.controller.partition for i, one in parts.items() if one is not None}
        await together.until(lambda: all(log.replica.log.first_index > 0 for log in logs.values()))
        leader = next(i for i, one in parts.items() if one is not None and one.controller.leads)
        sick = next(i for i in EVERYONE if i != leader)
        first = logs[sick].replica
        logs[sick].fail(CorruptReplica("rot"))
        await together.until(lambda: logs[sick].replica is not first)
        await together.until(lambda: not logs[sick].replica.log.hollow)
        assert logs[sick].replica.log.first_index > 0
        await context.controller(commands.CreateTopics((commands.NewTopic("later", 1, 3),)))
        await together.until(lambda: len(together.replicas("later")) == 3)
        nodes = together.nodes.values()
        await together.until(lambda: len({node.context.image.encode() for node in nodes}) == 1)
        assert together.nodes[sick].failure is None

    run(test, "metadata.log.max.record.bytes.between.snapshots=1024")
