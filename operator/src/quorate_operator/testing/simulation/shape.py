"""What has to be there at rest, of all that a spec asks for beside brokers: no more, no less.

Services and addresses of listeners, policies, autoscalers and the numbers that they set, and what
each broker has been told. Read next: `world.py`, which asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from quorate_operator.testing.objects import Json
from quorate_operator.testing.simulation.cluster import Cluster, Node

ALWAYS: Final = {"orders-brokers", "orders-bootstrap", "orders-admin", "orders-proxy"}


def departures(cluster: Cluster, spec: Json) -> Iterator[str]:
    """Whatever is not so."""
    outside = [one for one in spec["listeners"] if one.get("type", "internal") != "internal"]
    places = ["bootstrap", *range(spec["replicas"])]
    services = ALWAYS | {f"orders-{one['name']}-{place}" for one in outside for place in places}
    policies = {"orders-broker", "orders-flanking"}
    limits = spec["flanking"].get("autoscaling")
    yield from _other(cluster, "services", services)
    yield from _other(
        cluster, "networkpolicies", set() if spec.get("networkPolicy") == "None" else policies
    )
    yield from _other(cluster, "horizontalpodautoscalers", {"orders-flanking"} if limits else set())
    yield from _number(cluster, spec["flanking"], limits)
    for pod in cluster.objects("pods"):
        if pod["metadata"]["labels"]["quorate.dev/role"] == "broker":
            yield from _told(cluster, pod, outside, racks=bool(spec.get("rack")))


def _other(cluster: Cluster, plural: str, wanted: set[str]) -> Iterator[str]:
    found = {one["metadata"]["name"] for one in cluster.objects(plural)}
    if found != wanted:
        yield f"{plural} too many {sorted(found - wanted)}, missing {sorted(wanted - found)}"


def _number(cluster: Cluster, flanking: Json, limits: Json | None) -> Iterator[str]:
    workload = cluster.find("statefulsets", "orders-flanking")
    number = workload["spec"]["replicas"] if workload else 0
    least, most = flanking.get("replicas", 0), flanking.get("replicas", 0)
    if limits:
        least, most = limits["minReplicas"], limits["maxReplicas"]
    if not least <= number <= most:
        yield f"{number} flanking nodes, not {least} to {most}"


def _told(cluster: Cluster, pod: Json, outside: list[Json], *, racks: bool) -> Iterator[str]:
    name, notes = pod["metadata"]["name"], pod["metadata"]["annotations"]
    node = cluster.nodes[pod["spec"]["nodeName"]]
    if racks and notes.get("quorate.dev/rack") != node.zone:
        yield f"{name} was told rack {notes.get('quorate.dev/rack')}, and is in {node.zone}"
    told = notes.get("quorate.dev/advertised", "").split(",")
    for listener in outside:
        service = f"orders-{listener['name']}-{name.rpartition('-')[2]}"
        address = _address(cluster.find("services", service) or {}, listener, node)
        if address and f"{listener['name']}={address}" not in told:
            yield f"{name} was told {told}, and {listener['name']} is at {address}"


def _address(service: Json, listener: Json, node: Node) -> str:
    """Empty: it is in the brokers' file, and nobody is told."""
    match listener["type"]:
        case "nodeport":
            return f"{node.address}:{service['spec']['ports'][0].get('nodePort')}"
        case "loadbalancer":
            given = service.get("status", {}).get("loadBalancer", {}).get("ingress", [{}])
            return f"{given[0].get('ip')}:{listener['port']}"
        case _:
            return ""
