"""The whole status of a cluster, out of what was seen and what was said before. Pure.

A transition time moves only when its condition's status does, and a leader that only went unseen
for a while keeps the time since it leads: saying it again changes nothing.

Read next: `conditions.py`, `leadership.py` for the leader, `nodes.py` for the nodes.
"""

from __future__ import annotations

from quorate_operator import VERSION
from quorate_operator.names import selector_text
from quorate_operator.plan import (
    addresses,
    conditions,
    config,
    leadership,
    levels,
    nodes,
    rollout,
    scaling,
    size,
    summary,
    volumes,
)
from quorate_operator.plan.conditions import MESSAGE_LIMIT, Passed, Verdict
from quorate_operator.plan.inputs import Wish
from quorate_operator.plan.leadership import Leadership
from quorate_operator.plan.rollout import Rollout
from quorate_operator.seams import stamp
from quorate_operator.status import (
    BrokerClusterStatus,
    Condition,
    FlankingStatus,
    Held,
    Leader,
    ListenerStatus,
    Pending,
    RolloutStatus,
    StorageStatus,
)


def tell(wish: Wish, passed: Passed, image: str) -> BrokerClusterStatus:
    """The whole status; equal to the previous one when nothing that matters changed."""
    lead = leadership.read(wish)
    restarts = rollout.look(wish, lead)
    told = nodes.nodes(wish, lead, dict(restarts.remaining))
    brokers = [node for node in told if node.role == "broker"]
    flanking = [node for node in told if node.role == "flanking"]
    ready = sum(node.ready for node in brokers)
    leader, before = _leaders(wish, lead)
    running = wish.observed.pods_of("broker")
    dated = _dated(wish, conditions.verdicts(wish, lead, brokers, passed))
    return BrokerClusterStatus(
        observed_generation=wish.observed.generation,
        conditions=dated,
        summary=_word(dated),
        operator_version=VERSION,
        cluster_id=lead.cluster_id or None,
        version=image.rpartition(":")[2],
        metadata_version=_level(wish, lead),
        images=levels.seen(wish, lead),
        leader=leader,
        previous_leader=before,
        leader_transitions=_transitions(wish, lead),
        nodes=told[:128],
        replicas=len(wish.observed.pods_of("broker")),
        effective_replicas=size.effective(wish),
        ready_replicas=ready,
        ready_text=f"{ready}/{wish.spec.replicas}",
        selector=selector_text(wish.observed.key, "broker"),
        flanking=FlankingStatus(replicas=len(flanking), ready=sum(node.ready for node in flanking)),
        updated_replicas=len(running) - len(restarts.remaining),
        updated_text=f"{len(running) - len(restarts.remaining)}/{wish.spec.replicas}",
        rollout=_rollout(wish, lead, restarts),
        storage=_storage(wish),
        blocked_by=_held(wish, lead, restarts, passed),
        listeners=_listeners(wish),
    )


def _word(conditions: list[Condition]) -> str:
    asleep = any(one.type == "Ready" and one.reason == "Hibernated" for one in conditions)
    return summary.word({one.type: one.status for one in conditions}, asleep=asleep)


def first(wish: Wish) -> BrokerClusterStatus:
    """Before anything was looked at or made: never Unknown, which some tools take for broken."""
    dated = _dated(
        wish, [Verdict("Ready", "False", "Provisioning", "The cluster is being set up.")]
    )
    return BrokerClusterStatus(
        observed_generation=wish.observed.generation,
        conditions=dated,
        summary=_word(dated),
        ready_text=f"0/{wish.spec.replicas}",
        replicas=0,
        ready_replicas=0,
        selector=selector_text(wish.observed.key, "broker"),
    )


def invalid(
    previous: BrokerClusterStatus, now: str, generation: int, why: str
) -> BrokerClusterStatus:
    """A spec that this operator cannot read: everything said before stays, Stalled says why."""
    kept = [one for one in previous.conditions if one.type != "Stalled"]
    old = previous.condition("Stalled")
    since = old.last_transition_time if old and old.status == "True" else now
    stalled = Condition(
        type="Stalled",
        status="True",
        reason="InvalidSpec",
        message=why[:MESSAGE_LIMIT],
        last_transition_time=since,
        observed_generation=generation,
    )
    ordered = sorted([*kept, stalled], key=lambda one: one.type)
    return previous.model_copy(update={"conditions": ordered, "summary": _word(ordered)})


