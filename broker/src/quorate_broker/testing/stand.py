"""One partition on a test stand: its node, its disk and its peers are played by hand.

Time stands still until the test moves it; terms and votes and disk jobs wait in lists until the
test carries them out, or lets them fail. Read next: `partition.shell`, whose `Ports` this is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from quorate_broker.log.cold import ColdRead
from quorate_broker.log.jobs import Job
from quorate_broker.log.log import Log, LogSettings
from quorate_broker.partition.replica import Replica
from quorate_broker.partition.shell import Partition, Traffic
from quorate_broker.raft import membership
from quorate_broker.raft.core import Seat
from quorate_broker.raft.messages import (
    AppendReply,
    HardState,
    Message,
    Peer,
    PreVoteReply,
    VoteReply,
)
from quorate_broker.raft.settings import RaftSettings
from quorate_broker.testing.simdisk import SimDisk
from quorate_broker.testing.transcript import FixedDice

T = TypeVar("T")

ME, OTHER, THIRD = Peer(1, "a"), Peer(2, "b"), Peer(3, "c")
ALONE = frozenset({ME})
THREE = frozenset({ME, OTHER, THIRD})


class HandClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_ms = 0

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms


@dataclass
class Stand:
    """Implements `partition.shell.Ports`."""

    clock: HandClock = field(default_factory=HandClock)
    traffic: Traffic = field(default_factory=Traffic)
    disk: SimDisk = field(default_factory=lambda: SimDisk(random.Random(1)))
    sent: list[tuple[Peer, Message]] = field(default_factory=list)
    states: list[tuple[HardState, Callable[[], None]]] = field(default_factory=list)
    jobs: list[tuple[Job | ColdRead, Callable[[OSError | None], None]]] = field(
        default_factory=list
    )
    failures: list[Exception] = field(default_factory=list)
    journal: HardState = field(default_factory=HardState)

    def partition(self, voters: frozenset[Peer] = THREE, eager_commit: bool = False) -> Partition:
        """A replica of group `g` on the log that lies on this stand's disk."""
        founding = membership.of(voters).encode()
        log = Log.open(self.disk, "/g", LogSettings(), self.clock.wall_ms(), founding=founding)
        seat = Seat("g", ME)
        settings = RaftSettings(eager_commit=eager_commit)
        replica = Replica(seat, log, self.journal, settings, FixedDice(1))
        return Partition(replica, self)

    # -- ports

    def send(self, to: Peer, group: str, message: Message) -> None:
        self.sent.append((to, message))

    def put_hard_state(self, group: str, state: HardState, done: Callable[[], None]) -> None:
        self.states.append((state, done))

    def run_job(self, job: Job | ColdRead, done: Callable[[OSError | None], None]) -> None:
        self.jobs.append((job, done))

    def leadership_changed(self, partition: Partition) -> None:
        pass

    def in_sync_changed(self, partition: Partition) -> None:
        pass

    def deadline_moved(self, partition: Partition) -> None:
        pass

    def partition_failed(self, partition: Partition, error: Exception) -> None:
        self.failures.append(error)

    # -- what the test does

    async def turn(self) -> None:
        """Let the loop run until all that was scheduled is done."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def flush(self) -> None:
        """Carry out whatever waits for the disk, and what comes of it."""
        await self.turn()
        while self.states or self.jobs:
            for state, done in self._taken(self.states):
                self.journal = state
                done()
            for job, ended in self._taken(self.jobs):
                job.run()
                ended(None)
            await self.turn()

    async def fail_job(self, error: OSError) -> None:
        """The next job ends with this error."""
        _, ended = self.jobs.pop(0)
        ended(error)
        await self.turn()

    @staticmethod
    def _taken(waiting: list[T]) -> list[T]:
        taken = list(waiting)
        waiting.clear()
        return taken

    async def elect(self, partition: Partition) -> None:
        """Have it lead and serve: OTHER votes for it and acknowledges its first entry."""
        partition.campaign()
        await self.flush()
        term = partition.replica.term
        partition.receive(OTHER, PreVoteReply(term, term + 1, True))
        await self.flush()
        partition.receive(OTHER, VoteReply(term + 1, True))
        await self.flush()
        await self.acknowledge(partition)
        assert partition.is_leader

    async def acknowledge(self, partition: Partition) -> None:
        """OTHER has everything on disk."""
        last = partition.replica.log.last_index
        partition.receive(OTHER, AppendReply(partition.replica.term, last, last))
        await self.flush()
