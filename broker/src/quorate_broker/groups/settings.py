"""What may be set about groups, and every limit on them. Next: `states`."""

from __future__ import annotations

from dataclasses import dataclass

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """Kafka's settings by Kafka's names, then our own limits.

    The initial rebalance delay is 0 here, as in the file that Kafka ships for development and
    unlike the 3 s in Kafka's code: the first member of a group is served at once, and members that
    start a second later cost one more rebalance. Who minds sets `group.initial.rebalance.delay.ms`.
    """

    min_session_timeout_ms: int = 6_000
    max_session_timeout_ms: int = 1_800_000
    initial_rebalance_delay_ms: int = 0
    max_size: int = 10_000
    """Members of one group (`group.max.size`)."""
    new_member_join_timeout_ms: int = 5 * MINUTE_MS
    """A member that never saw an answer cannot heartbeat; its first join is given up after this."""
    offset_metadata_max_bytes: int = 4_096
    offsets_retention_ms: int = 7 * 24 * 60 * MINUTE_MS
    """How long offsets outlive the last member of their group (`offsets.retention.minutes`)."""
    offsets_retention_check_ms: int = 10 * MINUTE_MS

    max_groups: int = 100_000
    """Groups on one partition of `__consumer_offsets`."""
    max_pending_members: int = 10_000
    """Member ids of one group that were given out and not yet used."""
    max_group_bytes: int = 16 * 1024 * 1024
    """Subscriptions and assignments of one group, as one record."""

    def __post_init__(self) -> None:
        assert 0 < self.min_session_timeout_ms <= self.max_session_timeout_ms
        assert self.initial_rebalance_delay_ms >= 0
        assert self.max_size > 0
        assert self.offsets_retention_ms > 0
        assert self.offsets_retention_check_ms > 0
