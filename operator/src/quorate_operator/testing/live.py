"""Manifests as the API server would hold them."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any


def as_live(manifests: Iterable[dict[str, Any]]) -> dict[tuple[str, str], Any]:
    """What the API server makes of manifests: the same and more."""
    live = {}
    for manifest in copy.deepcopy(list(manifests)):
        manifest["metadata"] |= {"uid": "x", "resourceVersion": "7", "managedFields": [{}]}
        if manifest["kind"] == "Service":
            manifest["spec"] |= {"type": "ClusterIP", "sessionAffinity": "None"}
            for port in manifest["spec"]["ports"]:
                port["protocol"] = "TCP"
        if manifest["kind"] == "StatefulSet":
            pod = manifest["spec"]["template"]["spec"]
            pod |= {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always"}
            pod.pop("imagePullSecrets")
        live[manifest["kind"], manifest["metadata"]["name"]] = manifest
    return live
