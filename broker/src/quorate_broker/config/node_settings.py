"""Settings of one node: who it is, where it listens. Read next: `storage_settings`."""

from __future__ import annotations

import dataclasses

from quorate_broker.config.network import Listener, Seed
from quorate_broker.config.rows import port, row, string
from quorate_broker.config.setting import LEVELS, Kind

LISTENERS_DOC = (
    "Ports of the Kafka API: tables with name, host, port, authentication (none) and advertised "
    "(host:port told to clients; may hold {pod}, {node_id} and {ordinal}; {told}: what "
    "pod.info.dir says of the listener)"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """The first part of `settings.Settings`."""

    # who this node is
    node_role: str = string(
        "node.role",
        "broker",
        "broker: stores partitions, votes, can lead. flanking: a client beside the brokers",
        choices=("broker", "flanking"),
    )
    node_id: int = row(
        "node.id",
        Kind.INTEGER,
        0,
        "Brokers 1 to 99, flanking nodes from 101; 0: the ordinal of the pod's name + 1 "
        "(flanking: + 101)",
        alias="node_id",
        minimum=0,
        maximum=1_000_000,
    )
    pod_name: str = string(
        "pod.name", "", "Name of the pod; gives the node id by its ordinal, and fills in {pod}"
    )
    cluster_id: str = string(
        "cluster.id",
        "",
        "The cluster this node belongs to. Empty: a seed with an empty disk may form a new one; "
        "given: it may only join",
        alias="cluster_id",
    )
    data_dir: str = string(
        "data.dir", "/var/lib/quorate", "Where a broker keeps everything", alias="data_directory"
    )
    rack: str = string("rack", "", "The failure domain (zone) this node is in", alias="rack")
    pod_info_dir: str = string(
        "pod.info.dir",
        "",
        "A folder of files that may change while the broker runs: `rack`, and `advertised`, a line "
        "of listener=host:port separated by commas. Empty: there is none",
    )
    log_level: str = string(
        "log.level",
        "info",
        "How much is logged; a file that changes is heeded while the node runs",
        choices=LEVELS,
        needs_restart=False,
    )
    log_format: str = string(
        "log.format",
        "text",
        "A line of text or a JSON object per event; heeded while the node runs",
        choices=("text", "json"),
        needs_restart=False,
    )
    log_loggers: tuple[str, ...] = row(
        "log.loggers",
        Kind.LEVELS,
        (),
        "Levels of single loggers, name=level, for example quorate_broker.raft=debug; heeded "
        "while the node runs",
        needs_restart=False,
    )
    feature_level_known: int = row(
        "feature.level.known",
        Kind.INTEGER,
        0,
        "The highest feature level that this broker says it knows; 0: all that its version knows. "
        "Lower it to stand for an older version",
        minimum=0,
        maximum=1000,
    )
    feature_level_raise: str = string(
        "feature.level.raise",
        "auto",
        "When the cluster goes on to a new feature level: as soon as every broker knows it, or "
        "when it is asked to (PUT /v1/features/NAME); there is no way back",
        choices=("auto", "asked"),
    )

    # where it listens
    listeners: tuple[Listener, ...] = row(
        "listeners", Kind.LISTENERS, (), LISTENERS_DOC, alias="kafka_api"
    )
    seeds: tuple[Seed, ...] = row(
        "seeds",
        Kind.SEEDS,
        (),
        "The brokers that form the cluster, id@host:port of their traffic between brokers; a "
        "broker with no seeds never forms one",
        alias="seed_servers",
    )
    rpc_host: str = string("rpc.host", "0.0.0.0", "Bind address of traffic between brokers")
    rpc_port: int = port("rpc.port", 33145, "Port of traffic between brokers")
    rpc_advertised_address: str = string(
        "rpc.advertised.address",
        "",
        "host:port under which other brokers reach this one; may hold {pod} and {node_id}. Empty: "
        "its own entry among the seeds, or else where it binds",
    )
    admin_host: str = string("admin.host", "0.0.0.0", "Bind address of the Admin API")
    admin_port: int = port("admin.port", 9644, "Port of the Admin API")
    metrics_host: str = string("metrics.host", "0.0.0.0", "Bind address of the port for metrics")
    metrics_port: int = row(
        "metrics.port",
        Kind.INTEGER,
        0,
        "A port with nothing but /metrics and /public_metrics, which the Admin API has too; 0: "
        "there is none",
        minimum=0,
        maximum=65535,
    )
    proxy_host: str = string("proxy.host", "0.0.0.0", "Bind address of the HTTP Proxy")
    proxy_port: int = port("proxy.port", 8082, "Port of the HTTP Proxy")

    # flanking nodes: how they reach the brokers
    bootstrap_servers: tuple[str, ...] = row(
        "bootstrap.servers", Kind.STRINGS, (), "Flanking: host:port of brokers' Kafka API"
    )
    admin_urls: tuple[str, ...] = row(
        "admin.urls", Kind.STRINGS, (), "Flanking: http://host:port of brokers' Admin API"
    )
