"""From the API server's dicts to facts: the border where their shape is known. Pure."""

from __future__ import annotations

import datetime
import json
from typing import Any

from quorate_operator.facts import Json, KeptSpec, Pod, VolumeClaim
from quorate_operator.names import (
    ADVERTISED_ANNOTATION,
    CLUSTER_ID_ANNOTATION,
    CONFIG_HASH_ANNOTATION,
    DRAINED_ANNOTATION,
    LEADER_LABEL,
    RACK_ANNOTATION,
    RACK_FROM_ANNOTATION,
    RESTART_ANNOTATION,
    ROLE_LABEL,
    SPARED_ANNOTATION,
    Role,
)


def pod(raw: Json) -> Pod | None:
    """None for a pod with our label that is not one of ours."""
    metadata, status = raw["metadata"], raw.get("status", {})
    labels = metadata.get("labels", {})
    role, ordinal = labels.get(ROLE_LABEL), metadata["name"].rpartition("-")[2]
    if role not in ("broker", "flanking") or not ordinal.isdecimal():
        return None
    known: Role = role
    annotations = metadata.get("annotations") or {}
    container = (raw.get("spec", {}).get("containers") or [{}])[0]
    conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        role=known,
        ordinal=int(ordinal),
        ip=status.get("podIP", ""),
        ready=conditions.get("Ready") == "True",
        terminating="deletionTimestamp" in metadata,
        labelled_leader=labels.get(LEADER_LABEL) == "true",
        revision=labels.get("controller-revision-hash", ""),
        idle=_idle(status, known),
        trouble=_trouble(status),
        resource_version=metadata.get("resourceVersion", ""),
        image=container.get("image", ""),
        config_hash=annotations.get(CONFIG_HASH_ANNOTATION, ""),
        restart=annotations.get(RESTART_ANNOTATION, ""),
        resources=canonical(container.get("resources")),
        spared=annotations.get(SPARED_ANNOTATION, ""),
        node=raw.get("spec", {}).get("nodeName", ""),
        host_ip=status.get("hostIP", ""),
        rack=annotations.get(RACK_ANNOTATION, ""),
        rack_from=annotations.get(RACK_FROM_ANNOTATION, ""),
        advertised=annotations.get(ADVERTISED_ANNOTATION, ""),
        stranded_since=_stranded(metadata, status),
    )


def _stranded(metadata: Json, status: Json) -> datetime.datetime | None:
    """A deletion names the moment at which the pod has to be gone, its grace included."""
    if "deletionTimestamp" in metadata:
        return _moment(metadata["deletionTimestamp"])
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _moment(condition.get("lastTransitionTime", ""))
    return None


def _moment(text: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return None


def canonical(value: Any) -> str:
    """One spelling of a value; nothing and empty are the same."""
    return json.dumps(value or {}, sort_keys=True)


def _idle(status: Json, name: str) -> bool:
    """True only where Kubernetes says so: a node that is silent says nothing any more."""
    if status.get("phase") == "Pending":
        return True
    return any(
        container.get("name") == name and "running" not in container["state"]
        for container in status.get("containerStatuses", [])
        if container.get("state")
    )


def _trouble(status: Json) -> str:
    """Why its container does not run: ImagePullBackOff, CrashLoopBackOff, Unschedulable..."""
    for container in status.get("containerStatuses", []):
        state = container.get("state", {})
        reason = (state.get("waiting") or state.get("terminated") or {}).get("reason", "")
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            return str(reason)
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("reason", "Unschedulable"))
    return ""


def kept_spec(raw: Json, owner: str) -> KeptSpec | None:
    """None for what a cluster of the same name, or somebody else, left behind."""
    metadata = raw["metadata"]
    owners = {one.get("uid") for one in metadata.get("ownerReferences") or []}
    spec = (raw.get("data") or {}).get("spec")
    if owner not in owners or not isinstance(spec, dict):
        return None
    return KeptSpec(
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata.get("resourceVersion", ""),
        generation=int(raw.get("revision", 0)),
        spec=spec,
    )


def volume(raw: Json) -> VolumeClaim | None:
    """None for a claim with our label that is not one of ours."""
    metadata, ordinal = raw["metadata"], raw["metadata"]["name"].rpartition("-")[2]
    if not ordinal.isdecimal():
        return None
    annotations = metadata.get("annotations") or {}
    requests = raw["spec"].get("resources", {}).get("requests", {})
    capacity = raw.get("status", {}).get("capacity", {})
    return VolumeClaim(
        name=metadata["name"],
        uid=metadata["uid"],
        ordinal=int(ordinal),
        size=str(requests.get("storage", "")),
        capacity=str(capacity.get("storage", "")),
        resource_version=metadata.get("resourceVersion", ""),
        terminating="deletionTimestamp" in metadata,
        drained=DRAINED_ANNOTATION in annotations,
        storage_class=raw["spec"].get("storageClassName") or "",
        bound=bool(raw["spec"].get("volumeName")),
        cluster_id=annotations.get(CLUSTER_ID_ANNOTATION, ""),
    )
