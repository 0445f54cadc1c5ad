"""The last spec that could be read stays in force when the next one cannot. Pure.

The definition refuses what is wrong, so this is for what it does not know of: a definition that is
older or newer than the operator, or none of our rules. Each spec that can be read is kept in a
ControllerRevision before anything is made of it; an older one goes when a newer is there.

Read next: `reconcile.py`, which falls back on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Final

from quorate_operator import model
from quorate_operator.facts import Json, KeptSpec, Observed
from quorate_operator.names import CLUSTER_LABEL, KEPT_LABEL, labels
from quorate_operator.plan.actions import Apply, Remove
from quorate_operator.plan.inputs import Wish

KIND: Final = "ControllerRevision"
SELECTOR: Final = f"{KEPT_LABEL}=spec,{CLUSTER_LABEL}="
"""And the name of the cluster."""


def newest(observed: Observed) -> KeptSpec | None:
    return max(observed.specs, key=lambda one: one.generation, default=None)


def steps(wish: Wish) -> Iterator[Apply | Remove]:
    """Keep this one; then let those before it go."""
    if wish.unreadable:
        return
    observed, last = wish.observed, newest(wish.observed)
    spec = observed.cluster.get("spec", {})
    if last is None or last.spec != spec:
        yield Apply(_manifest(observed, spec), "it can be read")
        return
    for one in observed.specs:
        if one is not last:
            yield Remove(KIND, one.name, one.uid, one.resource_version)


def _manifest(observed: Observed, spec: Json) -> Json:
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:10]
    key, metadata = observed.key, observed.cluster["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": KIND,
        "metadata": {
            "name": f"{key.name}-spec-{digest}",
            "namespace": key.namespace,
            "labels": {**labels(key), KEPT_LABEL: "spec"},
            "ownerReferences": [
                {
                    "apiVersion": f"{model.GROUP}/{model.VERSION}",
                    "kind": model.KIND,
                    "name": key.name,
                    "uid": metadata["uid"],
                    "controller": True,
                }
            ],
        },
        "revision": observed.generation,
        "data": {"spec": spec},
    }
