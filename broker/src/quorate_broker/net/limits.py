"""What one process grants its Kafka clients in all: nothing that a client may fill grows freely.

Next: `inbox`, the first place where a number off the wire meets one of these.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one Kafka listener; sizes in bytes, times in milliseconds."""

    max_frame_bytes: int = 100 * 1024 * 1024
    """socket.request.max.bytes: a longer frame closes its connection before it is buffered."""
    max_in_flight: int = 64
    """Requests of one connection under way at once; further ones wait in its buffer."""
    max_begun_at_once: int = 8
    """Requests of one connection that are begun in one turn of the event loop."""
    max_begun_per_turn: int = 64
    """The same, of all connections together."""
    max_unsent_bytes: int = 1024 * 1024
    """Responses that a slow reader may leave unread before its next request has to wait."""
    max_connections: int = 10_000
    max_connections_per_ip: int = 6_000
    max_idle_ms: int = 10 * 60 * 1000
    """connections.max.idle.ms: also the time after which a reader that takes nothing is cut off."""
    frame_deadline_ms: int = 30_000
    """A frame that was begun must be complete after this, plus its length over `min_rate`."""
    min_rate: int = 64 * 1024
    """Bytes per second that a client sending a long frame must reach."""
    buffer_budget_bytes: int = 256 * 1024 * 1024
    """All receive buffers together, as far as they exceed `inbox.BASE_BYTES` each."""
    close_grace_ms: int = 1_000
    """How long a closing listener waits for answers that are under way."""
