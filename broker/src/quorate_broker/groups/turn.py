"""What one command, or one look at the clock, brings about: filled in while deciding.

Becomes a `wire.outcome.Outcome`. Next: `rebalance`, which fills most of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from quorate_broker.errors import ErrorCode, KafkaError
from quorate_broker.wire import batch
from quorate_broker.wire.outcome import Outcome


@dataclass(slots=True)
class Turn:
    """The two times of this turn, and what was decided in it."""

    now_ms: int
    """Monotonic: deadlines count from here."""
    wall_ms: int
    """Since the Unix epoch: goes into records."""
    records: list[batch.Record] = field(default_factory=list)
    replies: list[tuple[int, object]] = field(default_factory=list)

    def answer(self, ticket: int | None, reply: object) -> bool:
        """Answer whoever waits with that ticket; False if nobody does."""
        if ticket is None:
            return False
        self.replies.append((ticket, reply))
        return True

    def refuse(self, ticket: int | None, code: ErrorCode) -> bool:
        """Answer with an error."""
        return self.answer(ticket, KafkaError(code))

    def outcome(self, deadline_ms: int | None) -> Outcome:
        """The turn is over."""
        return Outcome(tuple(self.records), tuple(self.replies), deadline_ms)
