"""Real processes, real kills: nothing acknowledged is lost, the cluster goes on by itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from quorate_broker.testing.processes import Cluster, eventually

pytestmark = pytest.mark.process

TOPIC = "orders"
BEFORE, AFTER = 200, 200
UNSURE = -1
"""A value whose write failed: it may be there or not, and that is honest either way."""


class Load:
    """Writes 0, 1, 2 … with acks=all, and remembers where each acknowledged one went."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.acked: dict[int, int] = {}

    async def while_(self, act: Callable[[], None]) -> None:
        """Write `BEFORE` values, `act` in a thread, write `AFTER` more behind its end."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._cluster.bootstrap, enable_idempotence=True, acks="all"
        )
        await producer.start()
        try:
            await self._first(producer)
            acting: asyncio.Future[None] | None = None
            left = AFTER
            value = 1
            while left:
                sent = await producer.send_and_wait(TOPIC, b"%d" % value, partition=0)
                self.acked[value] = sent.offset
                if value == BEFORE:
                    acting = asyncio.get_running_loop().run_in_executor(None, act)
                if acting is not None and acting.done():
                    left -= 1
                value += 1
            assert acting is not None
            await acting
        finally:
            await producer.stop()

    async def _first(self, producer: AIOKafkaProducer) -> None:
        sent = await producer.send_and_wait(TOPIC, b"0", partition=0)
        self.acked[0] = sent.offset


async def read_all(cluster: Cluster) -> list[tuple[int, int]]:
    """Every (offset, value) of the topic's first partition, in the order read."""
    consumer = AIOKafkaConsumer(bootstrap_servers=cluster.bootstrap)
    await consumer.start()
    try:
        place = TopicPartition(TOPIC, 0)
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        end = (await consumer.end_offsets([place]))[place]
        read: list[tuple[int, int]] = []
        while len(read) < end:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                read += [(record.offset, int(record.value)) for record in records]
        return read
    finally:
        await consumer.stop()


def run(main: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(120):
            await main

    asyncio.run(bounded())


async def check_everything_acked_is_there_once_in_order(cluster: Cluster, load: Load) -> None:
    read = await read_all(cluster)
    assert [offset for offset, _ in read] == list(range(len(read)))
    values = [value for _, value in read if value != UNSURE]
    assert values == sorted(set(values)), "a record is doubled or out of order"
    by_value = {value: offset for offset, value in read}
    assert {value: by_value.get(value) for value in load.acked} == load.acked


def test_kill_9_of_the_leader_under_load_loses_nothing_and_keeps_the_order(three: Cluster) -> None:
    load = Load(three)
    killed: list[int] = []

    def kill_the_leader() -> None:
        leader = three.partition_leader(TOPIC)
        three.kill(leader)
        killed.append(leader)
        assert three.partition_leader(TOPIC) != leader

    async def main() -> None:
        await load.while_(kill_the_leader)
        await check_everything_acked_is_there_once_in_order(three, load)

    run(main())
    assert killed


def test_the_leader_of_the_cluster_is_followed_by_another_in_a_higher_term(three: Cluster) -> None:
    leader = three.wait_leader()
    before = three.get(leader, "/v1/watch?after=0")
    three.kill(leader)
    follower = three.wait_leader(among=[i for i in three.brokers if i != leader])
    after = three.get(follower, "/v1/watch?after=0")
    assert after["leader"]["term"] > before["leader"]["term"]
    assert after["transitions"] == before["transitions"] + 1
    assert after["cluster_id"] == before["cluster_id"]
    down = [member["node_id"] for member in after["members"] if not member["alive"]]
    assert down == [leader]
    three.start(leader)
    three.wait_ready(leader)
    assert three.wait_leader() == follower, "the old leader comes back as a follower"


def test_all_brokers_killed_at_once_come_back_with_every_acknowledged_record(
    three: Cluster,
) -> None:
    load = Load(three)

    def kill_all_and_start_again() -> None:
        for node_id in three.brokers:
            three.kill(node_id)
        three.start()
        three.wait_ready()

    async def main() -> None:
        await load.while_(kill_all_and_start_again)
        await check_everything_acked_is_there_once_in_order(three, load)

    run(main())


def test_sigterm_hands_over_first_and_ends_with_0(three: Cluster) -> None:
    load = Load(three)

    def stop_the_leader() -> None:
        leader = three.partition_leader(TOPIC)
        three.signal(leader, signal.SIGTERM)
        assert three.wait_ended(leader) == 0

    async def main() -> None:
        await load.while_(stop_the_leader)
        await check_everything_acked_is_there_once_in_order(three, load)

    run(main())


def test_without_a_quorum_the_survivor_says_so_and_takes_no_write_until_it_heals(
    three: Cluster,
) -> None:
    load = Load(three)
    run(load.while_(lambda: None))
    survivor = three.wait_leader()
    others = [i for i in three.brokers if i != survivor]
    for node_id in others:
        three.kill(node_id)

    def honest() -> bool:
        health = three.get(survivor, "/v1/cluster/health_overview")
        return health["controller_id"] == -1 and not health["is_healthy"]

    eventually(honest, "the survivor knows that it leads nobody")
    assert three.get(survivor, "/v1/watch?after=0")["leader"] is None

    async def refused() -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=three.bootstrap_of(survivor), acks="all", request_timeout_ms=1500
        )
        await producer.start()
        try:
            with pytest.raises(KafkaError):
                await producer.send_and_wait(TOPIC, b"%d" % UNSURE, partition=0)
        finally:
            await producer.stop()

    run(refused())
    three.start(*others)
    three.wait_ready(*others)
    three.wait_leader()
    run(check_everything_acked_is_there_once_in_order(three, load))


def test_a_paused_leader_wakes_up_deposed_and_acknowledges_nothing_stale(three: Cluster) -> None:
    load = Load(three)

    def pause_the_leader() -> None:
        leader = three.partition_leader(TOPIC)
        three.signal(leader, signal.SIGSTOP)
        others = [i for i in three.brokers if i != leader]

        def moved() -> bool:
            state = three.get(others[0], f"/v1/partitions/kafka/{TOPIC}/0")
            return state is not None and state["leader_id"] in others

        eventually(moved, "another leader")
        three.signal(leader, signal.SIGCONT)

    async def main() -> None:
        await load.while_(pause_the_leader)
        await check_everything_acked_is_there_once_in_order(three, load)

    run(main())


def test_a_broker_that_is_silent_for_seconds_is_shown_as_dead_and_then_as_alive(
    three: Cluster,
) -> None:
    leader = three.wait_leader()
    follower = next(i for i in three.brokers if i != leader)

    def is_alive() -> bool:
        members = three.get(leader, "/v1/watch?after=0")["members"]
        return next(bool(m["alive"]) for m in members if m["node_id"] == follower)

    assert is_alive()
    three.signal(follower, signal.SIGSTOP)
    eventually(lambda: not is_alive(), "dead for want of a word", 5)
    three.signal(follower, signal.SIGCONT)
    eventually(is_alive, "alive again")
    three.wait_leader()
