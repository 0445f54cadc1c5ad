"""Which broker is restarted next, and why not yet. Pure, and computed anew in every pass.

    outdated, container does not run   at once: nothing can be taken away
    outdated, runs, serves nobody      one at a time, by permit, without the gate: it is needed for
                                       nothing now, but it may be on its way back into the quorum,
                                       so the next goes only once the one before answers again
    others                             one at a time, by permit, through the gate; the leader last,
                                       after it has handed the lead over

One whose volume is to be another one goes like those that serve, whatever it does: what is on the
volume goes with it. Nothing is remembered: an operator that was killed anywhere looks again and
goes on.

Read next: `outdated.py` for which, `gate.py`, `permit.py`.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import Final

from quorate_operator.facts import Pod
from quorate_operator.model_base import seconds
from quorate_operator.model_lifecycle import DEFAULT_TIMEOUT_PER_NODE
from quorate_operator.names import APPROVED_ANNOTATION, node_id
from quorate_operator.plan import (
    config,
    gate,
    identity,
    leadership,
    levels,
    outdated,
    permit,
    size,
    volumes,
    windows,
)
from quorate_operator.plan.actions import Replace, Restart, Step, Transfer
from quorate_operator.plan.blocked import Blocked, Reason
from quorate_operator.plan.inputs import Wish
from quorate_operator.plan.leadership import Leadership
from quorate_operator.plan.outdated import Why


@dataclasses.dataclass(frozen=True, slots=True)
class Rollout:
    """Where the restarts stand."""

    remaining: tuple[tuple[str, Why], ...] = ()
    """Pods that run with something older, each with what changed."""
    steps: tuple[Step, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    risks: tuple[str, ...] = ()
    current: str = ""
    """The pod whose turn it is."""


PATIENT: Final = frozenset({Reason.APPROVAL, Reason.WINDOW, Reason.BUDGET})
"""What is waited for on purpose, for however long."""


def look(wish: Wish, lead: Leadership) -> Rollout:
    """The restarts as they stand now."""
    older = outdated.look(wish, lead)
    found = dataclasses.replace(
        _turn(wish, lead, older), remaining=tuple((pod.name, why) for pod, why in older)
    )
    if not found.current or found.steps or any(one.reason in PATIENT for one in found.blocked):
        return found
    late = (Blocked(Reason.TIMEOUT, found.current),) if _is_late(wish, found.current) else ()
    return dataclasses.replace(found, blocked=(*found.blocked, *late))


def _is_off(wish: Wish) -> bool:
    spec = wish.spec
    return spec.paused or spec.hibernate or spec.update_strategy.type == "OnDelete"


def _turn(wish: Wish, lead: Leadership, older: list[tuple[Pod, Why]]) -> Rollout:
    """Whose turn it is, and the next step."""
    if _is_off(wish):
        return Rollout()
    granted = permit.held(wish)
    down = [(pod, why) for pod, why in older if _is_down(wish, pod) and not pod.terminating]
    if down:
        return _fallen(wish, lead, down, granted)
    if granted is not None and granted[1].name not in {pod.name for pod, _ in older}:
        # Nothing is to be changed about it any more.
        return Rollout(steps=() if granted[1].terminating else (permit.spare(granted[0]),))
    if not older:
        return Rollout()
    pod, why = _next(older, lead, granted[1] if granted else None)
    found = _one(wish, lead, pod, why, granted=granted is not None)
    return dataclasses.replace(found, current=pod.name)


def _is_late(wish: Wish, pod: str) -> bool:
    """By the status, which says since when it is this pod's turn."""
    told = wish.previous.rollout
    if told is None or told.current != pod or told.current_since is None:
        return False
    wanted = wish.spec.update_strategy.timeout_per_node or DEFAULT_TIMEOUT_PER_NODE
    since = datetime.datetime.fromisoformat(told.current_since)
    return wish.observed.now - since > datetime.timedelta(seconds=seconds(wanted))


