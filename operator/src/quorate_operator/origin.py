"""What a pod template was made from, and by whom: marks for `plan/template.py`. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from quorate_operator import VERSION, config_file
from quorate_operator.facts import Subject
from quorate_operator.names import ASKED_ANNOTATION, RENDERED_BY_ANNOTATION, Role

_OF_NO_POD: Final[dict[str, Any]] = {
    "replicas": True,
    "paused": True,
    "hibernate": True,
    "update_strategy": True,
    "disruption": True,
    "metadata_version": True,
    "version": True,  # it comes with the image
    "logging": True,  # heeded while nodes run, as are the brokers' settings
    "config": True,
    "network_policy": True,
    "listeners": {"__all__": {"annotations", "network_policy_peers"}},
    "metrics": {"pod_monitor"},
    "template": {
        "service",
        "pod_disruption_budget",
        "service_account",
        "persistent_volume_claim",
    },
    "flanking": {"replicas", "autoscaling"},
}
"""Of the spec: other objects, or what acts without a restart."""
_OF_BROKERS: Final = ("storage", "listeners", "resources", "scheduling")


def marks(subject: Subject, role: Role) -> dict[str, str]:
    """Without what changes no pod, and without defaults, of which a newer operator has more."""
    spec = subject.spec
    asked = spec.model_dump(exclude_defaults=True, exclude=_OF_NO_POD)
    if role == "flanking":
        for name in _OF_BROKERS:
            asked.pop(name, None)
        asked["bootstrap"] = config_file.inside(spec, subject.names)
        asked["file"] = config_file.flanking_settings(spec.config)
    else:
        asked.pop("flanking", None)
        if spec.storage.type == "persistent":
            asked.pop("storage")
    told = {name: value for name, value in asked.items() if value not in ({}, [])}
    whole = {"spec": told, "image": subject.image, "restart": subject.restart}
    text = json.dumps(whole, sort_keys=True)
    return {
        ASKED_ANNOTATION: hashlib.sha256(text.encode()).hexdigest()[:16],
        RENDERED_BY_ANNOTATION: VERSION,
    }
