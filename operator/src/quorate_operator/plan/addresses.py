"""Where clients of each listener find the brokers, as far as Kubernetes has said so. Pure.

Pods are made whatever is missing here; each broker is told its addresses as they come (`told.py`),
and a listener without all of them is a condition of its own, never a reason to wait.

Read next: `listening.py` for what is known without asking.
"""

from __future__ import annotations

import dataclasses

from quorate_operator import listening
from quorate_operator.facts import Json
from quorate_operator.model import Listener
from quorate_operator.plan import size
from quorate_operator.plan.inputs import Wish, asked_once

LAST_PORT = 65535


@dataclasses.dataclass(frozen=True, slots=True)
class Reach:
    """One listener as clients see it; addresses are host:port."""

    listener: Listener
    bootstrap: tuple[str, ...]
    """Empty while there is none."""
    brokers: dict[int, str]
    """By node id; a broker whose address is not known yet is missing."""
    waiting: tuple[str, ...]
    """Services that have no address yet, or pods that are not placed yet."""


@asked_once
def look(wish: Wish) -> tuple[Reach, ...]:
    """All listeners, in the order of the spec."""
    return tuple(_reach(wish, listener) for listener in wish.spec.listeners)


def _reach(wish: Wish, listener: Listener) -> Reach:
    brokers: dict[int, str] = {}
    waiting: list[str] = []
    for node_id in range(1, size.effective(wish) + 1):
        address = _of_broker(wish, listener, node_id)
        if address:
            brokers[node_id] = address
        else:
            waiting.append(wish.names.listener_service(listener.name, node_id - 1))
    bootstrap = _bootstrap(wish, listener)
    if not bootstrap:
        waiting.insert(0, wish.names.listener_bootstrap(listener.name))
    return Reach(listener, bootstrap, brokers, tuple(waiting))


def _of_broker(wish: Wish, listener: Listener, node_id: int) -> str:
    names = wish.names
    service = _service(wish, names.listener_service(listener.name, node_id - 1))
    host = listening.filled(listening.host_template(listener, names), names, node_id)
    port = listening.filled(listening.port_template(listener), names, node_id)
    if not host and listener.type == "nodeport":
        hosts = {pod.name: pod.host_ip for pod in wish.observed.pods}
        host = hosts.get(names.broker_pod(node_id), "")
    if not host and listener.type == "loadbalancer":
        host = _given(service)
    return _joined(host, port or _node_port(service))


def _bootstrap(wish: Wish, listener: Listener) -> tuple[str, ...]:
    names = wish.names
    if listener.type == "internal":
        return (f"{names.host(names.bootstrap)}:{listener.port}",)
    name = names.listener_bootstrap(listener.name)
    service = _service(wish, name)
    if listener.type == "clusterIP":
        return (f"{names.host(name)}:{listener.port}",)
    if listener.type == "loadbalancer":
        return tuple(filter(None, [_joined(_given(service), str(listener.port))]))
    hosts = sorted({pod.host_ip for pod in wish.observed.pods_of("broker")} - {""})
    return tuple(filter(None, (_joined(host, _node_port(service)) for host in hosts)))


def _service(wish: Wish, name: str) -> Json:
    return wish.observed.children.get(("Service", name), {})


def _given(service: Json) -> str:
    """By a load balancer: a name, or else an address."""
    ingress = (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or [{}]
    return str(ingress[0].get("hostname") or ingress[0].get("ip") or "")


def _node_port(service: Json) -> str:
    ports = (service.get("spec") or {}).get("ports") or [{}]
    return str(ports[0].get("nodePort") or "")


def _joined(host: str, port: str) -> str:
    """Empty unless both are there, and the port is one."""
    if not host or not port.isdecimal() or not 0 < int(port) <= LAST_PORT:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
