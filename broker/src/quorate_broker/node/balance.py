"""Leaders go back to where they belong: the first replica of each partition.

Placement gives every broker its share of first replicas, so leaders that sit there are spread
evenly. After a restart or a failover they sit elsewhere, and each leader hands over by itself when
the preferred replica can take it: in sync, alive for a while, with room on its disk, on a broker
that stays. A few at a time, so that a broker that comes back is not flooded.

Where the preferred replica was there all the time and another one leads, somebody wanted it so: a
leader that was moved by hand is left alone for as long as Kafka's controller would (its
auto.leader.rebalance looks every five minutes). Read next:
`partition.shell.Partition.transfer_leadership`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from quorate_broker.cluster.image import Image, PartitionInfo
from quorate_broker.errors import KafkaError
from quorate_broker.node.context import Parts
from quorate_broker.partition.shell import Partition

LOOK_EVERY_S = 1.0
AT_ONCE = 8
"""Handovers begun per look."""
ALIVE_MS = 5_000
LED_MS = 5_000
LEFT_ALONE_MS = 300_000
"""For so long a leadership stays that came about although the preferred replica was there."""
AGAIN_MS = 15_000
"""A handover that did not happen is tried again no sooner."""


@dataclass(frozen=True, slots=True)
class _Office:
    """A leadership of this broker: its term, since when, and who could have had it instead."""

    term: int
    since_ms: int
    passed_over: int | None


class Balance:
    """One per broker; `run` is its task."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._alive_since: dict[int, int] = {}
        self._offices: dict[str, _Office] = {}
        """By group."""
        self._asked_ms: dict[str, int] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._parts.settings.auto_leader_rebalance_enable:
                self.look(self._parts.clock.monotonic_ms())

    def look(self, now_ms: int) -> int:
        """Begin to hand over what belongs elsewhere; how many."""
        image = self._parts.controller.image
        self._watch(image, now_ms)
        begun = 0
        offices: dict[str, _Office] = {}
        for partition, info in self._led_here(image):
            group, term = partition.group, partition.leader_epoch
            office = self._offices.get(group)
            if office is None or office.term != term:
                office = _Office(term, now_ms, self._passed_over(info, now_ms))
            offices[group] = office
            if begun < AT_ONCE and self._is_due(partition, info, office, now_ms):
                begun += self._hand_over(partition, info, now_ms)
        self._offices = offices
        self._asked_ms = {g: at for g, at in self._asked_ms.items() if now_ms < at + AGAIN_MS}
        return begun

    def _watch(self, image: Image, now_ms: int) -> None:
        alive = [i for i in image.brokers if self._parts.peers.alive(i)]
        self._alive_since = {i: self._alive_since.get(i, now_ms) for i in alive}

    def _led_here(self, image: Image) -> Iterator[tuple[Partition, PartitionInfo]]:
        for topic in image.topics.values():
            for info in topic.partitions:
                partition = self._parts.shelf.get(topic.id, info.index)
                if partition is not None and partition.is_leader:
                    yield partition, info

    def _passed_over(self, info: PartitionInfo, now_ms: int) -> int | None:
        """The preferred replica, if it was there already and might have led."""
        node_id = info.wanted[0].node_id
        was_there = self._alive_since.get(node_id, now_ms) < now_ms
        return node_id if was_there and node_id not in self._parts.leaders.short else None

    def _is_left_alone(self, office: _Office, node_id: int, now_ms: int) -> bool:
        was_there = self._alive_since.get(node_id, now_ms) <= office.since_ms
        by_hand = office.passed_over == node_id and was_there
        return now_ms - office.since_ms < (LEFT_ALONE_MS if by_hand else LED_MS)

    def _is_due(
        self, partition: Partition, info: PartitionInfo, office: _Office, now_ms: int
    ) -> bool:
        """Whether the preferred replica is another one, and can take over."""
        parts = self._parts
        image = parts.controller.image
        preferred = info.wanted[0]
        node_id = preferred.node_id
        return (
            node_id != parts.peers.me.node_id
            and not self._is_left_alone(office, node_id, now_ms)
            and info.target is None
            and partition.group not in self._asked_ms
            and node_id in partition.replica.in_sync
            and preferred in image.members
            and node_id not in image.draining
            and node_id not in parts.leaders.short
            and now_ms - self._alive_since.get(node_id, now_ms) >= ALIVE_MS
        )

    def _hand_over(self, partition: Partition, info: PartitionInfo, now_ms: int) -> int:
        self._asked_ms[partition.group] = now_ms
        try:
            partition.transfer_leadership(info.wanted[0].node_id)
        except KafkaError:
            return 0  # it leads no more, or hands over to another one
        return 1
