"""A node that stops hands over to one target at a time, and stays until the other leads."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any, cast

from quorate_broker.node import transfer
from quorate_broker.node.leaders import Leaders
from quorate_broker.raft.messages import Peer

ME, OTHER = 1, 2


class Clock:
    """Virtual: each look at it is a step on."""

    def __init__(self) -> None:
        self.now_ms = 0

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        self.now_ms += 20
        return self.now_ms


@dataclasses.dataclass
class Replica:
    in_sync: frozenset[int] = frozenset({ME, OTHER})


class Partition:
    """Steps down some looks after it was asked; the other leads some looks later."""

    group = "group"

    def __init__(self, clock: Clock, steps_down_ms: int, other_leads_ms: int) -> None:
        self.replica = Replica()
        self.asked_ms: list[int] = []
        self._clock = clock
        self._steps_down_ms = steps_down_ms
        self._other_leads_ms = other_leads_ms

    leader_epoch = 7

    def transfer_leadership(self, target: int | None) -> None:
        self.asked_ms.append(self._clock.now_ms)

    @property
    def is_leader(self) -> bool:
        return self._clock.now_ms < self._steps_down_ms

    @property
    def leader_id(self) -> int:
        if self.is_leader:
            return ME
        return OTHER if self._clock.now_ms >= self._other_leads_ms else -1


class Peers:
    me = Peer(ME, "disk")

    def __init__(self) -> None:
        self.asked: list[tuple[int, str, bytes]] = []

    async def request(self, node_id: int, method: str, body: bytes, timeout_ms: int) -> bytes:
        self.asked.append((node_id, method, body))
        return b""

    def alive(self, node_id: int) -> bool:
        return True


def give_up(partition: Partition, clock: Clock, timeout_ms: int = 10_000) -> None:
    asyncio.run(of(partition, clock).give_up_all(timeout_ms))


def of(partition: Partition, clock: Clock, peers: Peers | None = None) -> transfer.Transfers:
    shelf = Shelf([partition])
    return transfer.Transfers(cast(Any, shelf), cast(Any, peers or Peers()), clock, Leaders())


class Shelf(list[Partition]):
    def by_group(self, group: str) -> Partition:
        return self[0]


class Moving(Partition):
    """The leadership is gone as soon as it is asked for."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, 10_000, 0)

    def transfer_leadership(self, target: int | None) -> None:
        self._steps_down_ms = 0
        self.leader_epoch = 8


def test_the_new_leader_is_told_that_somebody_wanted_it_and_remembers() -> None:
    clock, peers = Clock(), Peers()
    transfers = of(Moving(clock), clock, peers)
    asyncio.run(transfers.transfer("group", ME, OTHER))
    ((told, method, body),) = peers.asked
    assert (told, method) == (OTHER, transfer.BY_HAND)
    other = of(Moving(clock), clock)
    asyncio.run(other.serve(method, body))
    assert other._leaders.by_hand == {"group": 8}


def test_a_node_that_stops_tells_nobody_that_somebody_wanted_it() -> None:
    clock, peers = Clock(), Peers()
    asyncio.run(of(Moving(clock), clock, peers).give_up_all(1_000))
    assert peers.asked == []


def test_a_transfer_that_is_under_way_is_not_asked_for_again() -> None:
    clock = Clock()
    partition = Partition(clock, steps_down_ms=400, other_leads_ms=400)
    give_up(partition, clock)
    assert len(partition.asked_ms) == 1


def test_the_node_stays_until_the_other_leads() -> None:
    clock = Clock()
    give_up(Partition(clock, steps_down_ms=200, other_leads_ms=900), clock)
    assert clock.now_ms >= 900


def test_a_transfer_that_came_to_nothing_is_asked_for_again() -> None:
    clock = Clock()
    partition = Partition(clock, steps_down_ms=3_000, other_leads_ms=3_000)
    give_up(partition, clock)
    first, second = partition.asked_ms
    assert second - first >= transfer.AGAIN_MS


def test_nobody_waits_for_longer_than_the_time_that_is_given() -> None:
    clock = Clock()
    give_up(Partition(clock, steps_down_ms=99_999, other_leads_ms=99_999), clock, 1_000)
    assert clock.now_ms < 1_200
