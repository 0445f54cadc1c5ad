"""A replica that may go takes nothing in any more, however long its files have to wait.

Found by chaos (`reassign`, to one broker and back): members had acknowledged that they
were wanted again, and deleted what they had a moment later, so that of the voters only one had
anything: no leader for ever.
"""

from __future__ import annotations

import asyncio
import uuid
from types import SimpleNamespace
from typing import Any, cast

import pytest

from quorate_broker.cluster.records import Member
from quorate_broker.node import leaving
from quorate_broker.node.replicas import Replicas
from quorate_broker.raft.messages import Peer

TOPIC = uuid.UUID(int=7)


def test_a_replica_is_closed_before_its_removal_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    async def may_leave(parts: object, partition: object) -> bool:
        return True

    async def remove(topic_id: uuid.UUID, index: int) -> None:
        told.append("removal waits")
        await asyncio.sleep(0)

    async def run() -> None:
        partition = SimpleNamespace(close=lambda: told.append("closed"))
        info = SimpleNamespace(holders=(Member(2, "b"),))
        image = SimpleNamespace(topics_by_id={TOPIC: SimpleNamespace(partitions=(info,))})
        shelf = SimpleNamespace(get=lambda *_: partition, remove=remove)
        parts = SimpleNamespace(
            controller=SimpleNamespace(image=image),
            peers=SimpleNamespace(me=Peer(1, "a")),
            shelf=shelf,
        )
        context = SimpleNamespace(unhost_groups=lambda *_: None)
        replicas = Replicas(cast(Any, parts), cast(Any, context), cast(Any, None), cast(Any, None))
        replicas._open.add((TOPIC, 0))
        await replicas._leave()

    monkeypatch.setattr(leaving, "may_leave", may_leave)
    asyncio.run(run())
    assert told == ["closed", "removal waits"]
