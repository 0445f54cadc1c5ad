"""GET /public_metrics: Prometheus text, by Redpanda's names where it has one.

`gather` takes one consistent picture on the event loop; `render` turns it into text and may run
in a thread, since it only sees that picture. Nothing is registered globally. Every name has a row
in broker/README.md, and every label a closed set of values (topics that exist, node ids).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from quorate_broker.admin import shapes
from quorate_broker.admin.view import (
    CONTROLLER_GROUP_ID,
    NO_LEADER,
    AdminView,
    Counters,
    Overview,
    PartitionState,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PARTITION_LABELS = ("redpanda_namespace", "redpanda_topic", "redpanda_partition")


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """All that a scrape tells."""

    node_id: int
    version: str
    ready: bool
    overview: Overview
    partitions: Sequence[PartitionState]
    counters: Counters


def gather(view: AdminView) -> Picture:
    """Look at the node now; on the event loop."""
    return Picture(
        view.settings.node_id,
        view.version,
        view.ready,
        view.overview(),
        tuple(view.partitions()),
        view.counters(),
    )


def render(picture: Picture) -> str:
    """The page; safe in any thread."""
    return text_of(_PictureCollector(picture))


class _PictureCollector:
    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    def collect(self) -> Iterable[Metric]:
        picture = self._picture
        yield from _node(picture)
        yield from _cluster(picture)
        yield from _topics(picture.partitions)
        yield from _partitions(picture)
        yield from _storage(picture.counters)
        yield from _traffic(picture.counters)


def text_of(collector: object) -> str:
    """What a custom collector of prometheus-client yields, as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)  # type: ignore[arg-type]
    return generate_latest(registry).decode("utf-8")


def gauge(name: str, doc: str, value: float) -> Metric:
    return GaugeMetricFamily(name, doc, value=value)


def counter(name: str, doc: str, value: float) -> Metric:
    return CounterMetricFamily(name, doc, value=value)


def build_info(version: str) -> Metric:
    family = GaugeMetricFamily(
        "redpanda_application_build",
        "Always 1; the version is in the labels",
        labels=("redpanda_version", "redpanda_revision"),
    )
    family.add_metric((version, ""), 1)
    return family


def process(version: str, uptime_seconds: float, cpu_seconds: float) -> Iterator[Metric]:
    """What every node tells of its own process."""
    yield build_info(version)
    yield gauge(
        "redpanda_application_uptime_seconds_total",
        "Seconds since this process started",
        uptime_seconds,
    )
    yield counter("redpanda_cpu_busy_seconds", "CPU seconds of this process", cpu_seconds)


def _node(picture: Picture) -> Iterator[Metric]:
    counters = picture.counters
    yield from process(picture.version, counters.uptime_seconds, counters.cpu_seconds)
    yield gauge("quorate_resident_memory_bytes", "Memory of this process", counters.resident_bytes)
    yield gauge("quorate_ready", "1 if this node serves", int(picture.ready))


def _cluster(picture: Picture) -> Iterator[Metric]:
    overview = picture.overview
    topics = [state for state in picture.partitions if state.group_id != CONTROLLER_GROUP_ID]
    named = {(state.namespace, state.topic) for state in topics}
    healthy = not shapes.unhealthy_reasons(overview)
    leads = overview.controller_id == picture.node_id
    yield gauge("redpanda_cluster_brokers", "Brokers of the cluster", len(overview.members))
    yield gauge("redpanda_cluster_topics", "Topics of the cluster", len(named))
    yield gauge("redpanda_cluster_partitions", "Partitions of the cluster", len(topics))
    yield gauge(
        "redpanda_cluster_unavailable_partitions",
        "Partitions that nobody leads",
        len(overview.unavailable_partitions),
    )
    yield gauge("quorate_cluster_healthy", "1 if this node sees a healthy cluster", int(healthy))
    yield gauge(
        "quorate_cluster_brokers_down",
        "Brokers that are not alive",
        len(shapes.nodes_down(overview)),
    )
    yield gauge(
        "quorate_cluster_flanking_nodes",
        "Flanking nodes that registered lately",
        len(overview.flanking),
    )
    yield gauge("quorate_cluster_leader", "1 on the cluster leader", int(leads))
    yield gauge("quorate_cluster_term", "Term of the cluster leader; -1 without one", overview.term)
    yield counter(
        "quorate_cluster_leader_transitions",
        "Committed terms of cluster leaders so far",
        overview.transitions,
    )


