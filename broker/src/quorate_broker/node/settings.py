"""From the registry of settings to what logs and Raft groups take. Read next: `config.settings`."""

from __future__ import annotations

from collections.abc import Mapping

from quorate_broker import config
from quorate_broker.log.log import LogSettings
from quorate_broker.raft.settings import RaftSettings

METADATA_SEGMENT_BYTES = 64 << 20
METADATA_PREALLOCATE_BYTES = 1 << 20


def topic_log(settings: config.Settings, topic: Mapping[str, str]) -> LogSettings:
    """The log of a partition; a topic's own settings win."""
    return LogSettings(
        segment_bytes=int(topic.get("segment.bytes", settings.log_segment_bytes)),
        index_interval_bytes=int(
            topic.get("index.interval.bytes", settings.log_index_interval_bytes)
        ),
        preallocate_bytes=settings.log_preallocate_bytes,
    )


def metadata_log(settings: config.Settings) -> LogSettings:
    return LogSettings(
        segment_bytes=METADATA_SEGMENT_BYTES,
        index_interval_bytes=settings.log_index_interval_bytes,
        preallocate_bytes=min(METADATA_PREALLOCATE_BYTES, settings.log_preallocate_bytes),
    )


def topic_raft(settings: config.Settings, internal: bool) -> RaftSettings:
    """Timing of a partition's group; internal topics carry replies that wait for commits."""
    return RaftSettings(
        heartbeat_ms=settings.raft_heartbeat_interval_ms,
        election_min_ms=settings.raft_election_timeout_ms,
        election_max_ms=2 * settings.raft_election_timeout_ms,
        lag_ms=settings.replica_lag_time_max_ms,
        eager_commit=internal,
    )


def metadata_raft(settings: config.Settings) -> RaftSettings:
    return topic_raft(settings, internal=True)
