"""The registry: every setting is a field of `Settings`, and its row stands beside the field.

Kafka's name where Kafka has one; the alias is the Admin API's name. Scope `node` is read from this
node's file; scope `cluster` lives in cluster metadata and the file only seeds it at genesis; scope
`topic` is the cluster's default of a topic's own setting. A setting that nothing reads has no
place here. Read next: `load`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from quorate_broker.config.network import Address, Listener, Seed
from quorate_broker.config.setting import MAX_INT64, Kind, Scope, Setting

LISTENERS_DOC = (
    "Ports of the Kafka API: tables with name, host, port, authentication (none) and advertised "
    "(host:port told to clients; may hold {pod} and {node_id})"
)


def _row(name: str, kind: Kind, default: object, doc: str, **more: Any) -> Any:
    more.setdefault("scope", Scope.NODE)
    row = Setting(name=name, kind=kind, default=default, doc=doc, **more)
    return dataclasses.field(default=default, metadata={"setting": row})


def _string(name: str, default: str, doc: str, **more: Any) -> Any:
    return _row(name, Kind.STRING, default, doc, **more)


def _port(name: str, default: int, doc: str) -> Any:
    return _row(name, Kind.INTEGER, default, doc, minimum=1, maximum=65535)


def _shared(name: str, default: int, doc: str, **more: Any) -> Any:
    """An integer of the whole cluster (or, with topic_name, the default of a topic's own)."""
    scope = Scope.TOPIC if "topic_name" in more else Scope.CLUSTER
    more.setdefault("minimum", 1)
    return _row(name, Kind.INTEGER, default, doc, scope=scope, **more)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one node, checked. `settings["num.partitions"]` = `.num_partitions`."""

    # who this node is
    node_role: str = _string(
        "node.role",
        "broker",
        "broker: stores partitions, votes, can lead. flanking: a client beside the brokers",
        choices=("broker", "flanking"),
    )
    node_id: int = _row(
        "node.id",
        Kind.INTEGER,
        0,
        "Brokers 1 to 99, flanking nodes from 101; 0: the ordinal of the pod's name + 1 "
        "(flanking: + 101)",
        alias="node_id",
        minimum=0,
        maximum=1_000_000,
    )
    pod_name: str = _string(
        "pod.name", "", "Name of the pod; gives the node id by its ordinal, and fills in {pod}"
    )
    cluster_id: str = _string(
        "cluster.id",
        "",
        "The cluster this node belongs to. Empty: a seed with an empty disk may form a new one; "
        "given: it may only join",
        alias="cluster_id",
    )
    data_dir: str = _string(
        "data.dir", "/var/lib/quorate", "Where a broker keeps everything", alias="data_directory"
    )
    rack: str = _string("rack", "", "The failure domain (zone) this node is in", alias="rack")
    log_level: str = _string(
        "log.level", "info", "How much is logged", choices=("debug", "info", "warning", "error")
    )

    # where it listens
    listeners: tuple[Listener, ...] = _row(
        "listeners", Kind.LISTENERS, (), LISTENERS_DOC, alias="kafka_api"
    )
    seeds: tuple[Seed, ...] = _row(
        "seeds",
        Kind.SEEDS,
        (),
        "The brokers that form the cluster, id@host:port of their traffic between brokers; a "
        "broker with no seeds never forms one",
        alias="seed_servers",
    )
    rpc_host: str = _string("rpc.host", "0.0.0.0", "Bind address of traffic between brokers")
    rpc_port: int = _port("rpc.port", 33145, "Port of traffic between brokers")
    admin_host: str = _string("admin.host", "0.0.0.0", "Bind address of the Admin API")
    admin_port: int = _port("admin.port", 9644, "Port of the Admin API")
    proxy_host: str = _string("proxy.host", "0.0.0.0", "Bind address of the HTTP Proxy")
    proxy_port: int = _port("proxy.port", 8082, "Port of the HTTP Proxy")

    # flanking nodes: how they reach the brokers
    bootstrap_servers: tuple[str, ...] = _row(
        "bootstrap.servers", Kind.STRINGS, (), "Flanking: host:port of brokers' Kafka API"
    )
    admin_urls: tuple[str, ...] = _row(
        "admin.urls", Kind.STRINGS, (), "Flanking: http://host:port of brokers' Admin API"
    )

    # topics
    num_partitions: int = _shared(
        "num.partitions",
        4,
        "Partitions of a topic that is created without a number",
        alias="default_topic_partitions",
        maximum=10_000,
    )
    default_replication_factor: int = _shared(
        "default.replication.factor",
        -1,
        "Replicas of a topic that is created without a number; -1: by the number of seeds, at "
        "most 3",
        alias="default_topic_replications",
        minimum=-1,
        maximum=9,
    )
    auto_create_topics_enable: bool = _row(
        "auto.create.topics.enable",
        Kind.BOOLEAN,
        True,
        "Asking for the metadata of a topic that does not exist creates it",
        alias="auto_create_topics_enabled",
        scope=Scope.CLUSTER,
    )
    min_insync_replicas: int = _shared(
        "min.insync.replicas",
        1,
        "Replicas that acks=all waits for: always a majority, whatever stands here; more than a "
        "majority is not waited for yet",
        topic_name="min.insync.replicas",
        maximum=9,
    )
    message_max_bytes: int = _shared(
        "message.max.bytes",
        1_048_588,
        "Largest record batch a producer may send",
        alias="kafka_batch_max_bytes",
        topic_name="max.message.bytes",
        unit="bytes",
        maximum=100 * 1024 * 1024,
    )

    # logs
    log_segment_bytes: int = _shared(
        "log.segment.bytes",
        1024 * 1024 * 1024,
        "A segment is closed before it grows beyond this",
        alias="log_segment_size",
        topic_name="segment.bytes",
        unit="bytes",
        minimum=1024,
        maximum=(1 << 31) - 1,
    )
    log_index_interval_bytes: int = _shared(
        "log.index.interval.bytes",
        4096,
        "An index entry is written at most once in so many bytes",
        topic_name="index.interval.bytes",
        unit="bytes",
        minimum=64,
        maximum=1 << 30,
    )
    log_preallocate_bytes: int = _row(
        "log.preallocate.bytes",
        Kind.INTEGER,
        16 * 1024 * 1024,
        "Segments grow on disk in chunks of this size, trimmed when closed",
        unit="bytes",
        minimum=0,
        maximum=1 << 30,
    )
    disk_threads: int = _row(
        "disk.threads",
        Kind.INTEGER,
        4,
        "Threads that write and sync",
        minimum=1,
        maximum=64,
    )

    # requests
    socket_request_max_bytes: int = _row(
        "socket.request.max.bytes",
        Kind.INTEGER,
        100 * 1024 * 1024,
        "A request that says it is longer closes its connection before anything is read",
        alias="kafka_request_max_bytes",
        unit="bytes",
        minimum=1024,
        maximum=(1 << 31) - 1,
    )
    fetch_max_bytes: int = _row(
        "fetch.max.bytes",
        Kind.INTEGER,
        55 * 1024 * 1024,
        "Most bytes of records in one answer to a Fetch",
        alias="fetch_max_bytes",
        unit="bytes",
        minimum=1024,
        maximum=(1 << 31) - 1,
    )
    max_connections: int = _row(
        "max.connections",
        Kind.INTEGER,
        10_000,
        "Connections to one listener; beyond it new ones are closed at once",
        alias="kafka_connections_max",
        minimum=1,
        maximum=1_000_000,
    )
    proxy_request_max_bytes: int = _row(
        "proxy.request.max.bytes",
        Kind.INTEGER,
        4 * 1024 * 1024,
        "Longest body of a request to the HTTP Proxy",
        unit="bytes",
        minimum=1024,
        maximum=1 << 30,
    )
    proxy_produce_timeout_ms: int = _row(
        "proxy.produce.timeout.ms",
        Kind.INTEGER,
        10_000,
        "How long the HTTP Proxy waits for records to be acknowledged",
        unit="ms",
        minimum=100,
        maximum=600_000,
    )

    # consensus
    raft_heartbeat_interval_ms: int = _row(
        "raft.heartbeat.interval.ms",
        Kind.INTEGER,
        150,
        "A leader lets its followers hear from it at least so often",
        alias="raft_heartbeat_interval_ms",
        unit="ms",
        minimum=10,
        maximum=60_000,
    )
    raft_election_timeout_ms: int = _row(
        "raft.election.timeout.ms",
        Kind.INTEGER,
        750,
        "A follower that heard nothing for this long, up to twice that, asks for votes",
        alias="election_timeout_ms",
        unit="ms",
        minimum=50,
        maximum=300_000,
    )
    replica_lag_time_max_ms: int = _shared(
        "replica.lag.time.max.ms",
        10_000,
        "A follower that has not caught up for this long is not in sync",
        unit="ms",
        minimum=100,
        maximum=MAX_INT64,
    )

    # groups
    offsets_topic_num_partitions: int = _shared(
        "offsets.topic.num.partitions",
        16,
        "Partitions of __consumer_offsets, fixed when it is first used",
        alias="group_topic_partitions",
        maximum=10_000,
    )
    offsets_topic_replication_factor: int = _shared(
        "offsets.topic.replication.factor",
        -1,
        "Replicas of __consumer_offsets; -1: by the number of seeds, at most 3",
        alias="internal_topic_replication_factor",
        minimum=-1,
        maximum=9,
    )
    group_min_session_timeout_ms: int = _shared(
        "group.min.session.timeout.ms",
        6_000,
        "Shortest session a member of a group may ask for",
        alias="group_min_session_timeout_ms",
        unit="ms",
    )
    group_max_session_timeout_ms: int = _shared(
        "group.max.session.timeout.ms",
        1_800_000,
        "Longest session a member of a group may ask for",
        alias="group_max_session_timeout_ms",
        unit="ms",
    )
    group_initial_rebalance_delay_ms: int = _shared(
        "group.initial.rebalance.delay.ms",
        0,
        "How long the first member of a group waits for others; Kafka's own default is 3000",
        alias="group_initial_rebalance_delay",
        unit="ms",
        minimum=0,
    )
    group_max_size: int = _shared(
        "group.max.size", 10_000, "Members that one group may have", maximum=1_000_000
    )
    offsets_retention_minutes: int = _shared(
        "offsets.retention.minutes",
        7 * 24 * 60,
        "How long committed offsets outlive the last member of their group",
        unit="minutes",
        maximum=(1 << 31) - 1,
    )
    offsets_retention_check_interval_ms: int = _shared(
        "offsets.retention.check.interval.ms",
        600_000,
        "How often offsets are looked through for those that may go",
        alias="group_offset_retention_check_ms",
        unit="ms",
    )
    offset_metadata_max_bytes: int = _shared(
        "offset.metadata.max.bytes",
        4096,
        "Longest note that may be committed beside an offset",
        unit="bytes",
        minimum=0,
        maximum=1 << 20,
    )

    def __getitem__(self, name: str) -> object:
        """The value by Kafka's name; KeyError for a name that is not in the registry."""
        return getattr(self, SETTINGS[name].attribute)

    @property
    def rpc_advertised(self) -> Address:
        """Where other brokers reach this one: its own seed entry, or else where it binds."""
        own = [seed for seed in self.seeds if seed.node_id == self.node_id]
        return own[0].address if own else Address(self.rpc_host, self.rpc_port)


SETTINGS: dict[str, Setting] = {
    field.metadata["setting"].name: field.metadata["setting"]
    for field in dataclasses.fields(Settings)
}
"""All rows by Kafka's name, in the order of the fields."""

TOPIC_SETTINGS: dict[str, Setting] = {
    row.topic_name: row for row in SETTINGS.values() if row.topic_name
}
"""What a topic may set for itself, by the topic-level name; the row holds the default."""
