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

DEFAULTS = Defaults(3, 3)
VOTERS = tuple(Member(i, f"disk-{i}") for i in (1, 2, 3))


class MetadataLeader:
    """A machine with its log, of a broker that knows so much, before a cluster is formed."""

    def __init__(self, defaults: Defaults = DEFAULTS, knows: int = records.FEATURE_LEVEL) -> None:
        source = random.Random(1)
        self.down: set[int] = set()
        self.machine = ClusterMachine(
            defaults,
            lambda: seams.new_uuid(source),
            lambda node_id: node_id not in self.down,
            knows=knows,
        )
        self.log: list[batch.Record] = []

    @property
    def image(self) -> Image:
        return self.machine.image

    def do(self, command: commands.Command) -> commands.Reply:
        outcome = self.machine.handle(7, command, 0)
        for record in outcome.records:
            self.machine.replay(record, len(self.log))
            self.log.append(record)
        ((ticket, reply),) = outcome.replies
        assert ticket == 7
        return cast(commands.Reply, reply)

    def refusal(self, command: commands.Command) -> commands.Refused:
        """Of a command that must leave no trace."""
        before = len(self.log)
        reply = self.do(command)
        assert isinstance(reply, commands.Refused), reply
        assert len(self.log) == before
        return reply
