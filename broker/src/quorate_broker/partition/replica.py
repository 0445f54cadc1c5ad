"""One replica of one partition: a Raft member, its log, and what is derived from the log.

Sans-I/O. The asyncio shell (`partition.hosted`) and the simulator (`testing.simulate`) drive the
same class by the same loop:

    feed it     receive, tick, propose, hard_state_synced, job_done, failed, ...
    drain it    send `messages`; journal `hard_state`, then call hard_state_synced;
                run `job` on a disk thread, then call job_done; drain again after each of these

A drain costs little when nothing happened, and one drain serves any number of proposals made
before it. Messages come out only when all they depend on is on disk. Next: `raft.core`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.raft.messages import Buffer, HardState, Message, Peer
from quorate_broker.raft.ports import Dice
from quorate_broker.raft.settings import RaftSettings
from quorate_broker.wire.batch import BatchHeader


@dataclass(frozen=True, slots=True)
class Seat:
    """Who this replica is, and with whom it votes. `voters` includes `me`."""

    group: str
    me: Peer
    voters: frozenset[Peer]


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a proposed batch came to lie. It is committed once commit_index >= last_index."""

    base_offset: int
    last_offset: int
    last_index: int
    duplicate: bool = False
    """The producer sent it before: these are the places of the first one."""


@dataclass(frozen=True, slots=True)
class LeaderChange:
    """What this replica now believes. `serving`: it leads and an entry of its term is committed."""

    term: int
    leader: Peer | None
    serving: bool


@dataclass(frozen=True, slots=True)
class Effects:
    """What the driver must do now, in any order (what had to wait was held back)."""

    messages: Sequence[tuple[Peer, Message]] = ()
    hard_state: HardState | None = None
    """To the journal; then `hard_state_synced` with the same value."""
    job: object | None = None
    """A log.Job: run() on a disk thread; then `job_done(job)` on the loop, or `failed(error)`."""
    committed: int | None = None
    """The commit index, when it moved."""
    leader: LeaderChange | None = None
    """When term, leader or serving changed."""


class Replica:
    """See the module's head. Attributes are read-only for others."""

    def __init__(
        self, seat: Seat, log: Log, hard_state: HardState, settings: RaftSettings, dice: Dice
    ) -> None:
        """May read from disk (headers behind the checkpoint): call it off the event loop."""

    # inputs
    def receive(self, sender: Peer, message: Message, now_ms: int) -> None: ...
    def tick(self, now_ms: int) -> None: ...
    def propose(self, buf: bytearray | memoryview, header: BatchHeader) -> Appended: ...
    def hard_state_synced(self, hard_state: HardState) -> None: ...
    def job_done(self, job: Job) -> None: ...
    def failed(self, error: BaseException) -> None: ...
    def transfer_leadership(self, target: int | None, now_ms: int) -> None: ...
    def peer_lost(self, node_id: int, now_ms: int) -> None: ...
    def campaign(self, now_ms: int) -> None: ...

    # outputs
    def drain(self, now_ms: int) -> Effects: ...

    # state
    @property
    def role(self) -> Role: ...
    @property
    def term(self) -> int: ...
    @property
    def leader(self) -> Peer | None: ...
    @property
    def serving(self) -> bool: ...
    @property
    def commit_index(self) -> int: ...
    @property
    def high_watermark(self) -> int: ...
    @property
    def in_sync(self) -> frozenset[int]: ...
    @property
    def deadline_ms(self) -> int:
        """When `tick` must be called next, at the latest."""
        ...
