"""Which cluster the brokers are: the id that was once taken down, in two places. Pure."""

from __future__ import annotations

from quorate_operator.names import CLUSTER_ID_ANNOTATION
from quorate_operator.plan.inputs import Wish


def recorded(wish: Wish) -> str:
    """Known from an earlier pass: the status, or the ConfigMap if the status was lost."""
    config = wish.observed.children.get(("ConfigMap", wish.names.config), {})
    annotations = config.get("metadata", {}).get("annotations") or {}
    return wish.previous.cluster_id or annotations.get(CLUSTER_ID_ANNOTATION, "")
