"""The generated NetworkPolicies, evaluated against the flows that must and must not pass.

The evaluator is the specification in small: a pod that no policy selects is open; one that some
policy selects lets in what some rule of some of those policies lets in, and nothing else.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

import pytest

from quorate_operator import render
from quorate_operator.facts import Subject
from quorate_operator.model import BrokerClusterSpec
from quorate_operator.names import Key, Names

OPEN = {"type": "none"}
SPEC: dict[str, Any] = {
    "storage": {"size": "1Gi"},
    "listeners": [
        {
            "name": "internal",
            "port": 9092,
            "authentication": OPEN,
            "networkPolicyPeers": [
                {"podSelector": {"matchLabels": {"app": "checkout"}}},
                {
                    "namespaceSelector": {"matchLabels": {"team": "data"}},
                    "podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
                },
            ],
        },
        {
            "name": "outside",
            "port": 9094,
            "type": "loadbalancer",
            "authentication": OPEN,
            "networkPolicyPeers": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16"]}}],
        },
        {"name": "anybody", "port": 9095, "authentication": OPEN},
    ],
    "flanking": {
        "replicas": 1,
        "containers": [{"name": "web", "image": "w", "ports": [{"containerPort": 8000}]}],
    },
}


@dataclasses.dataclass(frozen=True)
class Pod:
    namespace: str
    labels: dict[str, str]
    ip: str = "10.244.0.1"


NAMESPACES = {
    "shop": {"kubernetes.io/metadata.name": "shop"},
    "other": {"kubernetes.io/metadata.name": "other"},
    "lake": {"kubernetes.io/metadata.name": "lake", "team": "data"},
    "quorate-system": {"kubernetes.io/metadata.name": "quorate-system"},
}


def node(role: str, cluster: str = "orders", namespace: str = "shop") -> Pod:
    return Pod(namespace, {"quorate.dev/cluster": cluster, "quorate.dev/role": role})


BROKER, FLANKING = node("broker"), node("flanking")
OPERATOR = Pod("quorate-system", {"app.kubernetes.io/name": "quorate-operator"})
FALSE_OPERATOR = Pod("other", {"app.kubernetes.io/name": "quorate-operator"})
CHECKOUT = Pod("shop", {"app": "checkout"})
STRANGER = Pod("other", {"app": "checkout"})
ANALYST = Pod("lake", {"app": "spark"})
OFFICE, GUEST, INTERNET = "10.1.2.3", "10.9.0.1", "198.51.100.7"


def policies(**more: Any) -> list[dict[str, Any]]:
    spec = BrokerClusterSpec.model_validate(SPEC | more)
    subject = Subject(
        spec, Names(Key("shop", "orders")), "uid", "i:1", "", "1Gi", 3, "quorate-system"
    )
    return [one for one in render.render(subject) if one["kind"] == "NetworkPolicy"]


def passes(found: list[dict[str, Any]], source: Pod | str, target: Pod, port: int) -> bool:
    ours = [
        one
        for one in found
        if one["metadata"]["namespace"] == target.namespace
        and selects(one["spec"]["podSelector"], target.labels)
        and "Ingress" in one["spec"]["policyTypes"]
    ]
    if not ours:
        return True
    rules = [rule for one in ours for rule in one["spec"].get("ingress", [])]
    return any(
        any(each["port"] == port and each["protocol"] == "TCP" for each in rule["ports"])
        and ("from" not in rule or any(is_peer(peer, source, target) for peer in rule["from"]))
        for rule in rules
    )


def is_peer(peer: dict[str, Any], source: Pod | str, target: Pod) -> bool:
    if isinstance(source, str):
        block = peer.get("ipBlock")
        if block is None:
            return False
        address = ipaddress.ip_address(source)
        shut = any(address in ipaddress.ip_network(one) for one in block.get("except", []))
        return address in ipaddress.ip_network(block["cidr"]) and not shut
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], NAMESPACES[source.namespace]):
            return False
    elif source.namespace != target.namespace:
        return False
    if "ipBlock" in peer:
        return False
    return selects(peer.get("podSelector", {}), source.labels)


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {})
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for one in selector.get("matchExpressions", []):
        assert one["operator"] == "Exists", "all that these tests use"
        if one["key"] not in labels:
            return False
    return True


MUST_PASS = [
    (BROKER, BROKER, 33145),
    (BROKER, BROKER, 9644),
    (FLANKING, BROKER, 9644),
    (OPERATOR, BROKER, 9644),
    (OPERATOR, FLANKING, 9644),
    (BROKER, BROKER, 9092),
    (FLANKING, BROKER, 9092),
    (CHECKOUT, BROKER, 9092),
    (ANALYST, BROKER, 9092),
    (OFFICE, BROKER, 9094),
    (STRANGER, BROKER, 9095),
    (INTERNET, BROKER, 9095),
    (STRANGER, BROKER, 8082),
    (STRANGER, FLANKING, 8082),
    (STRANGER, BROKER, 9645),
    (STRANGER, FLANKING, 9645),
    (STRANGER, FLANKING, 8000),
]
MUST_NOT_PASS = [
    (FLANKING, BROKER, 33145),
    (OPERATOR, BROKER, 33145),
    (CHECKOUT, BROKER, 33145),
    (INTERNET, BROKER, 33145),
    (node("broker", "payments"), BROKER, 33145),
    (node("broker", "orders", "other"), BROKER, 33145),
    (CHECKOUT, BROKER, 9644),
    (FALSE_OPERATOR, BROKER, 9644),
    (node("broker", "payments"), BROKER, 9644),
    (node("broker", "orders", "other"), BROKER, 9644),
    (INTERNET, BROKER, 9644),
    (CHECKOUT, FLANKING, 9644),
    (STRANGER, BROKER, 9092),
    (Pod("lake", {}), BROKER, 9092),
    (INTERNET, BROKER, 9092),
    (GUEST, BROKER, 9094),
    (INTERNET, BROKER, 9094),
    (CHECKOUT, BROKER, 9094),
    (CHECKOUT, BROKER, 22),
    (BROKER, BROKER, 22),
    (CHECKOUT, FLANKING, 9092),
    (CHECKOUT, FLANKING, 22),
]


@pytest.mark.parametrize(("source", "target", "port"), MUST_PASS)
def test_what_has_to_pass_passes(source: Pod | str, target: Pod, port: int) -> None:
    assert passes(policies(), source, target, port)


@pytest.mark.parametrize(("source", "target", "port"), MUST_NOT_PASS)
def test_everything_else_is_kept_out(source: Pod | str, target: Pod, port: int) -> None:
    assert not passes(policies(), source, target, port)


def test_pods_of_others_are_left_alone() -> None:
    assert passes(policies(), STRANGER, CHECKOUT, 80)
    assert passes(policies(), STRANGER, node("broker", "payments"), 33145)


def test_a_port_that_is_not_served_is_not_open() -> None:
    assert not passes(policies(metrics={"enabled": False}), STRANGER, BROKER, 9645)


def test_none_means_none() -> None:
    assert policies(networkPolicy="None") == []
    assert len(policies()) == 2
