"""The conditions: one verdict each, with a reason for machines and a sentence for people. Pure.

Ready        clients are served: someone leads and a broker takes connections
Reconciling  the operator, or Kubernetes on its behalf, is still changing something
Stalled      something was refused and needs a person
QuorumAvailable, FullyReplicated, UpToDate, ConfigInSync, StorageReady and ListenersReady say more;
RacksKnown is there where racks are asked for; Scaled=False and the warnings Drift, Insecure,
EvenBrokers and Paused are there only while they are true

Messages hold no counters and no times, so that a steady cluster keeps a steady status.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

from quorate_operator.plan import (
    addresses,
    config,
    nodes,
    rollout,
    scaling,
    size,
    told,
    volumes,
)
from quorate_operator.plan.actions import Action
from quorate_operator.plan.blocked import NEEDS_A_PERSON, Blocked, sentences
from quorate_operator.plan.inputs import Wish
from quorate_operator.plan.leadership import Leadership
from quorate_operator.plan.rollout import Rollout
from quorate_operator.status import ConditionState, Node

MESSAGE_LIMIT: Final = 1024
PUT_OFF_LISTED: Final = 6
REASONS: Final = {
    "nodes_down": "A broker is down.",
    "leaderless_partitions": "Some partitions have no leader.",
    "no_elected_controller": "The brokers have no leader.",
}
"""What brokers say in one word, as sentences."""


@dataclasses.dataclass(frozen=True, slots=True)
class Passed:
    """What a reconcile pass did: its plan, and which parts of it were refused."""

    actions: tuple[Action, ...] = ()
    refused: tuple[str, ...] = ()
    """By the API server's rules: trying again will not help."""
    failed: tuple[str, ...] = ()
    """For now: it will be tried again."""
    config_refused: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Settings that the brokers do not take, with their words."""
    put_off: tuple[str, ...] = ()
    """What would have been done if the cluster were not paused."""


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """A condition without its dates."""

    type: str
    status: ConditionState
    reason: str
    message: str


def verdicts(wish: Wish, lead: Leadership, brokers: list[Node], passed: Passed) -> list[Verdict]:
    """All of them."""
    restarts = rollout.look(wish, lead)
    held = (*restarts.blocked, *scaling.look(wish, lead).blocked, *volumes.waits(wish))
    return [
        _ready(wish, lead, brokers),
        _reconciling(wish, lead, passed),
        _stalled(wish, passed, held),
        _quorum(wish, lead),
        _replicated(lead),
        _up_to_date(restarts),
        *_scaled(wish, lead),
        _storage(wish),
        _listeners(wish),
        *_racks(wish),
        _config(wish, lead, passed),
        *_drift(wish, lead),
        *_warnings(wish, passed),
    ]


def _ready(wish: Wish, lead: Leadership, brokers: list[Node]) -> Verdict:
    if lead.claim is None:
        return Verdict("Ready", "False", *_why_nobody_leads(wish, lead))
    if not any(node.ready for node in brokers):
        message = "A leader is elected, but no broker is ready to take clients."
        return Verdict("Ready", "False", "NoBrokerReady", message)
    return Verdict("Ready", "True", "Serving", "A leader is elected and clients are served.")


def _quorum(wish: Wish, lead: Leadership) -> Verdict:
    if lead.claim is None:
        return Verdict("QuorumAvailable", "False", *_why_nobody_leads(wish, lead))
    message = "A majority of the brokers agrees on a leader."
    return Verdict("QuorumAvailable", "True", "LeaderElected", message)


def _why_nobody_leads(wish: Wish, lead: Leadership) -> tuple[str, str]:
    """Reason and sentence; the most helpful one first."""
    if wish.spec.hibernate:
        return "Hibernated", "spec.hibernate is true: no pod runs, the volumes are kept."
    answering = set(wish.observed.views)
    wanted = [wish.names.broker_pod(node_id) for node_id in range(1, size.effective(wish) + 1)]
    silent = [pod for pod in wanted if pod not in answering]
    waiting = f" Silent: {nodes.with_trouble(wish, silent)}." if silent else ""
    if not lead.cluster_id:
        if silent:
            return "Provisioning", f"Waiting for brokers to start.{waiting}"
        return "Provisioning", "All brokers have started and are forming the cluster."
    if _wakes(wish):
        return "Waking", f"The brokers are starting again.{waiting}"
    if len(silent) == len(wanted):
        return "NoBrokerAnswers", f"No broker answers, so nobody leads.{waiting}"
    if 2 * len(silent) >= len(wanted):
        sentence = "Too few brokers answer: without a majority nobody can lead."
        return "NoQuorum", sentence + waiting
    if lead.stale:
        sentence = "The brokers that answer tell of an older leader than the one already seen."
        return "StaleLeader", sentence + waiting
    return "Electing", f"A majority of the brokers answers and is electing a leader.{waiting}"


def _wakes(wish: Wish) -> bool:
    """It hibernated, and nobody has led since: no outage, whatever tools would make of one."""
    told = wish.previous.condition("Ready")
    return told is not None and told.reason in ("Hibernated", "Waking")


def _reconciling(wish: Wish, lead: Leadership, passed: Passed) -> Verdict:
    if passed.failed:
        message = _joined("Will be tried again: ", passed.failed)
        return Verdict("Reconciling", "True", "Retrying", message)
    if passed.actions and not passed.refused:
        return Verdict("Reconciling", "True", "Applying", "Bringing the cluster's objects in line.")
    if wish.spec.paused:
        return Verdict("Reconciling", "False", "Paused", "Nothing is changed while paused.")
    restarts = rollout.look(wish, lead)
    held = any(one.reason in rollout.PATIENT for one in restarts.blocked)
    if restarts.current and not held:
        return Verdict("Reconciling", "True", "Rolling", "Brokers are restarted one by one.")
    if size.effective(wish) != wish.spec.replicas:
        return Verdict("Reconciling", "True", "Scaling", "Brokers are coming or going.")
    unsettled = nodes.unsettled(wish)
    if unsettled:
        message = f"Waiting for pods: {unsettled}."
        return Verdict("Reconciling", "True", "WaitingForPods", message)
    if not lead.cluster_id:
        return Verdict("Reconciling", "True", "Forming", "The brokers are forming the cluster.")
    if held:
        message = f"Restarts wait: {sentences(restarts.blocked)}."[:MESSAGE_LIMIT]
        return Verdict("Reconciling", "False", restarts.blocked[0].reason.value, message)
    return Verdict("Reconciling", "False", "Settled", "Nothing is left to change.")


def _stalled(wish: Wish, passed: Passed, held: tuple[Blocked, ...]) -> Verdict:
    if wish.unreadable:
        message = f"The last spec that could be read stays in force: {wish.unreadable}"
        return Verdict("Stalled", "True", "InvalidSpec", message[:MESSAGE_LIMIT])
    if passed.refused:
        return Verdict("Stalled", "True", "Refused", _joined("", passed.refused))
    stuck = [one for one in held if one.reason in NEEDS_A_PERSON]
    if stuck:
        message = f"{sentences((*stuck, *(one for one in held if one not in stuck)))}."
        return Verdict("Stalled", "True", stuck[0].reason.value, message[:MESSAGE_LIMIT])
    return Verdict("Stalled", "False", "Free", "Nothing needs a person.")


def _replicated(lead: Leadership) -> Verdict:
    kind = "FullyReplicated"
    if lead.view is None:
        return Verdict(kind, "Unknown", "NobodyLeads", "Only a leader can tell.")
    if lead.view.healthy and not lead.view.under_replicated:
        return Verdict(kind, "True", "Healthy", "Every partition has all its replicas in sync.")
    if lead.view.healthy:
        message = "Some partitions are short of a replica in sync."
        return Verdict(kind, "False", "UnderReplicated", message)
    told = [REASONS.get(reason, reason) for reason in lead.view.unhealthy_reasons]
    message = " ".join(told) or "The brokers report trouble."
    return Verdict(kind, "False", "Unhealthy", message[:MESSAGE_LIMIT])


def _up_to_date(restarts: Rollout) -> Verdict:
    kind = "UpToDate"
    if not restarts.remaining:
        message = "All brokers run with the current configuration."
        return Verdict(kind, "True", "Current", message)
    older = ", ".join(f"{pod} ({why})" for pod, why in restarts.remaining)
    if restarts.blocked:
        first = restarts.blocked[0].reason.value
        message = f"{restarts.current} is to be restarted, but {sentences(restarts.blocked)}."
        return Verdict(kind, "False", first, message[:MESSAGE_LIMIT])
    if not restarts.current:
        message = f"These brokers run with an older configuration: {older}."
        return Verdict(kind, "False", "RestartNeeded", message[:MESSAGE_LIMIT])
    message = f"Restarting one by one: {older}."
    return Verdict(kind, "False", "Rolling", message[:MESSAGE_LIMIT])


def _scaled(wish: Wish, lead: Leadership) -> list[Verdict]:
    """Only there while the number of brokers is not the one that is asked for."""
    if size.effective(wish) == wish.spec.replicas:
        return []
    held = scaling.look(wish, lead).blocked
    if held:
        message = f"The number of brokers waits: {sentences(held)}."
        return [Verdict("Scaled", "False", held[0].reason.value, message[:MESSAGE_LIMIT])]
    return [Verdict("Scaled", "False", "Scaling", "Brokers are coming or going.")]


def _config(wish: Wish, lead: Leadership, passed: Passed) -> Verdict:
    kind = "ConfigInSync"
    if passed.config_refused:
        blocked = config.refused(passed.config_refused)
        message = f"{sentences(blocked)}."
        return Verdict(kind, "False", blocked[0].reason.value, message[:MESSAGE_LIMIT])
    view = lead.view
    if view is None:
        return Verdict(kind, "Unknown", "NobodyLeads", "Only a leader can tell.")
    if view.config_version == 0:
        if not wish.spec.config:
            return Verdict(kind, "True", "InSync", "Nothing is configured.")
        message = "The brokers go by their files until their metadata holds settings."
        return Verdict(kind, "False", "NotYetShared", message)
    if any(True for _ in config.steps(wish, lead)):
        return Verdict(kind, "False", "Applying", "Settings are being changed.")
    behind = config.behind(wish, lead)
    if behind:
        message = f"These brokers have not heard of the last change yet: {', '.join(behind)}."
        return Verdict(kind, "False", "Applying", message[:MESSAGE_LIMIT])
    waiting = config.restarting(wish, lead)
    if waiting:
        message = f"These brokers need a restart for it: {', '.join(waiting)}."
        return Verdict(kind, "False", "RestartNeeded", message[:MESSAGE_LIMIT])
    return Verdict(kind, "True", "InSync", "Every broker runs with the settings of spec.config.")


def _drift(wish: Wish, lead: Leadership) -> list[Verdict]:
    """Brokers that are not as the spec says, and that no change under way explains."""
    view = lead.view
    if view is None:
        return []
    rogue = [
        f"broker {one.node_id} is a member and not in the spec"
        for one in view.members
        if one.node_id > size.effective(wish)
    ]
    versions = {one.version for one in view.members if one.version}
    skewed = [
        f"broker {one.node_id} runs version {one.version}" for one in view.members if one.version
    ]
    if len(versions) < 2 or rollout.look(wish, lead).remaining:
        skewed = []
    departing = list(config.departing(wish, lead))
    reasons = {"UnknownBroker": rogue, "VersionSkew": skewed, "ConfigSkew": departing}
    reason = next((name for name, found in reasons.items() if found), "")
    if not reason:
        return []
    message = "; ".join((*rogue, *skewed, *departing))
    return [Verdict("Drift", "True", reason, f"{message}."[:MESSAGE_LIMIT])]


def _storage(wish: Wish) -> Verdict:
    kind = "StorageReady"
    if wish.spec.storage.type == "ephemeral":
        return Verdict(kind, "True", "Ephemeral", "What a broker stores is gone with its pod.")
    foreign = ", ".join(f"{pod} (cluster {other})" for pod, other in volumes.foreign(wish))
    if foreign:
        message = f"These brokers hold the data of another cluster and are kept out: {foreign}."
        return Verdict(kind, "False", "ForeignVolumes", message[:MESSAGE_LIMIT])
    stuck = tuple(volumes.waits(wish))
    if stuck:
        message = f"{sentences(stuck)}."
        return Verdict(kind, "False", stuck[0].reason.value, message[:MESSAGE_LIMIT])
    for reason, head, names in (
        ("Replacing", "Volumes that are to be others", volumes.replaced(wish)),
        ("Growing", "Volumes that are not yet as large as asked for", volumes.resizing(wish)),
    ):
        if names:
            return Verdict(kind, "False", reason, f"{head}: {', '.join(names)}."[:MESSAGE_LIMIT])
    return Verdict(kind, "True", "Bound", "Every volume is as large as asked for.")


def _listeners(wish: Wish) -> Verdict:
    kind = "ListenersReady"
    waiting = [
        f"{one.listener.name} (no address yet: {', '.join(one.waiting)})"
        for one in addresses.look(wish)
        if one.waiting
    ]
    if waiting:
        message = f"Clients cannot be told all addresses of {'; '.join(waiting)}."
        return Verdict(kind, "False", "WaitingForAddresses", message[:MESSAGE_LIMIT])
    return Verdict(kind, "True", "Known", "Every listener has its addresses.")


def _racks(wish: Wish) -> list[Verdict]:
    """Only where racks are asked for."""
    if wish.spec.rack is None:
        return []
    unknown = told.unknown_racks(wish)
    if unknown:
        why = "; ".join(f"{pod}: {reason}" for pod, reason in sorted(unknown.items()))
        message = f"The rack of some brokers is not known: {why}."
        return [Verdict("RacksKnown", "False", "RackUnknown", message[:MESSAGE_LIMIT])]
    return [Verdict("RacksKnown", "True", "Known", "Every broker that runs knows its rack.")]


def _warnings(wish: Wish, passed: Passed) -> list[Verdict]:
    """Only present while they are true."""
    found = []
    open_to_all = [
        listener.name
        for listener in wish.spec.listeners
        if listener.authentication is None or listener.authentication.type == "none"
    ]
    if open_to_all:
        message = f"Open to everybody who reaches them: {', '.join(open_to_all)}."
        found.append(Verdict("Insecure", "True", "NoAuthentication", message))
    if wish.spec.replicas % 2 == 0:
        message = "An even number of brokers survives no more losses than one broker fewer."
        found.append(Verdict("EvenBrokers", "True", "EvenBrokerCount", message))
    if wish.spec.paused:
        message = "spec.paused is true: status is reported, nothing is changed."
        if passed.put_off:
            several = "; ".join(passed.put_off[:PUT_OFF_LISTED])
            more = "; and more" if len(passed.put_off) > PUT_OFF_LISTED else ""
            message = f"{message} Put off: {several}{more}."[:MESSAGE_LIMIT]
        found.append(Verdict("Paused", "True", "Paused", message))
    return found


def _joined(head: str, sentences: tuple[str, ...]) -> str:
    return (head + "; ".join(sentences))[:MESSAGE_LIMIT]
