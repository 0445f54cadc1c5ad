"""Which children differ from what is wanted. Pure.

A child is applied again when it is missing, when its manifest is another one than last time (the
digest in an annotation: this is how a removed field is noticed), or when someone changed a field
that we set. Fields that we do not set are other people's and defaults; they never count.

The brokers' StatefulSet is applied only onto the version that was seen: its number of brokers was
decided by a look at them, and an operator that stood still in between must not act on that late.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from quorate_operator.facts import Json
from quorate_operator.names import APPLIED_ANNOTATION, ROLE_LABEL
from quorate_operator.plan import quantity
from quorate_operator.plan.actions import Apply


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
    if isinstance(wanted, dict):
        return _in_mapping(wanted, found, path)
    if isinstance(wanted, list):
        return _in_list(wanted, found, path)
    if wanted == found:
        return ""
    if isinstance(wanted, str) and isinstance(found, str) and quantity.same(wanted, found):
        return ""
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
    if wanted and all(isinstance(item, dict) and "name" in item for item in wanted):
        # As server-side apply sees such lists: by name, others may add theirs.
        by_name = {item.get("name"): item for item in found}
        pairs = [(item, by_name.get(item["name"])) for item in wanted]
    elif len(wanted) != len(found):
        return path
    else:
        pairs = list(zip(wanted, found, strict=True))
    for index, (one, other) in enumerate(pairs):
        inner = departure(one, other, f"{path}[{index}]")
        if inner:
            return inner
    return ""
