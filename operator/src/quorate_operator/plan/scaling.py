"""Brokers that are to go: what they store is moved first, then the pod goes, then the volume. Pure.

    member ---decommission---> draining ---by the brokers---> no member
    no member, highest number ---StatefulSet shrinks---> no pod
    no pod, retention Delete ---mark the claim---> marked ---delete---> gone

Each arrow is one step of one pass, and each is taken only on what the leader says in that pass.
Called off (`replicas` is raised again), a draining broker is recommissioned, one that has left is
readmitted, and a marked claim is unmarked before a broker is started over it.

Read next: `size.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from quorate_operator.facts import VolumeClaim
from quorate_operator.names import node_id
from quorate_operator.plan import identity, size
from quorate_operator.plan.actions import (
    Action,
    Decommission,
    DeleteVolume,
    MarkDrained,
    Readmit,
)
from quorate_operator.plan.blocked import Blocked, Reason
from quorate_operator.plan.inputs import Wish
from quorate_operator.plan.leadership import Leadership


@dataclasses.dataclass(frozen=True, slots=True)
class Scaling:
    """Where the change of size stands."""

    steps: tuple[Action, ...] = ()
    blocked: tuple[Blocked, ...] = ()


def look(wish: Wish, lead: Leadership) -> Scaling:
    """The steps that can be taken now, and what holds the others back."""
    if wish.spec.paused:
        return Scaling()
    steps = (*_calls(wish, lead), *_volumes(wish))
    return Scaling(steps, tuple(_waits(wish, lead)))


def wanted(wish: Wish) -> bool:
    """Whether something may be taken away in this pass: then the leader has to be asked first."""
    if wish.spec.paused or not identity.recorded(wish):
        return False
    return wish.spec.replicas < size.standing(wish) or any(_surplus(wish))


def leaving(wish: Wish) -> range:
    """Node ids of brokers that are to go and have not gone."""
    return range(wish.spec.replicas + 1, size.effective(wish) + 1)


def _calls(wish: Wish, lead: Leadership) -> Iterator[Decommission | Readmit]:
    if lead.view is None:
        return
    pods = {node_id("broker", one.ordinal): one for one in wish.observed.pods_of("broker")}
    for number in lead.view.departed:
        pod = pods.get(number)
        if number > wish.spec.replicas:
            continue
        if pod is None or pod.terminating:
            yield Readmit(wish.names.broker_pod(number), "", "", number)
        else:
            yield Readmit(pod.name, pod.uid, pod.resource_version, number)
    for member in lead.view.members:
        # Also one whose pod went just as it came in: nobody else would ever take it off the list.
        surplus = member.node_id > wish.spec.replicas
        if member.draining != surplus:
            yield Decommission(member.node_id, surplus)


def _waits(wish: Wish, lead: Leadership) -> Iterator[Blocked]:
    if size.standing(wish) and not identity.recorded(wish):
        if wish.spec.replicas != size.standing(wish):
            yield Blocked(Reason.NOT_FORMED)
        return
    for volume in wish.observed.volumes:
        if volume.terminating and size.effective(wish) <= volume.ordinal < wish.spec.replicas:
            yield Blocked(Reason.VOLUME_LEAVING, volume.name)
    if not leaving(wish):
        return
    if lead.claim is None:
        yield Blocked(Reason.NO_LEADER)
    elif wish.survey is None:
        yield Blocked(Reason.UNANSWERED, wish.names.broker_pod(lead.claim.node_id))
    else:
        yield from _drains(wish)


def _drains(wish: Wish) -> Iterator[Blocked]:
    assert wish.survey is not None
    for number in leaving(wish):
        pod, why = wish.names.broker_pod(number), wish.survey.stuck.get(number, "")
        if why:
            yield Blocked(Reason.DRAIN_STUCK, pod, why)
        elif number in wish.survey.members:
            yield Blocked(Reason.DRAINING, pod)


def _volumes(wish: Wish) -> Iterator[MarkDrained | DeleteVolume]:
    for one in wish.observed.volumes:
        if one.drained and one.ordinal < wish.spec.replicas and not one.terminating:
            yield MarkDrained(one.name, one.uid, one.resource_version, "")
    for one in _surplus(wish):
        if not size.has_left(wish, node_id("broker", one.ordinal)):
            continue
        if one.drained:
            yield DeleteVolume(one.name, one.uid, one.resource_version)
        else:
            cluster_id = identity.recorded(wish)
            yield MarkDrained(one.name, one.uid, one.resource_version, cluster_id)


def _surplus(wish: Wish) -> Iterator[VolumeClaim]:
    """Volumes of brokers that are gone, where the policy is to delete them."""
    if wish.spec.storage.retention.when_scaled != "Delete":
        return
    pods = {pod.ordinal for pod in wish.observed.pods_of("broker")}
    running = max(size.standing(wish), wish.spec.replicas)
    for one in wish.observed.volumes:
        if one.ordinal >= running and one.ordinal not in pods and not one.terminating:
            yield one
