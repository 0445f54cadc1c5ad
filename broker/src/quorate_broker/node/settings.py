"""From the registry of settings to what logs, Raft groups and coordinators take.

Read next: `config.settings`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from quorate_broker import config
from quorate_broker.groups.settings import GroupSettings
from quorate_broker.log.cleaner import CleanerPolicy
from quorate_broker.log.log import LogSettings
from quorate_broker.raft.settings import RaftSettings

SNAPSHOTS_PER_SEGMENT = 4
"""Of metadata, whose log goes by whole segments once a snapshot stands for them."""
METADATA_PREALLOCATE_BYTES = 1 << 20
BYTES_PER_KEY = 130
"""What the cleaner keeps in memory of a key."""


def topic_log(settings: config.Settings, topic: Mapping[str, str]) -> LogSettings:
    """The log of a partition; a topic's own settings win."""
    return LogSettings(
        segment_bytes=int(topic.get("segment.bytes", settings.log_segment_bytes)),
        index_interval_bytes=int(
            topic.get("index.interval.bytes", settings.log_index_interval_bytes)
        ),
        preallocate_bytes=settings.log_preallocate_bytes,
        segment_ms=int(topic.get("segment.ms", settings.log_roll_ms)),
    )


@dataclass(frozen=True, slots=True)
class Retention:
    """What of a partition may be deleted, and whether it is compacted; -1: no limit."""

    ms: int
    bytes: int
    compacts: bool

    @property
    def deletes(self) -> bool:
        return self.ms >= 0 or self.bytes >= 0


def topic_retention(settings: config.Settings, topic: Mapping[str, str]) -> Retention:
    """A topic's own settings win; without `delete` in its policy nothing is deleted."""
    policy = topic.get("cleanup.policy", settings.log_cleanup_policy).split(",")
    if "delete" not in policy:
        return Retention(-1, -1, "compact" in policy)
    return Retention(
        ms=int(topic.get("retention.ms", settings.log_retention_ms)),
        bytes=int(topic.get("retention.bytes", settings.log_retention_bytes)),
        compacts="compact" in policy,
    )


def topic_cleaner(settings: config.Settings, topic: Mapping[str, str]) -> CleanerPolicy:
    """How a compacted topic is cleaned."""
    lag_ms = settings.log_cleaner_min_compaction_lag_ms
    longest_ms = settings.log_cleaner_max_compaction_lag_ms
    ratio = settings.log_cleaner_min_cleanable_ratio
    kept_ms = settings.log_cleaner_delete_retention_ms
    return CleanerPolicy(
        min_cleanable_dirty_ratio=float(topic.get("min.cleanable.dirty.ratio", ratio)),
        delete_retention_ms=int(topic.get("delete.retention.ms", kept_ms)),
        min_compaction_lag_ms=int(topic.get("min.compaction.lag.ms", lag_ms)),
        max_compaction_lag_ms=int(topic.get("max.compaction.lag.ms", longest_ms)),
        map_keys=settings.log_cleaner_dedupe_buffer_size // BYTES_PER_KEY,
    )


def metadata_log(settings: config.Settings) -> LogSettings:
    return LogSettings(
        segment_bytes=SNAPSHOTS_PER_SEGMENT
        * settings.metadata_log_max_record_bytes_between_snapshots,
        index_interval_bytes=settings.log_index_interval_bytes,
        preallocate_bytes=min(METADATA_PREALLOCATE_BYTES, settings.log_preallocate_bytes),
        segment_ms=settings.log_roll_ms,
    )


GROUP_SETTINGS = (
    "group.min.session.timeout.ms",
    "group.max.session.timeout.ms",
    "group.initial.rebalance.delay.ms",
    "group.max.size",
    "offset.metadata.max.bytes",
    "offsets.retention.minutes",
    "offsets.retention.check.interval.ms",
)
"""What `groups` reads."""


def groups(settings: config.Settings) -> GroupSettings:
    """The group coordinators' share."""
    return GroupSettings(
        min_session_timeout_ms=settings.group_min_session_timeout_ms,
        max_session_timeout_ms=settings.group_max_session_timeout_ms,
        initial_rebalance_delay_ms=settings.group_initial_rebalance_delay_ms,
        max_size=settings.group_max_size,
        offset_metadata_max_bytes=settings.offset_metadata_max_bytes,
        offsets_retention_ms=settings.offsets_retention_minutes * 60_000,
        offsets_retention_check_ms=settings.offsets_retention_check_interval_ms,
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
    return dataclasses.replace(topic_raft(settings, internal=True), start_needs_state=True)
