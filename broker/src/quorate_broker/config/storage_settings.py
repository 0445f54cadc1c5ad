"""Settings of topics and their logs: sizes, retention, compaction, room on the disk.

Those with a topic-level name are defaults that a topic may override. Read next: `settings`.
"""

from __future__ import annotations

import dataclasses

from quorate_broker.config.node_settings import NodeSettings
from quorate_broker.config.rows import broker, row, shared, string
from quorate_broker.config.setting import MAX_INT64, Kind, Scope

WEEK_MS = 7 * 24 * 60 * 60 * 1000
DAY_MS = 24 * 60 * 60 * 1000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings(NodeSettings):
    """The second part of `settings.Settings`."""

    # topics
    num_partitions: int = shared(
        "num.partitions",
        4,
        "Partitions of a topic that is created without a number",
        alias="default_topic_partitions",
        maximum=10_000,
    )
    default_replication_factor: int = shared(
        "default.replication.factor",
        -1,
        "Replicas of a topic that is created without a number; -1: by the number of seeds, at "
        "most 3",
        alias="default_topic_replications",
        minimum=-1,
        maximum=9,
    )
    auto_create_topics_enable: bool = row(
        "auto.create.topics.enable",
        Kind.BOOLEAN,
        True,
        "Asking for the metadata of a topic that does not exist creates it",
        alias="auto_create_topics_enabled",
        scope=Scope.CLUSTER,
    )
    auto_leader_rebalance_enable: bool = row(
        "auto.leader.rebalance.enable",
        Kind.BOOLEAN,
        True,
        "Leaders hand over to the first replica of their partition when that has been back for a "
        "while",
        alias="enable_leader_balancer",
        scope=Scope.CLUSTER,
    )
    min_insync_replicas: int = shared(
        "min.insync.replicas",
        1,
        "Replicas that acks=all waits for: always a majority, whatever stands here; more than a "
        "majority is not waited for yet",
        topic_name="min.insync.replicas",
        maximum=9,
    )
    message_max_bytes: int = shared(
        "message.max.bytes",
        1_048_588,
        "Largest record batch a producer may send",
        alias="kafka_batch_max_bytes",
        topic_name="max.message.bytes",
        unit="bytes",
        maximum=100 * 1024 * 1024,
    )

    # logs
    log_segment_bytes: int = shared(
        "log.segment.bytes",
        1024 * 1024 * 1024,
        "A segment is closed before it grows beyond this",
        alias="log_segment_size",
        topic_name="segment.bytes",
        unit="bytes",
        minimum=1024,
        maximum=(1 << 31) - 1,
    )
    log_index_interval_bytes: int = shared(
        "log.index.interval.bytes",
        4096,
        "An index entry is written at most once in so many bytes",
        topic_name="index.interval.bytes",
        unit="bytes",
        minimum=64,
        maximum=1 << 30,
    )
    log_preallocate_bytes: int = broker(
        "log.preallocate.bytes",
        Kind.INTEGER,
        16 * 1024 * 1024,
        "Segments grow on disk in chunks of this size, trimmed when closed",
        unit="bytes",
        minimum=0,
        maximum=1 << 30,
    )
    disk_threads: int = broker(
        "disk.threads",
        Kind.INTEGER,
        8,
        "Threads that write and sync",
        minimum=1,
        maximum=64,
    )

    # what is kept
    metadata_log_max_record_bytes_between_snapshots: int = broker(
        "metadata.log.max.record.bytes.between.snapshots",
        Kind.INTEGER,
        1 << 20,
        "A snapshot of the cluster's metadata is written when its log has grown by so much",
        unit="bytes",
        minimum=1024,
        maximum=1 << 30,
    )
    log_roll_ms: int = shared(
        "log.roll.ms",
        WEEK_MS,
        "A segment is closed when its first record is so old, however small it is",
        alias="log_segment_ms",
        topic_name="segment.ms",
        unit="ms",
        maximum=MAX_INT64,
    )
    log_cleanup_policy: str = string(
        "log.cleanup.policy",
        "delete",
        "What becomes of old records: deleted by age and size, compacted to the latest per key, "
        "or both",
        alias="log_cleanup_policy",
        topic_name="cleanup.policy",
        scope=Scope.TOPIC,
        choices=("delete", "compact", "compact,delete", "delete,compact"),
    )
    log_retention_ms: int = shared(
        "log.retention.ms",
        WEEK_MS,
        "Segments whose newest record is older are deleted; -1: never",
        alias="log_retention_ms",
        topic_name="retention.ms",
        unit="ms",
        minimum=-1,
        maximum=MAX_INT64,
    )
    log_retention_hours: int = shared(
        "log.retention.hours",
        168,
        "The same in hours; log.retention.ms goes before it. -1: never",
        unit="hours",
        minimum=-1,
        maximum=(1 << 31) - 1,
    )
    log_retention_bytes: int = shared(
        "log.retention.bytes",
        -1,
        "The oldest segments are deleted while a partition is larger; -1: never",
        alias="retention_bytes",
        topic_name="retention.bytes",
        unit="bytes",
        minimum=-1,
        maximum=MAX_INT64,
    )
    log_retention_check_interval_ms: int = broker(
        "log.retention.check.interval.ms",
        Kind.INTEGER,
        300_000,
        "How often logs are looked through for segments that may go; also done after each new one",
        alias="log_compaction_interval_ms",
        unit="ms",
        minimum=1,
        maximum=MAX_INT64,
    )

    # compaction
    log_cleaner_enable: bool = broker(
        "log.cleaner.enable", Kind.BOOLEAN, True, "Compact the logs of topics that ask for it"
    )
    log_cleaner_backoff_ms: int = broker(
        "log.cleaner.backoff.ms",
        Kind.INTEGER,
        15_000,
        "How long the cleaner rests when no log is worth cleaning",
        unit="ms",
        minimum=0,
        maximum=MAX_INT64,
    )
    log_cleaner_dedupe_buffer_size: int = broker(
        "log.cleaner.dedupe.buffer.size",
        Kind.INTEGER,
        25 * 1024 * 1024,
        "Memory for the keys of one cleaning; what does not fit waits for the next one",
        unit="bytes",
        minimum=128 * 1024,
        maximum=1 << 40,
    )
    log_cleaner_io_max_bytes_per_second: int = broker(
        "log.cleaner.io.max.bytes.per.second",
        Kind.INTEGER,
        32 * 1024 * 1024,
        "What the cleaner reads and writes at most",
        unit="bytes",
        minimum=1024,
        maximum=MAX_INT64,
    )
    log_cleaner_min_cleanable_ratio: float = row(
        "log.cleaner.min.cleanable.ratio",
        Kind.NUMBER,
        0.5,
        "A log is compacted when this part of it has not been looked at",
        topic_name="min.cleanable.dirty.ratio",
        scope=Scope.TOPIC,
        minimum=0,
        maximum=1,
    )
    log_cleaner_delete_retention_ms: int = shared(
        "log.cleaner.delete.retention.ms",
        DAY_MS,
        "How long a compacted log still tells that a key was deleted",
        topic_name="delete.retention.ms",
        unit="ms",
        minimum=0,
        maximum=MAX_INT64,
    )
    log_cleaner_min_compaction_lag_ms: int = shared(
        "log.cleaner.min.compaction.lag.ms",
        0,
        "Records younger than this are left alone",
        topic_name="min.compaction.lag.ms",
        unit="ms",
        minimum=0,
        maximum=MAX_INT64,
    )
    log_cleaner_max_compaction_lag_ms: int = shared(
        "log.cleaner.max.compaction.lag.ms",
        MAX_INT64,
        "A log with records older than this is compacted, worth its while or not",
        topic_name="max.compaction.lag.ms",
        unit="ms",
        maximum=MAX_INT64,
    )

    # the disk
    storage_min_free_bytes: int = broker(
        "storage.min.free.bytes",
        Kind.INTEGER,
        -1,
        "With less room than this on the disk a broker takes no records, and hands its partitions "
        "to others; -1: 5 % of the disk, at most 1 GiB",
        alias="storage_min_free_bytes",
        unit="bytes",
        minimum=-1,
        maximum=MAX_INT64,
    )
    log_scrub_interval_ms: int = broker(
        "log.scrub.interval.ms",
        Kind.INTEGER,
        DAY_MS,
        "How often everything on the disk is read and checked; 0: never",
        unit="ms",
        minimum=0,
        maximum=MAX_INT64,
    )
    log_scrub_max_bytes_per_second: int = broker(
        "log.scrub.max.bytes.per.second",
        Kind.INTEGER,
        16 * 1024 * 1024,
        "What that walk reads at most",
        unit="bytes",
        minimum=1024,
        maximum=MAX_INT64,
    )