def _topics(states: Sequence[PartitionState]) -> Iterator[Metric]:
    labels = ("redpanda_namespace", "redpanda_topic")
    partitions = GaugeMetricFamily(
        "redpanda_kafka_partitions", "Partitions of a topic", labels=labels
    )
    replicas = GaugeMetricFamily(
        "redpanda_kafka_replicas", "Replicas of each partition of a topic", labels=labels
    )
    counts: dict[tuple[str, str], int] = {}
    factors: dict[tuple[str, str], int] = {}
    for state in states:
        if state.group_id != CONTROLLER_GROUP_ID:
            key = (state.namespace, state.topic)
            counts[key] = counts.get(key, 0) + 1
            factors[key] = max(factors.get(key, 0), len(state.replicas))
    for key, count in counts.items():
        partitions.add_metric(key, count)
        replicas.add_metric(key, factors[key])
    yield partitions
    yield replicas


def _partitions(picture: Picture) -> Iterator[Metric]:
    """Of partitions that have a replica here: each is told once per replica, as by Redpanda."""
    max_offset = GaugeMetricFamily(
        "redpanda_kafka_max_offset",
        "High watermark of a partition, as this replica knows it",
        labels=PARTITION_LABELS,
    )
    under_replicated = GaugeMetricFamily(
        "redpanda_kafka_under_replicated_replicas",
        "Replicas that are not in sync, told by the leader",
        labels=PARTITION_LABELS,
    )
    for state in picture.partitions:
        if picture.node_id not in state.replicas:
            continue
        labels = (state.namespace, state.topic, str(state.partition))
        if state.high_watermark >= 0:
            max_offset.add_metric(labels, state.high_watermark)
        if state.leader_id == picture.node_id and state.leader_id != NO_LEADER:
            under_replicated.add_metric(labels, len(state.replicas) - len(state.in_sync))
    yield max_offset
    yield under_replicated


def _storage(counters: Counters) -> Iterator[Metric]:
    yield gauge("redpanda_storage_disk_total_bytes", "Size of the disk", counters.disk_total_bytes)
    yield gauge("redpanda_storage_disk_free_bytes", "Free on the disk", counters.disk_free_bytes)
    yield gauge("quorate_local_replicas", "Replicas on this node", counters.local_partitions)
    yield gauge("quorate_local_leaders", "Partitions that this node leads", counters.leaders)


def _traffic(counters: Counters) -> Iterator[Metric]:
    """What the Kafka API has counted; a number that nobody counts is no metric."""
    volumes = CounterMetricFamily(
        "redpanda_kafka_request_bytes",
        "Bytes of records taken from producers and given to consumers",
        labels=("redpanda_request",),
    )
    for request, volume in (
        ("produce", counters.produced_bytes),
        ("consume", counters.fetched_bytes),
    ):
        if volume is not None:
            volumes.add_metric((request,), volume)
    if volumes.samples:
        yield volumes
    if counters.produced_records is not None:
        doc = "Records taken from producers"
        yield counter("redpanda_kafka_records_produced", doc, counters.produced_records)
    if counters.requests is not None:
        yield counter("quorate_kafka_requests", "Requests of the Kafka API", counters.requests)
    if counters.connections is not None:
        connections = GaugeMetricFamily(
            "redpanda_rpc_active_connections", "Open connections", labels=("redpanda_server",)
        )
        connections.add_metric(("kafka",), counters.connections)
        yield connections
