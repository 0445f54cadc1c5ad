"""The leader of the metadata without its group: each command is decided, written and replayed.

Next: `cluster.machine`.
"""

from __future__ import annotations

import random
from typing import cast

from quorate_broker import seams
from quorate_broker.cluster import commands, records
from quorate_broker.cluster.image import Image
from quorate_broker.cluster.machine import ClusterMachine, Defaults
from quorate_broker.cluster.records import Member
from quorate_broker.wire import batch

VOTERS = tuple(Member(i, f"disk-{i}") for i in (1, 2, 3))


class MetadataLeader:
    """A machine with its log, in a cluster of three, of a broker that knows so much."""

    def __init__(self, knows: int = records.FEATURE_LEVEL) -> None:
        source = random.Random(1)
        self.machine = ClusterMachine(Defaults(3, 3), lambda: seams.new_uuid(source), knows=knows)
        self.log: list[batch.Record] = []
        self.do(commands.FormCluster("c1", VOTERS))

    @property
    def image(self) -> Image:
        return self.machine.image

    def do(self, command: commands.Command) -> commands.Reply:
        outcome = self.machine.handle(7, command, 0)
        for record in outcome.records:
            self.machine.replay(record, len(self.log))
            self.log.append(record)
        ((_, reply),) = outcome.replies
        return cast(commands.Reply, reply)

    def refusal(self, command: commands.Command) -> commands.Refused:
        """Of a command that must leave no trace."""
        before = len(self.log)
        reply = self.do(command)
        assert isinstance(reply, commands.Refused), reply
        assert len(self.log) == before
        return reply
