"""What brokers tell each other about who leads, and what follows from silence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import msgspec

from quorate_broker.node.gossip import ALL_EVERY, EVERY_MS, Gossiping
from quorate_broker.node.leaders import Gossip, Lead, Leaders
from quorate_broker.raft.messages import Peer


class Voice:
    """Peers that note what is said."""

    me = Peer(1, "disk-1")

    def __init__(self) -> None:
        self.said: list[Gossip] = []

    def broadcast(self, body: bytes) -> None:
        self.said.append(msgspec.msgpack.decode(body, type=Gossip))


class Flankless:
    term = -1

    def gossip(self) -> None:
        return None

    def hear(self, nodes: object, term: int) -> None:
        assert nodes is None


class Replica:
    def __init__(self, term: int, leads: bool) -> None:
        self.term = term
        self.serving = leads
        self.in_sync = frozenset({1, 2, 3}) if leads else frozenset()
        self.held_by_all = 7


class Part:
    """A partition that leads here, or rests under another leader."""

    def __init__(self, group: str, term: int, leader: int) -> None:
        self.group = group
        self.leader_id = leader
        self.is_leader = leader == 1
        self.resting = True
        self.woken = 0
        self.replica = Replica(term, self.is_leader)

    def wake(self) -> None:
        self.woken += 1


class Shelf(list[Part]):
    walks = 0

    def __iter__(self) -> Iterator[Part]:
        self.walks += 1
        return super().__iter__()

    def resting(self) -> list[Part]:
        return [part for part in list(self) if part.resting]


class Scene:
    def __init__(self) -> None:
        self.voice = Voice()
        self.shelf = Shelf()
        self.leaders = Leaders()
        self.changes = 0
        self.gossip = Gossiping(
            cast(Any, self.shelf),
            cast(Any, self.voice),
            self.leaders,
            cast(Any, Flankless()),
            self.changed,
        )

    def changed(self) -> None:
        self.changes += 1

    def hear(self, teller: int, *leads: Lead, full: bool = True) -> None:
        body = msgspec.msgpack.encode(Gossip(tuple(leads), full=full))
        self.gossip.hear(teller, memoryview(body))


def run(test: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        await test(Scene())

    asyncio.run(main())


def test_all_that_changes_in_one_turn_of_the_loop_is_one_word() -> None:
    async def test(scene: Scene) -> None:
        for index in range(3):
            scene.gossip.leadership_changed(cast(Any, Part(f"g{index}", 4, 1)))
        assert scene.voice.said == []
        await asyncio.sleep(0)
        (word,) = scene.voice.said
        assert word.leads == tuple(Lead(f"g{index}", 4, 1, (1, 2, 3), 7) for index in range(3))
        assert not word.full
        assert scene.leaders.get("g0").leader_id == 1
        assert scene.changes == 3

    run(test)


def test_what_is_known_already_is_not_told_again() -> None:
    async def test(scene: Scene) -> None:
        part = cast(Any, Part("g", 4, 1))
        scene.gossip.in_sync_changed(part)
        await asyncio.sleep(0)
        scene.gossip.in_sync_changed(part)
        await asyncio.sleep(0)
        assert len(scene.voice.said) == 1

    run(test)


def test_only_the_full_word_walks_over_all_groups() -> None:
    async def test(scene: Scene) -> None:
        scene.shelf.extend([Part("led", 4, 1), Part("followed", 4, 2)])
        for turn in range(1, ALL_EVERY + 1):
            assert scene.shelf.walks == 0
            scene.gossip.tick(turn * EVERY_MS)
        assert scene.shelf.walks == 1
        *empty, full = scene.voice.said
        assert [word.leads for word in empty] == [()] * (ALL_EVERY - 1)
        assert (full.full, [lead.group for lead in full.leads]) == (True, ["led"])

    run(test)


def test_a_resting_follower_whose_leader_claims_it_no_more_is_woken() -> None:
    async def test(scene: Scene) -> None:
        kept, lost, older, others = (Part(group, 4, 2) for group in ("k", "l", "old", "o"))
        others.leader_id = 3
        scene.shelf.extend([kept, lost, older, others])
        scene.hear(2, Lead("k", 4, 2, (1, 2)), Lead("old", 3, 2, (1, 2)))
        assert [part.woken for part in (kept, lost, older, others)] == [0, 1, 1, 0]

    run(test)


def test_a_word_that_is_not_full_wakes_nobody() -> None:
    async def test(scene: Scene) -> None:
        part = Part("g", 4, 2)
        scene.shelf.append(part)
        scene.hear(2, full=False)
        assert part.woken == 0

    run(test)


def test_gossip_that_was_under_way_does_not_bring_a_deleted_group_back() -> None:
    leaders = Leaders()
    leaders.learn(Lead("g", 4, 2, (1, 2)))
    leaders.forget(["g"])
    assert not leaders.learn(Lead("g", 5, 2, (1, 2)))
    assert not leaders.observe("g", 6, 1)
    assert leaders.get("g").leader_id == -1
    assert len(leaders) == 0


def test_how_far_all_members_are_is_known_to_the_followers_too() -> None:
    """A follower that compacts its own log keeps tombstones that somebody may not have seen."""
    leaders = Leaders()
    leaders.learn(Lead("g", 4, 2, (1, 2), 10))
    version = leaders.version
    assert not leaders.learn(Lead("g", 4, 2, (1, 2), 20))
    assert (leaders.held["g"], leaders.version) == (20, version)
    leaders.learn(Lead("g", 3, 1, (1, 2), 99))
    assert leaders.held["g"] == 20
    leaders.forget(["g"])
    assert leaders.held == {}


def test_a_broker_without_room_is_known_to_the_others_until_it_says_otherwise() -> None:
    async def test(scene: Scene) -> None:
        short = msgspec.msgpack.encode(Gossip(short=True))
        scene.gossip.hear(2, memoryview(short))
        assert scene.leaders.short == {2}
        scene.hear(2)
        assert scene.leaders.short == set()

    run(test)
