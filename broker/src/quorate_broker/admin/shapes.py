"""Views turned into the JSON objects that Redpanda's clients know. Pure; no decisions elsewhere.

Fields that mean nothing here are present with their neutral value, since clients read them
unconditionally. Additions of ours (`cluster_id`, `term`) stand beside them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from quorate_broker import config
from quorate_broker.admin.flanking_registry import FlankingNode
from quorate_broker.admin.view import (
    NO_LEADER,
    BrokerInfo,
    Decommission,
    Overview,
    PartitionState,
)

Json = dict[str, object]

MAX_LISTED_PARTITIONS = 128
"""A list of bad partitions stops here, its count does not: an answer stays small in an outage."""
HIGH_DISK_USAGE = 0.95


def unhealthy_reasons(overview: Overview) -> list[str]:
    """Each cause alone makes the cluster unhealthy; under-replication alone does not."""
    reasons = []
    if nodes_down(overview):
        reasons.append("nodes_down")
    if overview.unavailable_partitions:
        reasons.append("leaderless_partitions")
    if overview.controller_id == NO_LEADER:
        reasons.append("no_elected_controller")
    return reasons


def nodes_down(overview: Overview) -> list[int]:
    return [member.node_id for member in overview.members if not member.is_alive]


def health_overview(overview: Overview) -> Json:
    """GET /v1/cluster/health_overview"""
    reasons = unhealthy_reasons(overview)
    leaderless = overview.unavailable_partitions
    under_replicated = overview.under_replicated_partitions
    return {
        "is_healthy": not reasons,
        "unhealthy_reasons": reasons,
        "controller_id": overview.controller_id,
        "all_nodes": [member.node_id for member in overview.members],
        "nodes_down": nodes_down(overview),
        "nodes_in_recovery_mode": [],
        "leaderless_partitions": list(leaderless[:MAX_LISTED_PARTITIONS]),
        "leaderless_count": len(leaderless),
        "under_replicated_partitions": list(under_replicated[:MAX_LISTED_PARTITIONS]),
        "under_replicated_count": len(under_replicated),
        "high_disk_usage_nodes": [m.node_id for m in overview.members if _disk_is_full(m)],
        "bytes_in_cloud_storage": None,
        "cluster_id": overview.cluster_id,
        "term": overview.term,
    }


def _disk_is_full(member: BrokerInfo) -> bool:
    return any(disk.free < disk.total * (1 - HIGH_DISK_USAGE) for disk in member.disks)


def broker(member: BrokerInfo) -> Json:
    """One element of GET /v1/brokers"""
    return {
        "node_id": member.node_id,
        "num_cores": member.num_cores,
        "rack": member.rack or None,
        "internal_rpc_address": member.rpc_host,
        "internal_rpc_port": member.rpc_port,
        "membership_status": member.membership_status,
        "is_alive": member.is_alive,
        "version": member.version,
        "disk_space": [
            {"path": disk.path, "free": disk.free, "total": disk.total} for disk in member.disks
        ],
        "maintenance_status": {
            "draining": False,
            "finished": False,
            "errors": False,
            "partitions": 0,
            "eligible": 0,
            "transferring": 0,
            "failed": 0,
        },
        "recovery_mode_enabled": False,
        "in_fips_mode": "disabled",
        "uuid": member.incarnation,
    }


def brokers(overview: Overview) -> list[Json]:
    return [broker(member) for member in overview.members]


def cluster_view(overview: Overview) -> Json:
    return {"version": overview.version, "brokers": brokers(overview)}


def broker_uuids(overview: Overview) -> list[Json]:
    return [{"node_id": member.node_id, "uuid": member.incarnation} for member in overview.members]


def partition(state: PartitionState) -> Json:
    """GET /v1/partitions/{ns}/{topic}/{p}"""
    return {
        "ns": state.namespace,
        "topic": state.topic,
        "partition_id": state.partition,
        "status": state.status,
        "leader_id": state.leader_id,
        "raft_group_id": state.group_id,
        "replicas": [{"node_id": node_id, "core": 0} for node_id in state.replicas],
        "disabled": False,
        "term": state.term,
        "in_sync_replicas": list(state.in_sync),
    }


def cluster_partition(state: PartitionState) -> Json:
    """One element of GET /v1/cluster/partitions"""
    return {
        "ns": state.namespace,
        "topic": state.topic,
        "partition_id": state.partition,
        "leader_id": state.leader_id,
        "replicas": [{"node_id": node_id, "core": 0} for node_id in state.replicas],
        "disabled": False,
    }


def partition_summary(states: Sequence[PartitionState]) -> Json:
    """GET /v1/partitions/local_summary"""
    return {
        "count": len(states),
        "leaderless": sum(1 for state in states if state.leader_id == NO_LEADER),
        "under_replicated": sum(
            1 for state in states if state.leader_id != NO_LEADER and state.under_replicated
        ),
    }


def decommission(status: Decommission) -> Json:
    """GET /v1/brokers/{id}/decommission. How far a copy has got is known to its leader only."""
    return {
        "finished": status.finished,
        "replicas_left": len(status.partitions),
        "allocation_failures": list(status.stuck[:MAX_LISTED_PARTITIONS]),
        "partitions": [
            {
                "ns": one.namespace,
                "topic": one.topic,
                "partition": one.partition,
                "moving_to": {"node_id": one.moving_to[0] if one.moving_to else -1, "core": 0},
                "bytes_left_to_move": one.size_bytes,
                "bytes_moved": 0,
                "partition_size": one.size_bytes,
            }
            for one in status.partitions[:MAX_LISTED_PARTITIONS]
        ],
    }


def flanking(node: FlankingNode) -> Json:
    """One element of GET /v1/flanking"""
    return {
        "node_id": node.node_id,
        "pod": node.pod,
        "incarnation": node.incarnation,
        "ready": node.ready,
        "version": node.version,
        "proxy": node.proxy,
    }


def watch(overview: Overview) -> Json:
    """GET /v1/watch: all that a supervisor mirrors, in one piece with one version."""
    led = overview.controller_id != NO_LEADER
    reasons = unhealthy_reasons(overview)
    return {
        "version": overview.version,
        "cluster_id": overview.cluster_id,
        "leader": {"node_id": overview.controller_id, "term": overview.term} if led else None,
        "transitions": overview.transitions,
        "members": [
            {
                "node_id": member.node_id,
                "incarnation": member.incarnation,
                "alive": member.is_alive,
                "membership_status": member.membership_status,
                "rack": member.rack,
                "version": member.version,
                "feature_level": member.feature_level,
                "config": _standing(member),
            }
            for member in overview.members
        ],
        "feature_level": overview.feature_level,
        "config_version": overview.settings_version,
        "config": dict(overview.settings),
        "departed": list(overview.departed),
        "flanking": [flanking(node) for node in overview.flanking],
        "healthy": not reasons,
        "unhealthy_reasons": reasons,
        "under_replicated": bool(overview.under_replicated_partitions),
    }


def _standing(member: BrokerInfo) -> Json | None:
    """Where it is with the cluster's settings; None before it has told."""
    return None if member.standing is None else msgspec.structs.asdict(member.standing)


