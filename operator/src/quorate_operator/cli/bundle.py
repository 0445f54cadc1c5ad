"""What goes into a diagnostics bundle: objects, events, logs, and what each broker says of itself.

A part that cannot be had is replaced by the reason why; the rest is collected all the same. Secrets
are never read, and environment variables of pods, which people fill with them, are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from quorate_operator.cli.talk import CommandFailed, Kubectl

Json = dict[str, Any]
KINDS: Final = (
    "statefulsets",
    "pods",
    "services",
    "configmaps",
    "persistentvolumeclaims",
    "poddisruptionbudgets",
)
ADMIN: Final = (
    "/v1/cluster/health_overview",
    "/v1/brokers",
    "/v1/partitions",
    "/v1/node_config",
    "/v1/watch?timeout_ms=0",
)


def collect(kubectl: Kubectl, name: str) -> Iterator[tuple[str, bytes]]:
    """Path and content of each file."""
    cluster = kubectl.cluster(name)
    namespace = cluster["metadata"]["namespace"]
    yield "brokercluster.json", _text(_plain(cluster))
    for kind in KINDS:
        try:
            yield f"{kind}.json", _text([_plain(one) for one in kubectl.listed(kind, name)])
        except CommandFailed as error:
            yield f"{kind}.error", str(error).encode()
    yield from _said(kubectl, "events.txt", "get", "events", "--sort-by=.lastTimestamp")
    for node in cluster.get("status", {}).get("nodes", []):
        pod = node["pod"]
        yield from _said(kubectl, f"logs/{pod}.txt", "logs", pod, "--tail=5000")
        yield from _said(kubectl, f"logs/{pod}.before.txt", "logs", pod, "--previous")
        if node["role"] == "broker":
            yield from _answers(kubectl, namespace, pod)


def _answers(kubectl: Kubectl, namespace: str, pod: str) -> Iterator[tuple[str, bytes]]:
    for path in ADMIN:
        name = path.partition("?")[0].strip("/").replace("/", "-")
        try:
            yield f"admin/{pod}/{name}.json", _text(kubectl.admin(namespace, pod, path))
        except (CommandFailed, ValueError) as error:
            yield f"admin/{pod}/{name}.error", str(error).encode()


def _said(kubectl: Kubectl, path: str, *words: str) -> Iterator[tuple[str, bytes]]:
    try:
        yield path, kubectl(*words).encode()
    except CommandFailed as error:
        yield f"{path}.error", str(error).encode()


def _plain(found: Json) -> Json:
    """Without what is long and says nothing, and without environments."""
    found["metadata"].pop("managedFields", None)
    for pod in (found.get("spec", {}), found.get("spec", {}).get("template", {}).get("spec", {})):
        for container in pod.get("containers", []):
            container.pop("env", None)
    return found


def _text(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode()
