"""What a person adds to pods, put together with what the operator sets. Pure.

By name and key, as server-side apply puts things together, and ours win: a container, volume or
variable of ours is never replaced. What is added for flanking nodes wins over what is added to all.

Read next: `model_pods.py`, `render.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Final

from quorate_operator.model import BrokerClusterSpec
from quorate_operator.model_base import Metadata, Model
from quorate_operator.model_pods import NodeTemplate, Scheduling
from quorate_operator.names import Role

Json = dict[str, Any]

USER: Final = 10001
POD_SECURITY: Final[Json] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Final[Json] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
ADDED_SECURITY: Final[Json] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
"""Of containers that a person adds, unless they say otherwise: what `restricted` asks for."""
HOST: Final = "kubernetes.io/hostname"
ZONE: Final = "topology.kubernetes.io/zone"
_PLAIN: Final = ("terminationGracePeriodSeconds", "runtimeClassName", "schedulerName", "dnsConfig")


def added(spec: BrokerClusterSpec, role: Role) -> list[NodeTemplate]:
    """What is added to pods of a role; what comes later wins."""
    return [spec.template] if role == "broker" else [spec.template, spec.flanking.template]


def metadata(spec: BrokerClusterSpec, role: Role) -> Metadata:
    found = Metadata()
    for template in added(spec, role):
        found = found.under(template.pod.metadata)
    return found


def complete(pod: Json, spec: BrokerClusterSpec, role: Role, selector: Json) -> None:
    """Adds to the pod of a template what is asked for, in place."""
    for template in added(spec, role):
        _add(pod, template)
    scheduling = spec.scheduling if role == "broker" else spec.flanking.scheduling
    pod |= _scheduling(scheduling, spec, selector)
    for container in pod["containers"][1:] + pod.get("initContainers", []):
        security = container.get("securityContext") or {}
        container["securityContext"] = copy.deepcopy(ADDED_SECURITY) | security


def _add(pod: Json, template: NodeTemplate) -> None:
    wanted = template.pod.spec.written()
    pod |= {name: wanted[name] for name in _PLAIN if name in wanted}
    pod["securityContext"] = pod["securityContext"] | wanted.get("securityContext", {})
    for part in ("containers", "initContainers", "volumes", "hostAliases"):
        if wanted.get(part):
            pod[part] = _by_name(pod.get(part, []), wanted[part])
    node = pod["containers"][0]
    more = template.container.written()
    node["env"] = _by_name(node["env"], more.get("env", []))
    node["volumeMounts"] = [*node["volumeMounts"], *more.get("volumeMounts", [])]


def _by_name(before: list[Json], after: list[Json]) -> list[Json]:
    """Both; of those with a name the later ones replace earlier ones of the same name."""
    names = {one.get("name") for one in after} - {None}
    return [*(one for one in before if one.get("name") not in names), *after]


def _scheduling(wanted: Scheduling, spec: BrokerClusterSpec, selector: Json) -> Json:
    found = wanted.written()
    keys = [spec.rack.topology_key if spec.rack else ZONE, HOST]
    constraints = found.get("topologySpreadConstraints") or [
        {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway"} for key in keys
    ]
    return found | {
        "topologySpreadConstraints": [
            {"labelSelector": {"matchLabels": dict(selector)}} | one for one in constraints
        ]
    }


def clients(containers: Iterable[Model], bootstrap: str, proxy: str) -> list[Json]:
    """Containers beside the HTTP Proxy, told where the brokers are."""
    told = [
        {"name": "QUORATE_BOOTSTRAP_SERVERS", "value": bootstrap},
        {"name": "QUORATE_PROXY_URL", "value": proxy},
    ]
    found = []
    for one in containers:
        container = one.written()
        container["env"] = [*told, *container.get("env", [])]
        found.append(container)
    return found