def node_config(settings: config.Settings) -> Json:
    """GET /v1/node_config: this node's settings by the Admin API's names, flat."""
    values: Json = {}
    for row in config.SETTINGS.values():
        if row.scope is config.Scope.NODE:
            values[row.alias or row.attribute] = plain(settings[row.name])
    values["rpc_server"] = _address(settings.rpc_host, settings.rpc_port)
    advertised = settings.rpc_advertised
    values["advertised_rpc_api"] = _address(advertised.host, advertised.port)
    values["admin"] = [_address(settings.admin_host, settings.admin_port)]
    values["pandaproxy_api"] = [_address(settings.proxy_host, settings.proxy_port)]
    values["kafka_api"] = [
        {
            "name": one.name,
            **_address(one.host, one.port),
            "authentication_method": one.authentication,
        }
        for one in settings.listeners
    ]
    values["advertised_kafka_api"] = [
        {"name": one.name, **_address(one.advertised_address.host, one.advertised_address.port)}
        for one in settings.listeners
        if not one.is_told
    ]
    values["seed_servers"] = [
        {"host": _address(seed.host, seed.port), "node_id": seed.node_id} for seed in settings.seeds
    ]
    return values


def _address(host: str, port: int) -> Json:
    return {"address": host, "port": port}


def plain(value: object) -> object:
    """A setting's value as JSON knows it; listeners and seeds as text."""
    if isinstance(value, bool | int | float | str):
        return value
    assert isinstance(value, tuple)
    return [str(part) for part in value]
