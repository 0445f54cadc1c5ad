"""What to say about a cluster: conditions, leader, nodes. Pure.

Ready        clients are served: someone leads and a broker takes connections
Reconciling  the operator, or Kubernetes on its behalf, is still changing something
Stalled      something was refused and needs a person
QuorumAvailable, FullyReplicated, UpToDate, and the warnings Insecure, EvenBrokers, Paused

Messages hold no counters and no times, so that a steady cluster keeps a steady status; a transition
time moves only when its condition's status does.

Read next: `leadership.py` for the leader, `nodes.py` for the nodes.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from quorate_operator.names import selector_text
from quorate_operator.plan import leadership, nodes
from quorate_operator.plan.actions import Action
from quorate_operator.plan.inputs import Wish
from quorate_operator.plan.leadership import Leadership
from quorate_operator.seams import stamp
from quorate_operator.status import (
    BrokerClusterStatus,
    Condition,
    ConditionState,
    FlankingStatus,
    Leader,
    ListenerStatus,
    Node,
)

MESSAGE_LIMIT: Final = 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Passed:
    """What a reconcile pass did: its plan, and which parts of it were refused."""

    actions: tuple[Action, ...] = ()
    refused: tuple[str, ...] = ()
    """By the API server's rules: trying again will not help."""
    failed: tuple[str, ...] = ()
    """For now: it will be tried again."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Verdict:
    type: str
    status: ConditionState
    reason: str
    message: str


def tell(wish: Wish, passed: Passed, image: str) -> BrokerClusterStatus:
    """The whole status; equal to the previous one when nothing that matters changed."""
    lead = leadership.read(wish)
    told = nodes.nodes(wish, lead)
    brokers = [node for node in told if node.role == "broker"]
    flanking = [node for node in told if node.role == "flanking"]
    ready = sum(node.ready for node in brokers)
    leader, before = _leaders(wish, lead)
    verdicts = [
        _ready(wish, lead, brokers),
        _reconciling(wish, lead, passed),
        _stalled(passed),
        _quorum(wish, lead),
        _replicated(lead),
        _up_to_date(wish),
        *_warnings(wish),
    ]
    return BrokerClusterStatus(
        observed_generation=wish.observed.generation,
        conditions=_dated(wish, verdicts),
        cluster_id=lead.cluster_id or None,
        version=image.rpartition(":")[2],
        leader=leader,
        previous_leader=before,
        leader_transitions=_transitions(wish, lead),
        nodes=told[:128],
        replicas=len(wish.observed.pods_of("broker")),
        ready_replicas=ready,
        ready_text=f"{ready}/{wish.spec.replicas}",
        selector=selector_text(wish.observed.key, "broker"),
        flanking=FlankingStatus(replicas=len(flanking), ready=sum(node.ready for node in flanking)),
        listeners=_listeners(wish),
    )


def first(wish: Wish) -> BrokerClusterStatus:
    """Before anything was looked at or made: never Unknown, which some tools take for broken."""
    verdict = _Verdict("Ready", "False", "Provisioning", "The cluster is being set up.")
    return BrokerClusterStatus(
        observed_generation=wish.observed.generation,
        conditions=_dated(wish, [verdict]),
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
    conditions = sorted([*kept, stalled], key=lambda one: one.type)
    return previous.model_copy(update={"conditions": conditions})


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


def _ready(wish: Wish, lead: Leadership, brokers: list[Node]) -> _Verdict:
    if lead.claim is None:
        return _Verdict("Ready", "False", *_why_nobody_leads(wish, lead))
    if not any(node.ready for node in brokers):
        message = "A leader is elected, but no broker is ready to take clients."
        return _Verdict("Ready", "False", "NoBrokerReady", message)
    return _Verdict("Ready", "True", "Serving", "A leader is elected and clients are served.")


def _quorum(wish: Wish, lead: Leadership) -> _Verdict:
    if lead.claim is None:
        return _Verdict("QuorumAvailable", "False", *_why_nobody_leads(wish, lead))
    message = "A majority of the brokers agrees on a leader."
    return _Verdict("QuorumAvailable", "True", "LeaderElected", message)


def _why_nobody_leads(wish: Wish, lead: Leadership) -> tuple[str, str]:
    """Reason and sentence; the most helpful one first."""
    answering = set(wish.observed.views)
    wanted = [wish.names.broker_pod(node_id) for node_id in range(1, wish.spec.replicas + 1)]
    silent = [pod for pod in wanted if pod not in answering]
    waiting = f" Silent: {nodes.with_trouble(wish, silent)}." if silent else ""
    if not lead.cluster_id:
        if silent:
            return "Provisioning", f"Waiting for brokers to start.{waiting}"
        return "Provisioning", "All brokers have started and are forming the cluster."
    if len(silent) == len(wanted):
        return "NoBrokerAnswers", f"No broker answers, so nobody leads.{waiting}"
    if 2 * len(silent) >= len(wanted):
        sentence = "Too few brokers answer: without a majority nobody can lead."
        return "NoQuorum", sentence + waiting
    if lead.stale:
        sentence = "The brokers that answer tell of an older leader than the one already seen."
        return "StaleLeader", sentence + waiting
    return "Electing", f"A majority of the brokers answers and is electing a leader.{waiting}"


def _reconciling(wish: Wish, lead: Leadership, passed: Passed) -> _Verdict:
    if passed.failed:
        message = _joined("Will be tried again: ", passed.failed)
        return _Verdict("Reconciling", "True", "Retrying", message)
    if passed.actions and not passed.refused:
        return _Verdict(
            "Reconciling", "True", "Applying", "Bringing the cluster's objects in line."
        )
    if wish.spec.paused:
        return _Verdict("Reconciling", "False", "Paused", "Nothing is changed while paused.")
    unsettled = nodes.unsettled(wish)
    if unsettled:
        message = f"Waiting for pods: {unsettled}."
        return _Verdict("Reconciling", "True", "WaitingForPods", message)
    if not lead.cluster_id:
        return _Verdict("Reconciling", "True", "Forming", "The brokers are forming the cluster.")
    return _Verdict("Reconciling", "False", "Settled", "Everything is as it should be.")


def _stalled(passed: Passed) -> _Verdict:
    if passed.refused:
        return _Verdict("Stalled", "True", "Refused", _joined("", passed.refused))
    return _Verdict("Stalled", "False", "Free", "Nothing needs a person.")


def _replicated(lead: Leadership) -> _Verdict:
    kind = "FullyReplicated"
    if lead.view is None:
        return _Verdict(kind, "Unknown", "NobodyLeads", "Only a leader can tell.")
    if lead.view.healthy:
        return _Verdict(kind, "True", "Healthy", "Every partition has all its replicas.")
    message = _joined("", lead.view.unhealthy_reasons) or "The brokers report trouble."
    return _Verdict(kind, "False", "Unhealthy", message)


def _up_to_date(wish: Wish) -> _Verdict:
    outdated = nodes.outdated(wish)
    if outdated:
        message = (
            f"These brokers run with an older configuration: {', '.join(outdated)}."
            " Delete their pods one at a time, the leader's last, waiting for Ready between."
        )
        return _Verdict("UpToDate", "False", "RestartNeeded", message[:MESSAGE_LIMIT])
    return _Verdict(
        "UpToDate", "True", "Current", "All brokers run with the current configuration."
    )


def _warnings(wish: Wish) -> list[_Verdict]:
    """Only present while they are true."""
    found = []
    open_to_all = [
        listener.name
        for listener in wish.spec.listeners
        if listener.authentication is None or listener.authentication.type == "none"
    ]
    if open_to_all:
        message = f"Open to everybody who reaches them: {', '.join(open_to_all)}."
        found.append(_Verdict("Insecure", "True", "NoAuthentication", message))
    if wish.spec.replicas % 2 == 0:
        message = "An even number of brokers survives no more losses than one broker fewer."
        found.append(_Verdict("EvenBrokers", "True", "EvenBrokerCount", message))
    if wish.spec.paused:
        message = "spec.paused is true: status is reported, nothing is changed."
        found.append(_Verdict("Paused", "True", "Paused", message))
    return found


def _listeners(wish: Wish) -> list[ListenerStatus]:
    host = wish.names.host(wish.names.bootstrap)
    return [
        ListenerStatus(
            name=listener.name, type=listener.type, bootstrap_servers=f"{host}:{listener.port}"
        )
        for listener in wish.spec.listeners
    ]


def _dated(wish: Wish, verdicts: list[_Verdict]) -> list[Condition]:
    return [_date(wish, verdict) for verdict in sorted(verdicts, key=lambda one: one.type)]


def _date(wish: Wish, verdict: _Verdict) -> Condition:
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


def _joined(head: str, sentences: tuple[str, ...]) -> str:
    return (head + "; ".join(sentences))[:MESSAGE_LIMIT]
