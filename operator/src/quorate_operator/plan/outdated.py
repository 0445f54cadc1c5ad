"""Which brokers run with something older than what is wanted, and what changed. Pure.

A pod is outdated when it was made from an older template than the StatefulSet's, when its broker
says that only a restart brings it to the settings of the cluster (`config.py`), or when its volume
is to be another one (`volumes.py`). Read next: `rollout.py`, which restarts them.
"""

from __future__ import annotations

import enum

from quorate_operator.facts import Json, Pod
from quorate_operator.names import CONFIG_HASH_ANNOTATION, RESTART_ANNOTATION
from quorate_operator.plan import config, size, volumes
from quorate_operator.plan.inputs import Wish
from quorate_operator.plan.leadership import Leadership
from quorate_operator.reading import canonical


class Why(enum.StrEnum):
    """The closed list of reasons for a restart; each restart has one event with it."""

    IMAGE = "ImageChanged"
    CONFIG = "ConfigChanged"
    RESOURCES = "ResourcesChanged"
    REQUESTED = "RestartRequested"
    TEMPLATE = "TemplateChanged"
    VOLUME = "VolumeReplaced"
    READMITTED = "Readmitted"


def look(wish: Wish, lead: Leadership) -> list[tuple[Pod, Why]]:
    """By ordinal."""
    workload = wish.workload("broker")
    status = workload.get("status") or {}
    current = status.get("updateRevision")
    generation = workload.get("metadata", {}).get("generation", 0)
    if not current or status.get("observedGeneration", generation) != generation:
        return []  # Kubernetes has not looked at our last change yet
    behind = config.restarting(wish, lead)
    found = []
    for pod in sorted(wish.observed.pods_of("broker"), key=lambda one: one.ordinal):
        if pod.ordinal >= size.effective(wish):
            continue
        if pod.revision not in ("", current):
            found.append((pod, _why(pod, workload["spec"]["template"])))
        elif pod.name in behind:
            found.append((pod, Why.CONFIG))
        elif volumes.given_up(wish, pod) is not None:
            found.append((pod, Why.VOLUME))
    return found


def _why(pod: Pod, template: Json) -> Why:
    annotations = template.get("metadata", {}).get("annotations") or {}
    container = template["spec"]["containers"][0]
    if pod.image != container.get("image"):
        return Why.IMAGE
    if pod.config_hash != annotations.get(CONFIG_HASH_ANNOTATION, ""):
        return Why.CONFIG
    if pod.restart != annotations.get(RESTART_ANNOTATION, ""):
        return Why.REQUESTED
    if pod.resources != canonical(container.get("resources")):
        return Why.RESOURCES
    return Why.TEMPLATE
