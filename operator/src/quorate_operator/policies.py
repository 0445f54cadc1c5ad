"""NetworkPolicies: who may speak to which port of a node. Pure.

    broker    listeners       whom `networkPolicyPeers` names, and for internal ones the cluster's
                              own nodes; else everybody
              rpc             the brokers of the same cluster
              admin           they, its flanking nodes, the operator
              proxy, metrics  everybody
    flanking  admin           brokers, flanking nodes, the operator
              proxy, metrics, ports of the containers beside it: everybody

Nothing else comes in. What goes out is not restricted. The kubelet's probes come from the node and
pass in any case.
"""

from __future__ import annotations

from typing import Any

from quorate_operator import listening, model
from quorate_operator.model import BrokerClusterSpec
from quorate_operator.names import OPERATOR_LABELS, Names, Role, selector

Json = dict[str, Any]


def spec_of(spec: BrokerClusterSpec, names: Names, role: Role, operator: str) -> Json:
    """`spec` of the policy; `operator` is its namespace, empty where it runs somewhere else."""
    ingress = _broker(spec, names) if role == "broker" else _flanking(spec)
    ingress.append(_rule(model.ADMIN_PORT, [_pods(names), _operator(operator)]))
    ingress.append(_rule(model.PROXY_PORT))
    if spec.metrics.enabled:
        ingress.append(_rule(model.METRICS_PORT))
    return {
        "podSelector": {"matchLabels": selector(names.key, role)},
        "policyTypes": ["Ingress"],
        "ingress": ingress,
    }


def _broker(spec: BrokerClusterSpec, names: Names) -> list[Json]:
    listeners = [_rule(one.port, _peers(one, names)) for one in spec.listeners]
    return [*listeners, _rule(model.RPC_PORT, [_pods(names, "broker")])]


def _peers(listener: model.Listener, names: Names) -> list[Json]:
    """Flanking nodes are clients too."""
    peers = listener.network_policy_peers
    return [*peers, _pods(names)] if peers and not listening.is_external(listener) else peers


def _flanking(spec: BrokerClusterSpec) -> list[Json]:
    ports = [
        (port.get("containerPort"), port.get("protocol", "TCP"))
        for container in spec.flanking.containers
        for port in container.written().get("ports", [])
    ]
    return [_rule(port, protocol=protocol) for port, protocol in ports if isinstance(port, int)]


def _rule(port: int, peers: list[Json] | None = None, protocol: str = "TCP") -> Json:
    """No peers: from everywhere."""
    found: Json = {"ports": [{"port": port, "protocol": protocol}]}
    return found | ({"from": peers} if peers else {})


def _pods(names: Names, role: Role | None = None) -> Json:
    return {"podSelector": {"matchLabels": selector(names.key, role)}}


def _operator(namespace: str) -> Json:
    name = {"kubernetes.io/metadata.name": namespace}
    return {
        "namespaceSelector": {"matchLabels": name} if namespace else {},
        "podSelector": {"matchLabels": OPERATOR_LABELS},
    }
