"""Which broker is restarted next, and why not yet. Pure, and computed anew in every pass.

    down and outdated    at once: what does not run cannot be harmed
    others               one at a time, through the gate, by permit; the leader last, after it has
                         handed the lead over

A pod is outdated when it was made from an older template than the StatefulSet's, or when its broker
says that only a restart brings it to the settings of the cluster (`config.py`). Nothing is
remembered: an operator that was killed anywhere looks again and goes on.

Read next: `gate.py`, `permit.py`.
"""

from __future__ import annotations

import dataclasses
import enum

from quorate_operator.facts import Json, Pod
from quorate_operator.names import (
    APPROVED_ANNOTATION,
    CONFIG_HASH_ANNOTATION,
    RESTART_ANNOTATION,
    node_id,
)
from quorate_operator.plan import (
    config,
    gate,
    identity,
    leadership,
    levels,
    permit,
    size,
    windows,
)
from quorate_operator.plan.actions import Action, Restart, Transfer
from quorate_operator.plan.blocked import Blocked, Reason
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


@dataclasses.dataclass(frozen=True, slots=True)
class Rollout:
    """Where the restarts stand."""

    remaining: tuple[tuple[str, Why], ...] = ()
    """Pods that run with something older, each with what changed."""
    steps: tuple[Action, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    risks: tuple[str, ...] = ()
    current: str = ""
    """The pod whose turn it is."""


def look(wish: Wish, lead: Leadership) -> Rollout:
    """The restarts as they stand now."""
    outdated = _outdated(wish, lead)
    granted = permit.held(wish)
    remaining = tuple((pod.name, why) for pod, why in outdated)
    if wish.spec.paused or wish.spec.hibernate or wish.spec.update_strategy.type == "OnDelete":
        return Rollout(remaining)
    down = [(pod, why) for pod, why in outdated if not _serves(wish, pod)]
    if down:
        steps = tuple(
            Restart(pod.name, pod.uid, pod.resource_version, why)
            for pod, why in down
            if not pod.terminating
        )
        return Rollout(remaining, steps, current=down[0][0].name)
    if granted is not None and granted[1].name not in dict(remaining):
        # Nothing is to be changed about it any more.
        return Rollout(remaining, () if granted[1].terminating else (permit.spare(granted[0]),))
    if not outdated:
        return Rollout()
    pod, why = _next(outdated, lead, granted[1] if granted else None)
    found = _one(wish, lead, pod, why, granted=granted is not None)
    return dataclasses.replace(found, remaining=remaining, current=pod.name)


def wanted(wish: Wish) -> bool:
    """Whether something may be restarted in this pass: then the leader has to be asked first."""
    if wish.spec.paused or wish.spec.hibernate or wish.spec.update_strategy.type == "OnDelete":
        return False
    return bool(_outdated(wish, leadership.read(wish))) or permit.held(wish) is not None


def _one(wish: Wish, lead: Leadership, pod: Pod, why: Why, *, granted: bool) -> Rollout:
    """The next step for a broker that serves."""
    number = node_id("broker", pod.ordinal)
    risks = gate.risks(wish.survey, number)
    blocked = (
        *_consent(wish, lead),
        *levels.too_old(wish, lead, wish.image("broker")),
        *gate.closed(wish, lead, pod),
    )
    if blocked or pod.terminating:
        return Rollout(blocked=blocked, risks=risks)
    leads = lead.claim is not None and lead.claim.node_id == number
    alone = size.effective(wish) == 1
    step: Action
    if leads and not alone and wish.spec.update_strategy.leader == "Transfer":
        step = Transfer(pod.name, _successor(wish, lead, number))
    elif granted:
        step = Restart(pod.name, pod.uid, pod.resource_version, why)
    else:
        step = permit.take(wish, pod)
    return Rollout(steps=(step,), risks=risks)


def revision(wish: Wish, lead: Leadership) -> str:
    """What is rolled out: the template, and the settings if some need a restart."""
    template = (wish.workload("broker").get("status") or {}).get("updateRevision") or ""
    if lead.view is None or not config.restarting(wish, lead):
        return str(template)
    return f"{template}.{lead.view.config_version}"


def _consent(wish: Wish, lead: Leadership) -> tuple[Blocked, ...]:
    strategy = wish.spec.update_strategy
    found = []
    if strategy.type == "Supervised":
        asked = revision(wish, lead)
        if wish.annotation(APPROVED_ANNOTATION) != asked:
            found.append(Blocked(Reason.APPROVAL, asked))
    if strategy.windows and not windows.is_open(strategy.windows, wish.observed.now):
        found.append(Blocked(Reason.WINDOW, windows.text(strategy.windows)))
    return tuple(found)


def _next(
    outdated: list[tuple[Pod, Why]], lead: Leadership, granted: Pod | None
) -> tuple[Pod, Why]:
    """Whoever has the permit; else by node id, the leader last."""
    leader = lead.claim.node_id if lead.claim else 0
    return min(
        outdated,
        key=lambda one: (
            granted is None or one[0].uid != granted.uid,
            node_id("broker", one[0].ordinal) == leader,
            one[0].ordinal,
        ),
    )


def _successor(wish: Wish, lead: Leadership, leader: int) -> int:
    """Another one, best one that is not restarted for this change any more."""
    outdated = {pod.ordinal for pod, _ in _outdated(wish, lead)}
    others = [n for n in range(1, size.effective(wish) + 1) if n != leader]
    return min(others, key=lambda number: (number - 1 in outdated, number))


def _serves(wish: Wish, pod: Pod) -> bool:
    """Whether a restart could take something away from somebody.

    What is stored in a pod without a volume goes with it, however it feels.
    """
    if wish.spec.storage.type == "ephemeral" and identity.recorded(wish):
        return True
    view = wish.observed.views.get(pod.name)
    return pod.ready or (view is not None and bool(view.cluster_id))


def _outdated(wish: Wish, lead: Leadership) -> list[tuple[Pod, Why]]:
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
