"""Members of a consumer group: they join, read from the committed offsets on, commit, and join
again when they are told to. Next: `clients`.
"""

from __future__ import annotations

import json
from typing import Any

from quorate_broker.testing.simulation.whole.clients import (
    TOPIC,
    TROUBLE,
    Reader,
    Refused,
    must_be_fine,
)
from quorate_broker.wire.messages import (
    find_coordinator,
    heartbeat,
    join_group,
    offset_commit,
    offset_fetch,
    sync_group,
)

GROUP = "g"


class Member(Reader):
    """One member of the group."""

    async def run(self) -> None:
        while not self.is_stopped:
            try:
                await self._belong()
            except (*TROUBLE, Refused):
                pass
            await self.pause()

    async def _belong(self) -> None:
        """From joining to being told to join again."""
        coordinator = await self._coordinator()
        joined = await self.ask(coordinator, _join(self.name), 3)
        must_be_fine(joined)
        assignments = []
        if joined.leader == joined.member_id:
            names = [member.member_id for member in joined.members]
            assignments = _divide(names, self.cluster.options.partitions)
        synced = await self.ask(
            coordinator,
            sync_group.SyncGroupRequest(
                group_id=GROUP,
                generation_id=joined.generation_id,
                member_id=joined.member_id,
                assignments=assignments,
            ),
            2,
        )
        must_be_fine(synced)
        mine: list[int] = json.loads(bytes(synced.assignment) or b"[]")
        self.cluster.seen["joined a group"] += 1
        positions = await self._positions(coordinator, mine)
        while not self.is_stopped:
            for partition in mine:
                if self.history.starts.get(partition, 0) > positions[partition]:
                    await self._skip(partition, positions)
                found = await self.fetch(partition, positions[partition])
                if found is not None:
                    self._no_hole(partition, positions[partition], found.records)
                    positions[partition] = found.next_offset
            await self._commit(coordinator, joined, positions)
            beat = heartbeat.HeartbeatRequest(
                group_id=GROUP, generation_id=joined.generation_id, member_id=joined.member_id
            )
            must_be_fine(await self.ask(coordinator, beat, 2))
            await self.pause()

    async def _skip(self, partition: int, positions: dict[int, int]) -> None:
        """What lies before the log's start is gone, and what was asked for may be before it."""
        offset = await self.earliest(partition)
        if offset is not None:
            positions[partition] = max(offset, positions[partition])

    def _no_hole(self, partition: int, position: int, found: list[tuple[int, bytes]]) -> None:
        expected = range(position, position + len(found))
        got = [offset for offset, _ in found]
        if got != list(expected):
            raise AssertionError(f"B: a hole in partition {partition} at {position}: {got}")

    async def _coordinator(self) -> int:
        request = find_coordinator.FindCoordinatorRequest(key=GROUP)
        found = await self.ask(self.anybody(), request, 2)
        must_be_fine(found)
        node_id: int = found.node_id
        return node_id

    async def _positions(self, coordinator: int, mine: list[int]) -> dict[int, int]:
        before = self.history.commits()
        topics = [offset_fetch.OffsetFetchRequestTopic(name=TOPIC, partition_indexes=mine)]
        request = offset_fetch.OffsetFetchRequest(group_id=GROUP, topics=topics)
        response = await self.ask(coordinator, request, 5)
        must_be_fine(response)
        positions = dict.fromkeys(mine, 0)
        for topic in response.topics:
            for found in topic.partitions:
                must_be_fine(found)
                self.history.was_fetched(
                    GROUP, found.partition_index, found.committed_offset, before
                )
                positions[found.partition_index] = max(0, found.committed_offset)
        return positions

    async def _commit(self, coordinator: int, joined: Any, positions: dict[int, int]) -> None:
        if not positions:
            return
        wanted = dict(positions)
        partitions = [
            offset_commit.OffsetCommitRequestPartition(partition_index=index, committed_offset=at)
            for index, at in wanted.items()
        ]
        request = offset_commit.OffsetCommitRequest(
            group_id=GROUP,
            generation_id_or_member_epoch=joined.generation_id,
            member_id=joined.member_id,
            topics=[offset_commit.OffsetCommitRequestTopic(name=TOPIC, partitions=partitions)],
        )
        response = await self.ask(coordinator, request, 5)
        for topic in response.topics:
            for answer in topic.partitions:
                must_be_fine(answer)
                index = answer.partition_index
                self.history.was_committed(GROUP, index, wanted[index])
                self.cluster.seen["offset committed"] += 1


def _join(name: str) -> join_group.JoinGroupRequest:
    protocol = join_group.JoinGroupRequestProtocol(name="simple", metadata=name.encode())
    return join_group.JoinGroupRequest(
        group_id=GROUP,
        session_timeout_ms=6_000,
        rebalance_timeout_ms=2_000,
        member_id="",
        protocol_type="consumer",
        protocols=[protocol],
    )


def _divide(members: list[str], partitions: int) -> list[sync_group.SyncGroupRequestAssignment]:
    return [
        sync_group.SyncGroupRequestAssignment(
            member_id=member,
            assignment=json.dumps(list(range(partitions))[number :: len(members)]).encode(),
        )
        for number, member in enumerate(sorted(members))
    ]
