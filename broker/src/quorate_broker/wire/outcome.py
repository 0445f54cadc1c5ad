"""The one shape of every replicated state machine.

`handle` and `expire` decide and return an `Outcome`; `replay` is the only place where state
changes, and it is called with exactly the records that an outcome asked for, in log order, on the
leader at append and everywhere else at commit (`partition.hosted` drives it). Machines read no
clock: `now_ms` is monotonic and comes in by argument; what must survive a restart is written into
the records.

A command is known by its ticket. It may be parked: an outcome answers any tickets, not only the one
it was called for. A reply that is a `KafkaError` is raised at the waiting caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from quorate_broker.wire import batch


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a machine decided.

    `records` are appended as one batch; `replies` are (ticket, reply) pairs, released when all that
    was appended so far is committed; `deadline_ms` is when `expire` wants to be called next.
    """

    records: tuple[batch.Record, ...] = ()
    replies: tuple[tuple[int, object], ...] = ()
    deadline_ms: int | None = None


class Machine(Protocol):
    """A pure state machine hosted on a replicated log."""

    def replay(self, record: batch.Record, offset: int) -> None:
        """Apply one record. Never fails on a record that `handle` made."""
        ...

    def handle(self, ticket: int, command: object, now_ms: int) -> Outcome:
        """Decide on one command."""
        ...

    def expire(self, now_ms: int) -> Outcome:
        """Decide on what the passing of time has brought due."""
        ...

    def loaded(self, now_ms: int) -> Outcome:
        """Called once when this node starts to serve as leader: arm the deadlines."""
        ...
