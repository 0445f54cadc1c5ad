"""Manifests as the API server would hold them."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any


def as_live(manifests: Iterable[dict[str, Any]]) -> dict[tuple[str, str], Any]:
    """What the API server makes of manifests: the same and more, and less of what says nothing."""
    live = {}
    for manifest in copy.deepcopy(list(manifests)):
        manifest["metadata"] |= {"uid": "x", "resourceVersion": "7", "managedFields": [{}]}
        filled = _FILL.get(manifest["kind"])
        if filled is not None:
            filled(manifest["spec"])
        live[manifest["kind"], manifest["metadata"]["name"]] = _without_nothing(manifest)
    return live


def _without_nothing(value: Any) -> Any:
    """Go leaves empty lists and words out; false too, where a missing field means it."""
    if isinstance(value, dict):
        kept = {key: _without_nothing(inner) for key, inner in value.items()}
        return {
            key: inner
            for key, inner in kept.items()
            if inner not in ("", []) and not (key in _OMITTED and inner is False)
        }
    if isinstance(value, list):
        return [_without_nothing(inner) for inner in value]
    return value


_OMITTED = ("readOnly", "hostNetwork", "publishNotReadyAddresses")


def _service(spec: dict[str, Any]) -> None:
    spec.setdefault("type", "ClusterIP")
    defaults = {
        "clusterIP": "10.96.0.7",
        "clusterIPs": ["10.96.0.7"],
        "sessionAffinity": "None",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
    }
    for key, value in defaults.items():
        spec.setdefault(key, value)
    for number, port in enumerate(spec["ports"]):
        port.setdefault("protocol", "TCP")
        if spec["type"] in ("NodePort", "LoadBalancer"):
            port.setdefault("nodePort", 30000 + number)
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec |= {"externalTrafficPolicy": "Cluster"}
    if spec["type"] == "LoadBalancer":
        spec |= {"allocateLoadBalancerNodePorts": True}


def _autoscaler(spec: dict[str, Any]) -> None:
    spec.setdefault("minReplicas", 1)


def _workload(spec: dict[str, Any]) -> None:
    spec.setdefault("replicas", 1)
    spec |= {"revisionHistoryLimit": 10}
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        spec["updateStrategy"]["rollingUpdate"] = {"partition": 0}
    for claim in spec.get("volumeClaimTemplates", []):
        claim |= {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {}}
        claim["spec"]["volumeMode"] = "Filesystem"
    _pod(spec["template"]["spec"])


def _pod(pod: dict[str, Any]) -> None:
    pod.setdefault("schedulerName", "default-scheduler")
    pod |= {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always"}
    pod["serviceAccount"] = pod["serviceAccountName"]
    for container in (*pod["containers"], *pod.get("initContainers", [])):
        container |= {
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
        }
        container.setdefault("imagePullPolicy", "IfNotPresent")
        container.setdefault("resources", {})
        for port in container.get("ports", []):
            port.setdefault("protocol", "TCP")
        for variable in container.get("env", []):
            source = variable.get("valueFrom", {}).get("fieldRef")
            if source:
                source["apiVersion"] = "v1"
        probe = container.get("readinessProbe")
        if probe:
            probe |= {"successThreshold": 1}
            probe["httpGet"]["scheme"] = "HTTP"
    for volume in pod["volumes"]:
        for kind in ("configMap", "downwardAPI", "secret"):
            if kind in volume:
                volume[kind]["defaultMode"] = 420
        for item in volume.get("downwardAPI", {}).get("items", []):
            item["fieldRef"]["apiVersion"] = "v1"


_FILL = {
    "Service": _service,
    "HorizontalPodAutoscaler": _autoscaler,
    "StatefulSet": _workload,
}
