"""The registry: every setting is a field of `Settings`, and its row stands beside the field.

Kafka's name where Kafka has one; the alias is the Admin API's name. `setting.Scope` says where a
value lives, and `needs_restart` whether a running broker acts on a change of it (`node/listening`
says how). A setting that nothing reads has no place here. The first two parts are in
`node_settings` and `storage_settings`. Read next: `load`, then `live`.
"""

from __future__ import annotations

import dataclasses

from quorate_broker.config.network import WILDCARD_HOSTS, Address, parse_address
from quorate_broker.config.rows import broker, shared
from quorate_broker.config.setting import MAX_INT64, Kind, Setting
from quorate_broker.config.storage_settings import StorageSettings


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings(StorageSettings):
    """All settings of one node, checked. `settings["num.partitions"]` = `.num_partitions`."""

    # requests
    socket_request_max_bytes: int = broker(
        "socket.request.max.bytes",
        Kind.INTEGER,
        100 * 1024 * 1024,
        "A request that says it is longer closes its connection before anything is read",
        alias="kafka_request_max_bytes",
        unit="bytes",
        minimum=1024,
        maximum=(1 << 31) - 1,
    )
    fetch_max_bytes: int = broker(
        "fetch.max.bytes",
        Kind.INTEGER,
        55 * 1024 * 1024,
        "Most bytes of records in one answer to a Fetch",
        alias="fetch_max_bytes",
        unit="bytes",
        minimum=1024,
        maximum=(1 << 31) - 1,
    )
    max_connections: int = broker(
        "max.connections",
        Kind.INTEGER,
        10_000,
        "Connections to one listener; beyond it new ones are closed at once",
        alias="kafka_connections_max",
        minimum=1,
        maximum=1_000_000,
    )
    proxy_request_max_bytes: int = broker(
        "proxy.request.max.bytes",
        Kind.INTEGER,
        4 * 1024 * 1024,
        "Longest body of a request to the HTTP Proxy",
        unit="bytes",
        minimum=1024,
        maximum=1 << 30,
    )
    proxy_produce_timeout_ms: int = broker(
        "proxy.produce.timeout.ms",
        Kind.INTEGER,
        10_000,
        "How long the HTTP Proxy waits for records to be acknowledged",
        unit="ms",
        minimum=100,
        maximum=600_000,
    )

    # consensus
    raft_heartbeat_interval_ms: int = broker(
        "raft.heartbeat.interval.ms",
        Kind.INTEGER,
        150,
        "A leader lets its followers hear from it at least so often",
        alias="raft_heartbeat_interval_ms",
        unit="ms",
        minimum=10,
        maximum=60_000,
        needs_restart=True,
    )
    raft_election_timeout_ms: int = broker(
        "raft.election.timeout.ms",
        Kind.INTEGER,
        750,
        "A follower that heard nothing for this long, up to twice that, asks for votes",
        alias="election_timeout_ms",
        unit="ms",
        minimum=50,
        maximum=300_000,
        needs_restart=True,
    )
    replica_lag_time_max_ms: int = shared(
        "replica.lag.time.max.ms",
        10_000,
        "A follower that has not caught up for this long is not in sync",
        unit="ms",
        minimum=100,
        maximum=MAX_INT64,
    )
    leader_replication_throttled_rate: int = shared(
        "leader.replication.throttled.rate",
        100 << 20,
        "Bytes per second with which a broker feeds all replicas that are not in sync (newcomers, "
        "emptied disks); who is in sync, or needed for a majority, is not slowed",
        alias="raft_learner_recovery_rate",
        unit="bytes",
        minimum=1024,
        maximum=MAX_INT64,
    )

    # groups
    offsets_topic_num_partitions: int = shared(
        "offsets.topic.num.partitions",
        16,
        "Partitions of __consumer_offsets, fixed when it is first used",
        alias="group_topic_partitions",
        maximum=10_000,
    )
    offsets_topic_replication_factor: int = shared(
        "offsets.topic.replication.factor",
        -1,
        "Replicas of __consumer_offsets; -1: by the number of seeds, at most 3",
        alias="internal_topic_replication_factor",
        minimum=-1,
        maximum=9,
    )
    group_min_session_timeout_ms: int = shared(
        "group.min.session.timeout.ms",
        6_000,
        "Shortest session a member of a group may ask for",
        alias="group_min_session_timeout_ms",
        unit="ms",
    )
    group_max_session_timeout_ms: int = shared(
        "group.max.session.timeout.ms",
        1_800_000,
        "Longest session a member of a group may ask for",
        alias="group_max_session_timeout_ms",
        unit="ms",
    )
    group_initial_rebalance_delay_ms: int = shared(
        "group.initial.rebalance.delay.ms",
        0,
        "How long the first member of a group waits for others; Kafka's own default is 3000",
        alias="group_initial_rebalance_delay",
        unit="ms",
        minimum=0,
    )
    group_max_size: int = shared(
        "group.max.size", 10_000, "Members that one group may have", maximum=1_000_000
    )
    offsets_retention_minutes: int = shared(
        "offsets.retention.minutes",
        7 * 24 * 60,
        "How long committed offsets outlive the last member of their group",
        unit="minutes",
        maximum=(1 << 31) - 1,
    )
    offsets_retention_check_interval_ms: int = shared(
        "offsets.retention.check.interval.ms",
        600_000,
        "How often offsets are looked through for those that may go",
        alias="group_offset_retention_check_ms",
        unit="ms",
    )
    offset_metadata_max_bytes: int = shared(
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
        """Where other brokers reach this one: as written, its own seed entry, where it binds.

        Who binds to every address and is no seed is reached where clients reach it: at the host
        that its first listener advertises.
        """
        if self.rpc_advertised_address:
            return parse_address(self.rpc_advertised_address)
        own = [seed for seed in self.seeds if seed.node_id == self.node_id]
        if own:
            return own[0].address
        host = self.rpc_host
        fixed = [listener for listener in self.listeners if not listener.is_told]
        if host in WILDCARD_HOSTS and fixed:
            host = fixed[0].advertised_address.host
        return Address(host, self.rpc_port)


SETTINGS: dict[str, Setting] = {
    field.metadata["setting"].name: field.metadata["setting"]
    for field in dataclasses.fields(Settings)
}
"""All rows by Kafka's name, in the order of the fields."""

TOPIC_SETTINGS: dict[str, Setting] = {
    row.topic_name: row for row in SETTINGS.values() if row.topic_name
}
"""What a topic may set for itself, by the topic-level name; the row holds the default."""
