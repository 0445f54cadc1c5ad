"""The admin: it makes the topics; later it makes and deletes others, moves partitions about and
has records deleted. Next: `clients`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from quorate_broker.errors import ErrorCode
from quorate_broker.testing.simulation.whole.clients import TOPIC, TROUBLE, Client, Refused
from quorate_broker.wire.messages import (
    alter_partition_reassignments,
    create_topics,
    delete_records,
    delete_topics,
)

NOTHING: Mapping[str, object] = MappingProxyType({})


class Admin(Client):
    """Makes the topic; later it makes and deletes others, and moves partitions about."""

    async def make(
        self, name: str, partitions: int, replicas: int, config: Mapping[str, object] = NOTHING
    ) -> None:
        """However long it takes."""
        topic = create_topics.CreatableTopic(
            name=name,
            num_partitions=partitions,
            replication_factor=replicas,
            configs=[
                create_topics.CreatableTopicConfig(name=key, value=str(value))
                for key, value in config.items()
            ],
        )
        fine = (0, ErrorCode.TOPIC_ALREADY_EXISTS)
        while True:
            try:
                request = create_topics.CreateTopicsRequest(topics=[topic], timeout_ms=2_000)
                response = await self.ask(self.anybody(), request, 4)
            except TROUBLE:
                await self.pause()
                continue
            if response.topics[0].error_code in fine:
                return
            await self.pause()

    @property
    def _replicas(self) -> int:
        """Two would not outlive the loss of one's bytes, and that may be on its way."""
        options = self.cluster.options
        least = options.nodes if options.wipe or options.rot or options.misread else 1
        return min(3, max(self.nodes, least))

    async def meddle(self, number: int) -> None:
        """One thing or the other, once; whether it is done or not."""
        try:
            match number % 3:
                case 0:
                    async with asyncio.timeout(5):
                        await self.make(f"scratch-{number}", 1, self._replicas)
                case 1:
                    request = delete_topics.DeleteTopicsRequest(
                        topic_names=[f"scratch-{number - 1}"], timeout_ms=2_000
                    )
                    await self.ask(self.anybody(), request, 3)
                case _:
                    await self._reassign()
        except (*TROUBLE, Refused):
            self.cluster.seen["admin in vain"] += 1
        else:
            self.cluster.seen["admin"] += 1

    async def _reassign(self) -> None:
        """To as many brokers as before, but others, or in another order."""
        count = min(3, self.nodes)
        replicas = self._dice.sample(range(1, self.nodes + 1), count)
        partition = alter_partition_reassignments.ReassignablePartition(
            partition_index=self._dice.randrange(self.cluster.options.partitions),
            replicas=replicas,
        )
        request = alter_partition_reassignments.AlterPartitionReassignmentsRequest(
            timeout_ms=2_000,
            topics=[
                alter_partition_reassignments.ReassignableTopic(name=TOPIC, partitions=[partition])
            ],
        )
        response = await self.ask(self.anybody(), request, 0)
        if not response.error_code:
            self.cluster.seen["reassigned"] += 1
            self.cluster.trace(f"{TOPIC}-{partition.partition_index} is to move to {replicas}")

    async def trim(self) -> None:
        """Have some of what was acknowledged deleted; it may be done though nobody says so."""
        index = self._dice.randrange(self.cluster.options.partitions)
        acked = [
            at for topic, number, at in self.history.acked if (topic, number) == (TOPIC, index)
        ]
        if not acked:
            return
        offset = self._dice.randint(0, max(acked))
        self.history.may_begin_at(index, offset)
        partition = delete_records.DeleteRecordsPartition(partition_index=index, offset=offset)
        topics = [delete_records.DeleteRecordsTopic(name=TOPIC, partitions=[partition])]
        request = delete_records.DeleteRecordsRequest(topics=topics, timeout_ms=2_000)
        try:
            response = await self.ask(await self.leader(TOPIC, index), request, 1)
        except (*TROUBLE, Refused):
            self.forget(TOPIC, index)
            return
        if not response.topics[0].partitions[0].error_code:
            self.cluster.seen["records deleted"] += 1
