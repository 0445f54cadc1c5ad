"""Which cluster the brokers are: the id that was once taken down, in three places. Pure."""

from __future__ import annotations

from quorate_operator.names import CLUSTER_ID_ANNOTATION
from quorate_operator.plan.inputs import Wish, asked_once


@asked_once
def recorded(wish: Wish) -> str:
    """Known from an earlier pass: the status, the ConfigMap if the status was lost, or the volumes.

    Volumes outlive their cluster: one that is made anew under the same name takes them up again,
    and those of its brokers that are empty may only join. Two ids among them: then none is
    believed.
    """
    config = wish.observed.children.get(("ConfigMap", wish.names.config), {})
    annotations = config.get("metadata", {}).get("annotations") or {}
    known = wish.previous.cluster_id or annotations.get(CLUSTER_ID_ANNOTATION, "")
    return known or _kept(wish)


def _kept(wish: Wish) -> str:
    if wish.spec.storage.type == "ephemeral":
        return ""
    ids = {
        one.cluster_id
        for one in wish.observed.volumes
        if one.cluster_id and not one.drained and not one.terminating
    }
    return ids.pop() if len(ids) == 1 else ""
