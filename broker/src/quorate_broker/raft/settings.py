"""Timing and limits of one Raft group; every queue that Raft keeps has its bound here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RaftSettings:
    """Defaults as decided: an election needs about a second, and nothing grows without end."""

    heartbeat_ms: int = 150
    election_min_ms: int = 750
    """Also the leader's lease: who heard from a leader this recently grants nobody a vote."""
    election_max_ms: int = 1_500
    resend_ms: int = 500
    """A follower that lives, yet has not received what was sent so long ago, is sent it again."""
    lag_ms: int = 10_000
    """In sync is who had everything this recently (replica.lag.time.max.ms)."""
    promote_lag_ms: int = 1_000
    """A newcomer gets a vote when it had everything this recently."""
    rest_ms: int = 2_000
    """A group in which nothing has happened for so long rests: no heartbeats, no deadlines."""
    append_bytes: int = 1 << 20
    """Bytes of one `Append` (a single larger batch still goes)."""
    inflight_messages: int = 64
    inflight_bytes: int = 8 << 20
    """Unacknowledged appends to one follower."""
    snapshot_bytes: int = 256 << 20
    """A follower takes no snapshot that is longer."""
    piece_bytes: int = 1 << 20
    """Bytes of one `Snapshot`, of which one is under way."""
    uncommitted_bytes: int = 64 << 20
    """A leader refuses proposals beyond this much uncommitted data."""
    checkpoint_bytes: int = 64 << 20
    checkpoint_ms: int = 5_000
    """A checkpoint is asked for when this much was appended, or anything was this long ago."""
    eager_commit: bool = False
    """Tell idle followers of a commit at once, not with the next heartbeat (metadata, groups)."""

    start_needs_state: bool = False
    """The log begins nowhere behind what its own hosted state stands for (metadata)."""

    def __post_init__(self) -> None:
        assert 0 < self.heartbeat_ms * 2 <= self.election_min_ms < self.election_max_ms
        assert self.promote_lag_ms >= 2 * self.heartbeat_ms, "or nobody is ever caught up"
        assert self.inflight_messages > 0
        assert self.append_bytes > 0
        assert self.piece_bytes > 0