def _rollout(wish: Wish, lead: Leadership, restarts: Rollout) -> RolloutStatus | None:
    if not restarts.remaining:
        return None
    before, now = wish.previous.rollout or RolloutStatus(), stamp(wish.observed.now)
    reasons = dict(restarts.remaining)
    first = next(iter(reasons))
    current = restarts.current or None
    kept = before.current_since if current and before.current == current else None
    return RolloutStatus(
        reason=reasons.get(restarts.current or first, reasons[first]),
        started_at=(before.started_at or now) if wish.rolling else None,
        revision=rollout.revision(wish, lead) or None,
        current=current,
        current_since=(kept or now) if current else None,
        blocked_by=list(dict.fromkeys(one.reason for one in restarts.blocked)),
        remaining=[Pending(pod=pod, reason=why) for pod, why in restarts.remaining],
        accepted_risks=list(restarts.risks),
    )


def _level(wish: Wish, lead: Leadership) -> int | None:
    """As the leader tells; as it was last known while nobody leads."""
    told = lead.view.feature_level if lead.view else 0
    return told or wish.previous.metadata_version


def _storage(wish: Wish) -> StorageStatus | None:
    if wish.spec.storage.type == "ephemeral":
        return None
    return StorageStatus(
        volumes=len(wish.observed.volumes),
        resizing=volumes.resizing(wish)[:99],
        replacing=volumes.replaced(wish)[:99],
        orphaned=volumes.orphaned(wish)[:99],
    )


def _held(wish: Wish, lead: Leadership, restarts: Rollout, passed: Passed) -> list[Held]:
    several = (
        *restarts.blocked,
        *scaling.look(wish, lead).blocked,
        *volumes.waits(wish),
        *config.refused(passed.config_refused),
    )
    return [
        Held(reason=one.reason, subject=one.subject[:253], message=one.sentence[:512])
        for one in several[:32]
    ]


def _leaders(wish: Wish, lead: Leadership) -> tuple[Leader | None, Leader | None]:
    """The leader and the one before. A lead that only went unseen for a while is the same one."""
    last, before = wish.previous.leader, wish.previous.previous_leader
    if lead.claim is None:
        return None, last or before
    claim = lead.claim
    for known in (last, before):
        if known and (known.node_id, known.epoch) == (claim.node_id, claim.term):
            return known, before if known is last else None
    leader = Leader(
        node_id=claim.node_id,
        pod=wish.names.broker_pod(claim.node_id),
        epoch=claim.term,
        since=stamp(wish.observed.now),
    )
    return leader, last or before


def _transitions(wish: Wish, lead: Leadership) -> int | None:
    told = lead.view.transitions if lead.view else None
    known = wish.previous.leader_transitions
    return max((count for count in (told, known) if count is not None), default=None)


def _listeners(wish: Wish) -> list[ListenerStatus]:
    return [
        ListenerStatus(
            name=one.listener.name,
            type=one.listener.type,
            bootstrap_servers=",".join(one.bootstrap)[:512] or None,
            addresses=[address for _, address in sorted(one.brokers.items())],
        )
        for one in addresses.look(wish)
    ]


def _dated(wish: Wish, verdicts: list[Verdict]) -> list[Condition]:
    return [_date(wish, verdict) for verdict in sorted(verdicts, key=lambda one: one.type)]


def _date(wish: Wish, verdict: Verdict) -> Condition:
    before = wish.previous.condition(verdict.type)
    kept = before is not None and before.status == verdict.status
    return Condition(
        type=verdict.type,
        status=verdict.status,
        reason=verdict.reason,
        message=verdict.message[:MESSAGE_LIMIT],
        last_transition_time=(
            before.last_transition_time if before and kept else stamp(wish.observed.now)
        ),
        observed_generation=wish.observed.generation,
    )
