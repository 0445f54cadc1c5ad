"""Leaders go back to where they belong: the first replica of each partition.

Placement gives every broker its share of first replicas, so leaders that sit there are spread
evenly. After a restart or a failover they sit elsewhere, and each leader hands over by itself when
the preferred replica can take it: in sync, alive for a while, with room on its disk, on a broker
that stays. A few at a time, so that a broker that comes back is not flooded; and not before this
one has led for a while. What somebody moved here by hand (`transfer`) is left alone for as long as
Kafka's controller would: its auto.leader.rebalance looks every five minutes. Read next:
`partition.shell.Partition.transfer_leadership`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from quorate_broker.cluster.image import Image, PartitionInfo
from quorate_broker.errors import KafkaError
from quorate_broker.node.context import Parts
from quorate_broker.partition.shell import Partition

LOOK_EVERY_S = 1.0
AT_ONCE = 8
"""Handovers begun per look."""
ALIVE_MS = 5_000
LED_MS = 5_000
BY_HAND_MS = 300_000
AGAIN_MS = 15_000
"""A handover that did not happen is tried again no sooner."""


class Balance:
    """One per broker; `run` is its task."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._alive_since: dict[int, int] = {}
        self._led_since: dict[str, tuple[int, int]] = {}
        """Group -> (term, since when)."""
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
        if len(self._alive_since) < 2:
            return 0  # nobody to hand anything over to
        begun = 0
        led: dict[str, tuple[int, int]] = {}
        for partition, info in self._led_here(image):
            group, term = partition.group, partition.leader_epoch
            since = self._led_since.get(group, (-1, 0))
            led[group] = since if since[0] == term else (term, now_ms)
            if begun < AT_ONCE and self._is_due(partition, info, now_ms - led[group][1], now_ms):
                begun += self._hand_over(partition, info, now_ms)
        self._led_since = led
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

    def _is_due(self, partition: Partition, info: PartitionInfo, led_ms: int, now_ms: int) -> bool:
        """Whether the preferred replica is another one, and can take over."""
        parts = self._parts
        image = parts.controller.image
        preferred = info.wanted[0]
        node_id = preferred.node_id
        return (
            node_id != parts.peers.me.node_id
            and led_ms >= (BY_HAND_MS if self._is_by_hand(partition) else LED_MS)
            and info.target is None
            and partition.group not in self._asked_ms
            and node_id in partition.replica.in_sync
            and preferred in image.members
            and node_id not in image.draining
            and node_id not in parts.leaders.short
            and now_ms - self._alive_since.get(node_id, now_ms) >= ALIVE_MS
        )

    def _is_by_hand(self, partition: Partition) -> bool:
        moved = self._parts.leaders.by_hand
        return moved.get(partition.group) == partition.leader_epoch

    def _hand_over(self, partition: Partition, info: PartitionInfo, now_ms: int) -> int:
        self._asked_ms[partition.group] = now_ms
        try:
            partition.transfer_leadership(info.wanted[0].node_id)
        except KafkaError:
            return 0  # it leads no more, or hands over to another one
        return 1
