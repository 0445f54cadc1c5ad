"""A new operator leaves running pods alone: a template that nothing asked to change stays. Pure.

Another version of the operator may write the same wish down otherwise. What was asked for stands as
a digest beside the template, with the version that made it; as long as the digest is the same, the
template of the other version is kept. It is made anew with the next change that restarts pods
anyway, or when somebody asks for a restart.

Read next: `children.py`, which gets what comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from quorate_operator.facts import Json
from quorate_operator.names import (
    APPLIED_ANNOTATION,
    ASKED_ANNOTATION,
    RENDERED_BY_ANNOTATION,
)
from quorate_operator.plan import children


def kept(desired: Iterable[Json], live: Mapping[tuple[str, str], Json]) -> Iterator[Json]:
    """What is wanted, with the templates that stay; a workload that needs nothing is left out."""
    for manifest in desired:
        found = live.get((manifest["kind"], manifest["metadata"]["name"]))
        if found is None or not _stays(manifest, found):
            yield manifest
            continue
        old = _with_template_of(manifest, found)
        if children.departure(old, found):
            yield old


def _stays(manifest: Json, found: Json) -> bool:
    if manifest["kind"] != "StatefulSet":
        return False
    wanted = manifest["metadata"]["annotations"]
    there = found["metadata"].get("annotations") or {}
    return bool(
        there.get(ASKED_ANNOTATION) == wanted[ASKED_ANNOTATION]
        and there.get(RENDERED_BY_ANNOTATION) != wanted[RENDERED_BY_ANNOTATION]
    )


def _with_template_of(manifest: Json, found: Json) -> Json:
    there = found["metadata"]["annotations"]
    annotations = manifest["metadata"]["annotations"] | {
        name: there[name] for name in (RENDERED_BY_ANNOTATION, APPLIED_ANNOTATION) if name in there
    }
    return {
        **manifest,
        "metadata": {**manifest["metadata"], "annotations": annotations},
        "spec": {**manifest["spec"], "template": found["spec"]["template"]},
    }