def _fallen(
    wish: Wish,
    lead: Leadership,
    down: list[tuple[Pod, Why]],
    granted: tuple[permit.Permit, Pod] | None,
) -> Rollout:
    """The next step for brokers that serve nobody."""
    idle = [one for one in down if one[0].idle]
    if idle:
        steps = tuple(Restart(pod.name, pod.uid, pod.resource_version, why) for pod, why in idle)
        return Rollout(steps=steps, current=idle[0][0].name)
    if granted is not None:
        for pod, why in down:
            if pod.uid == granted[1].uid:
                step = Restart(pod.name, pod.uid, pod.resource_version, why)
                return Rollout(steps=(step,), current=pod.name)
        if granted[1].terminating:
            blocked = (Blocked(Reason.BROKER_DOWN, granted[1].name),)
            return Rollout(blocked=blocked, current=down[0][0].name)
        return Rollout(steps=(permit.spare(granted[0]),), current=down[0][0].name)
    before = permit.used(wish)
    if before and not _is_through(wish, lead, before):
        blocked = (Blocked(Reason.BROKER_DOWN, before),)
        return Rollout(blocked=blocked, current=down[0][0].name)
    return Rollout(steps=(permit.take(wish, down[0][0]),), current=down[0][0].name)


def _is_through(wish: Wish, lead: Leadership, name: str) -> bool:
    """Whether what was taken down before is back, or has failed in a way that waiting mends not."""
    pods = {pod.name: pod for pod in wish.observed.pods_of("broker")}
    pod = pods.get(name)
    if pod is None:
        return False
    if pod.terminating or name in {one.name for one, _ in outdated.look(wish, lead)}:
        return True  # by somebody else's hand; it has its own turn
    return bool(pod.idle and pod.trouble) or pod.ready or name in wish.observed.views


def wanted(wish: Wish) -> bool:
    """Whether something may be restarted in this pass: then the leader has to be asked first."""
    if _is_off(wish):
        return False
    return bool(outdated.look(wish, leadership.read(wish))) or permit.held(wish) is not None


def _one(wish: Wish, lead: Leadership, pod: Pod, why: Why, *, granted: bool) -> Rollout:
    """The next step for a broker that serves, or that would lose what it holds."""
    number = node_id("broker", pod.ordinal)
    risks = gate.risks(wish.survey, number)
    claim = volumes.given_up(wish, pod)
    if why is not Why.VOLUME and claim is not None and not claim.terminating:
        claim = None  # later: another image does not wait for what may hold up another volume
    blocked = (
        *_consent(wish, lead),
        *levels.too_old(wish, lead, wish.image("broker")),
        *gate.closed(wish, lead, pod),
    )
    if claim is not None:
        blocked += volumes.closed(wish, lead, pod)
    if wish.waits_for:
        blocked += (Blocked(Reason.BUDGET, wish.waits_for),)
    stuck = claim is not None and pod.stranded_since is not None
    if blocked or (pod.terminating and not stuck):
        return Rollout(blocked=tuple(dict.fromkeys(blocked)), risks=risks)
    leads = lead.claim is not None and lead.claim.node_id == number
    hands_over = leads and wish.spec.update_strategy.leader == "Transfer"
    successor = _successor(wish, lead, number) if hands_over else 0
    step: Step
    if successor:
        step = Transfer(pod.name, successor)
    elif not granted:
        step = permit.take(wish, pod)
    else:
        step = Restart(pod.name, pod.uid, pod.resource_version, why)
        if claim is not None and not claim.terminating:
            step = Replace(
                step, claim.name, claim.uid, claim.resource_version, force=pod.terminating
            )
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


def _next(older: list[tuple[Pod, Why]], lead: Leadership, granted: Pod | None) -> tuple[Pod, Why]:
    """Whoever has the permit; else by node id, the leader last, other volumes after all else."""
    leader = lead.claim.node_id if lead.claim else 0
    return min(
        older,
        key=lambda one: (
            granted is None or one[0].uid != granted.uid,
            one[1] is Why.VOLUME,
            node_id("broker", one[0].ordinal) == leader,
            one[0].ordinal,
        ),
    )


def _successor(wish: Wish, lead: Leadership, leader: int) -> int:
    """Another member, best one of the spec that is not restarted for this change any more.

    0: the leader says that there is none. Who is in no record may be one all the same: on its way
    out, or made by somebody else.
    """
    older = {pod.ordinal for pod, _ in outdated.look(wish, lead)}
    members = wish.survey.members if wish.survey is not None else ()
    wanted = size.effective(wish)
    others = [number for number in members if number != leader]
    return min(others, key=lambda n: (n > wanted, n - 1 in older, n), default=0)


def _is_down(wish: Wish, pod: Pod) -> bool:
    """Whether a restart takes nothing away from anybody.

    What is stored in a pod without a volume goes with it, however it feels; and so does what is on
    a volume that is to be another one.
    """
    if wish.spec.storage.type == "ephemeral" and identity.recorded(wish):
        return False
    if volumes.given_up(wish, pod) is not None:
        return False
    view = wish.observed.views.get(pod.name)
    return not pod.ready and (view is None or not view.cluster_id)
