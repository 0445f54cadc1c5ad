"""From the API server's dicts to facts: the border where their shape is known. Pure."""

from __future__ import annotations

from quorate_operator.facts import Json, Pod, VolumeClaim
from quorate_operator.names import LEADER_LABEL, ROLE_LABEL, Role


def pod(raw: Json) -> Pod | None:
    """None for a pod with our label that is not one of ours."""
    metadata, status = raw["metadata"], raw.get("status", {})
    labels = metadata.get("labels", {})
    role, ordinal = labels.get(ROLE_LABEL), metadata["name"].rpartition("-")[2]
    if role not in ("broker", "flanking") or not ordinal.isdecimal():
        return None
    known: Role = role
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
        trouble=_trouble(status),
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


def volume(raw: Json) -> VolumeClaim:
    requests = raw["spec"].get("resources", {}).get("requests", {})
    capacity = raw.get("status", {}).get("capacity", {})
    return VolumeClaim(
        name=raw["metadata"]["name"],
        uid=raw["metadata"]["uid"],
        size=str(requests.get("storage", "")),
        capacity=str(capacity.get("storage", "")),
    )
