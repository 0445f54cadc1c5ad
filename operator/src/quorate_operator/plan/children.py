"""Which children differ from what is wanted. Pure.

A child is applied again when it is missing, when its manifest is another one than last time (the
digest in an annotation: this is how a removed field is noticed), or when someone changed a field
that we set. Fields that we do not set are other people's and defaults; they never count. A child
that is not wanted any more is removed: a Service of a listener that went, a policy that was
switched off. What holds data or runs pods is never among them.

The brokers' StatefulSet is applied only onto the version that was seen: its number of brokers was
decided by a look at them, and an operator that stood still in between must not act on that late.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from quorate_operator.facts import Json
from quorate_operator.names import APPLIED_ANNOTATION, ROLE_LABEL, SCALED_BY_ANNOTATION
from quorate_operator.plan import quantity
from quorate_operator.plan.actions import Apply, LendReplicas, Remove

_NOTHING: Final = ("", 0, False)
"""What the API server leaves out of what it stores, where that is what a missing field means."""
REMOVABLE: Final = (
    "Service",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "HorizontalPodAutoscaler",
    "PodMonitor",
)


def differences(desired: Iterable[Json], live: Mapping[tuple[str, str], Json]) -> Iterator[Apply]:
    for manifest in desired:
        name = manifest["metadata"]["name"]
        found = live.get((manifest["kind"], name))
        why = "missing" if found is None else _why(manifest, found)
        if why:
            yield Apply(manifest, why, _onto(manifest, found or {}))


def _onto(manifest: Json, found: Json) -> str:
    labels = manifest["metadata"]["labels"]
    if manifest["kind"] != "StatefulSet" or labels.get(ROLE_LABEL) != "broker":
        return ""
    return str(found.get("metadata", {}).get("resourceVersion", ""))


def leftovers(
    desired: Iterable[Json], live: Mapping[tuple[str, str], Json], uid: str
) -> Iterator[Remove]:
    """Children that we made for this cluster (its uid) and want no more."""
    wanted = {(one["kind"], one["metadata"]["name"]) for one in desired}
    for (kind, name), child in live.items():
        metadata = child["metadata"]
        owners = [one.get("uid") for one in metadata.get("ownerReferences") or []]
        ours = APPLIED_ANNOTATION in (metadata.get("annotations") or {}) and uid in owners
        gone = "deletionTimestamp" in metadata
        if kind in REMOVABLE and ours and not gone and (kind, name) not in wanted:
            yield Remove(kind, name, metadata["uid"], metadata.get("resourceVersion", ""))


def handed_over(
    desired: Iterable[Json], live: Mapping[tuple[str, str], Json]
) -> Iterator[LendReplicas]:
    """Workloads whose replicas become an autoscaler's with the next apply."""
    least = {
        one["spec"]["scaleTargetRef"]["name"]: one["spec"]["minReplicas"]
        for one in desired
        if one["kind"] == "HorizontalPodAutoscaler"
    }
    for manifest in desired:
        if manifest["kind"] != "StatefulSet" or "replicas" in manifest["spec"]:
            continue
        name = manifest["metadata"]["name"]
        found = live.get(("StatefulSet", name))
        if found is None:
            continue
        before = (found["metadata"].get("annotations") or {}).get(SCALED_BY_ANNOTATION)
        if before != manifest["metadata"]["annotations"][SCALED_BY_ANNOTATION]:
            yield LendReplicas(name, max(found["spec"].get("replicas", 0), least.get(name, 0)))


def _why(manifest: Json, found: Json) -> str:
    before = found["metadata"].get("annotations", {}).get(APPLIED_ANNOTATION)
    if before != manifest["metadata"]["annotations"][APPLIED_ANNOTATION]:
        return "changed"
    path = departure(manifest, found)
    return f"someone changed {path}" if path else ""


def departure(wanted: Any, found: Any, path: str = "") -> str:
    """The first field of `wanted` that `found` does not hold; empty when it holds all.

    Recursion ends where our own manifests do.
    """
    if wanted == found or (found is None and wanted in _NOTHING):
        return ""
    if isinstance(wanted, dict):
        return _in_mapping(wanted, found, path)
    if isinstance(wanted, list):
        return _in_list(wanted, found, path)
    scalars = (str, int, float)
    if isinstance(wanted, scalars) and isinstance(found, scalars):
        return "" if quantity.same(str(wanted), str(found)) else path or "."
    return path or "."


def _in_mapping(wanted: Json, found: Any, path: str) -> str:
    if not wanted and not found:
        return ""
    if not isinstance(found, dict):
        return path or "."
    for key, value in wanted.items():
        empty = value in ({}, []) and not found.get(key)
        inner = "" if empty else departure(value, found.get(key), f"{path}.{key}")
        if inner:
            return inner
    return ""


def _in_list(wanted: list[Any], found: Any, path: str) -> str:
    if not wanted and not found:
        return ""
    if not isinstance(found, list):
        return path
    key = _key(wanted)
    if key:
        # As server-side apply sees such lists: by key, others may add theirs.
        by_key = {item.get(key): item for item in found if isinstance(item, dict)}
        pairs = [(item, by_key.get(item[key])) for item in wanted]
    elif len(wanted) != len(found):
        return path
    else:
        pairs = list(zip(wanted, found, strict=True))
    for index, (one, other) in enumerate(pairs):
        inner = departure(one, other, f"{path}[{index}]")
        if inner:
            return inner
    return ""


def _key(items: list[Any]) -> str:
    """By which the items of a list are told apart; empty: by their places."""
    if not items or not all(isinstance(item, dict) for item in items):
        return ""
    for key in ("mountPath", "name"):
        values = [item.get(key) for item in items]
        if None not in values and len(set(values)) == len(values):
            return key
    return ""
