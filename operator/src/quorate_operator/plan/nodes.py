"""The nodes of a cluster and how they are. Pure.

A broker counts as ready when its pod is and it answers the operator itself: the last value is never
kept. A flanking node is there while its pod is, and is never anything but flanking.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypedDict

from quorate_operator.facts import Member, Pod
from quorate_operator.names import Role, node_id
from quorate_operator.plan import size
from quorate_operator.plan.inputs import Wish
from quorate_operator.plan.leadership import Leadership
from quorate_operator.status import Node

State = Literal["active", "starting", "down", "draining"]


class _Identity(TypedDict):
    incarnation: str | None
    version: str | None
    rack: str | None


def nodes(wish: Wish, lead: Leadership, remaining: Mapping[str, str]) -> list[Node]:
    """Brokers, also missing ones, then the flanking nodes that are there; by node id.

    `remaining`: pods that are to be restarted, each with the reason.
    """
    return [*_brokers(wish, lead, remaining), *_flanking(wish, lead)]


def _brokers(wish: Wish, lead: Leadership, remaining: Mapping[str, str]) -> list[Node]:
    pods = {pod.name: pod for pod in wish.observed.pods_of("broker")}
    known = {member.node_id: member for member in (lead.view.members if lead.view else ())}
    before = {node.node_id: node for node in wish.previous.nodes}
    found = []
    for number in range(1, size.effective(wish) + 1):
        name = wish.names.broker_pod(number)
        pod = pods.get(name)
        answers = name in wish.observed.views
        found.append(
            Node(
                node_id=number,
                pod=name,
                role="broker",
                state=_state(pod, answers, known.get(number), before.get(number)),
                ready=bool(pod and pod.ready and answers and not pod.terminating),
                leader=lead.claim is not None and lead.claim.node_id == number,
                revision=(pod.revision or None) if pod else None,
                needs_restart=name in remaining,
                restart_reason=remaining.get(name),
                **_identity(known.get(number), before.get(number)),
            )
        )
    return found


def _state(pod: Pod | None, answers: bool, member: Member | None, before: Node | None) -> State:
    if pod is None:
        return "down"
    if answers and not pod.terminating:
        return "draining" if member and member.draining else "active"
    if pod.trouble or (before is not None and before.state != "starting"):
        return "down"
    return "starting"


def _flanking(wish: Wish, lead: Leadership) -> list[Node]:
    known = {member.node_id: member for member in (lead.view.flanking if lead.view else ())}
    before = {node.node_id: node for node in wish.previous.nodes}
    found = []
    for pod in sorted(wish.observed.pods_of("flanking"), key=lambda pod: pod.ordinal):
        if pod.terminating:
            continue
        number = node_id("flanking", pod.ordinal)
        found.append(
            Node(
                node_id=number,
                pod=pod.name,
                role="flanking",
                state="active" if pod.ready else "starting",
                ready=pod.ready,
                revision=pod.revision or None,
                **_identity(known.get(number), before.get(number)),
            )
        )
    return found


def _identity(member: Member | None, before: Node | None) -> _Identity:
    """As the leader knows it; while nobody leads, as it was last known."""
    if member is not None:
        return {
            "incarnation": member.incarnation or None,
            "version": member.version or None,
            "rack": member.rack or None,
        }
    if before is not None:
        return {
            "incarnation": before.incarnation,
            "version": before.version,
            "rack": before.rack,
        }
    return {"incarnation": None, "version": None, "rack": None}


def _flanking_wanted(wish: Wish) -> int:
    """As many as the spec says, or as an autoscaler said last."""
    if wish.spec.flanking.autoscaling is None:
        return wish.spec.flanking.replicas
    return int(wish.workload("flanking").get("spec", {}).get("replicas", 0))


def with_trouble(wish: Wish, names: Iterable[str]) -> str:
    """Pods by name, each with what Kubernetes says is wrong with it."""
    troubles = {pod.name: pod.trouble for pod in wish.observed.pods}
    return ", ".join(f"{name} ({troubles[name]})" if troubles.get(name) else name for name in names)


def unsettled(wish: Wish) -> str:
    """Which workloads have not the pods that were asked for; empty when all have."""
    asleep = wish.spec.hibernate
    wanted: tuple[tuple[Role, int], ...] = (
        ("broker", 0 if asleep else size.effective(wish)),
        ("flanking", 0 if asleep else _flanking_wanted(wish)),
    )
    return " and ".join(
        wish.names.workload(role)
        for role, count in wanted
        if len(wish.observed.pods_of(role)) != count
        or any(pod.terminating for pod in wish.observed.pods_of(role))
    )
