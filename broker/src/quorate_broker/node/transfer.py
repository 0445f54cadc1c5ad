"""Handing leadership over: on request, and of everything when this node stops.

A transfer is asked of the broker that leads, wherever the request came in, and is done when the
group has another leader that serves. That one is told, so that the balance of leaders leaves it
where somebody wanted it. Read next: `raft.core` for how a transfer works.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from quorate_broker import seams
from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.net.peers import PeerLost, Peers
from quorate_broker.node.leaders import Leaders
from quorate_broker.node.shelf import Shelf
from quorate_broker.partition.shell import Partition

METHOD = "transfer-leadership"
BY_HAND = "moved-by-hand"
TIMEOUT_MS = 5_000
LOOK_EVERY_S = 0.02
AGAIN_MS = 2_000
"""Longer than a transfer may take: only then is another target tried."""


class Transfer(msgspec.Struct, frozen=True):
    group: str
    target: int | None


class ByHand(msgspec.Struct, frozen=True):
    """A leadership that came about because somebody asked for it."""

    group: str
    term: int


class Transfers:
    """Hands over what this broker leads."""

    def __init__(self, shelf: Shelf, peers: Peers, clock: seams.Clock, leaders: Leaders) -> None:
        self._shelf = shelf
        self._peers = peers
        self._clock = clock
        self._leaders = leaders

    async def transfer(self, group: str, leader_id: int, target: int | None) -> None:
        """Raises KafkaError NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT."""
        if leader_id == -1:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, "the group has no leader")
        if leader_id == self._peers.me.node_id:
            await self._local(Transfer(group, target))
            return
        body = msgspec.msgpack.encode(Transfer(group, target))
        try:
            await self._peers.request(leader_id, METHOD, body, timeout_ms=TIMEOUT_MS)
        except (PeerLost, TimeoutError) as error:
            raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, str(error)) from error

    async def serve(self, method: str, body: bytes) -> bytes:
        """A transfer that another broker asks of this one, the leader; or its word that this one
        leads because somebody wanted it."""
        if method == BY_HAND:
            moved = msgspec.msgpack.decode(body, type=ByHand)
            self._leaders.by_hand[moved.group] = moved.term
        else:
            await self._local(msgspec.msgpack.decode(body, type=Transfer))
        return b""

    async def _local(self, asked: Transfer) -> None:
        partition = self._shelf.by_group(asked.group)
        if partition is None or not partition.is_leader:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, None)
        if asked.target == self._peers.me.node_id:
            return
        before = partition.leader_epoch
        partition.transfer_leadership(asked.target)
        deadline = self._clock.monotonic_ms() + TIMEOUT_MS
        while not _moved(partition, before):
            if self._clock.monotonic_ms() >= deadline:
                raise KafkaError(
                    ErrorCode.REQUEST_TIMED_OUT, "the leadership has not moved in time"
                )
            await asyncio.sleep(LOOK_EVERY_S)
        await self._tell(partition)

    async def _tell(self, partition: Partition) -> None:
        """One that does not hear of it gives the leadership back sooner, that is all."""
        word = msgspec.msgpack.encode(ByHand(partition.group, partition.leader_epoch))
        with contextlib.suppress(PeerLost, TimeoutError, KafkaError):
            await self._peers.request(partition.leader_id, BY_HAND, word, timeout_ms=TIMEOUT_MS)

    async def give_up_all(self, timeout_ms: int) -> None:
        """Move everything that this node leads to others in sync, as far as there are any.

        One target at a time: a second one while the first still stands would split the votes. And
        this node stays until the other leads, because its own vote may be the one that is needed.
        """
        deadline = self._clock.monotonic_ms() + timeout_ms
        asked_ms: dict[str, int] = {}
        while (now_ms := self._clock.monotonic_ms()) < deadline:
            waiting = [p for p in self._shelf if self._is_to_be_moved(p, asked_ms)]
            if not waiting:
                return
            for partition in waiting:
                again_ms = asked_ms.get(partition.group, now_ms - AGAIN_MS) + AGAIN_MS
                if not partition.is_leader or now_ms < again_ms:
                    continue
                asked_ms[partition.group] = now_ms
                with contextlib.suppress(KafkaError):
                    partition.transfer_leadership(None)
            await asyncio.sleep(LOOK_EVERY_S)

    def _is_to_be_moved(self, partition: Partition, asked_ms: dict[str, int]) -> bool:
        if partition.is_leader:
            return self._followers(partition)
        return partition.group in asked_ms and partition.leader_id in (-1, self._peers.me.node_id)

    def _followers(self, partition: Partition) -> bool:
        others = partition.replica.in_sync - {self._peers.me.node_id}
        return any(self._peers.alive(node_id) for node_id in others)


def _moved(partition: Partition, before: int) -> bool:
    return partition.leader_epoch > before and partition.leader_id != -1
