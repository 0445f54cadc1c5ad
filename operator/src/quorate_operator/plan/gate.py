"""May this broker be taken down now? Pure.

All others have to be up, and every partition has to be whole without it: its other replicas in
sync, somebody leading it. What the gate knows was asked of the leader in this very pass. Topics
with a single replica are an accepted risk: they are named, and hold nothing up.

Read next: `rollout.py`, which asks.
"""

from __future__ import annotations

from collections.abc import Iterator

from quorate_operator.facts import Partition, Pod, Survey
from quorate_operator.names import node_id
from quorate_operator.plan import size
from quorate_operator.plan.blocked import Blocked, Reason
from quorate_operator.plan.inputs import Wish
from quorate_operator.plan.leadership import Leadership

LISTED = 8
"""An outage of a thousand partitions is told by some of them."""
NO_LEADER = -1


def closed(wish: Wish, lead: Leadership, pod: Pod) -> tuple[Blocked, ...]:
    """Everything that speaks against it; empty: it may."""
    down = tuple(Blocked(Reason.BROKER_DOWN, name) for name in missing(wish, apart=pod.name))
    if down:
        return down[:LISTED]
    if size.effective(wish) == 1:
        return ()
    if lead.claim is None:
        return (Blocked(Reason.NO_LEADER),)
    if wish.survey is None:
        return (Blocked(Reason.UNANSWERED, wish.names.broker_pod(lead.claim.node_id)),)
    return tuple(_in_danger(wish, wish.survey, node_id("broker", pod.ordinal)))[:LISTED]


def could_lose_any(wish: Wish, lead: Leadership) -> bool:
    """Whether one broker, whichever it is, may go: all are up and every partition is whole.

    The brokers' news say so, not a survey: this is for others' hands, and asked in every pass.
    """
    view = lead.view
    if view is None or not view.healthy or view.under_replicated:
        return False
    return not any(missing(wish))


def missing(wish: Wish, apart: str = "") -> Iterator[str]:
    """Pods that are to be there and are not, or not wholly. One that is leaving is down."""
    pods = {one.name: one for one in wish.observed.pods_of("broker")}
    for number in range(1, size.effective(wish) + 1):
        name = wish.names.broker_pod(number)
        one = pods.get(name)
        if name == apart:
            continue
        if one is None or not one.ready or one.terminating or name not in wish.observed.views:
            yield name


def _in_danger(wish: Wish, survey: Survey, going: int) -> Iterator[Blocked]:
    for down in survey.nodes_down:
        if down != going:
            yield Blocked(Reason.BROKER_DOWN, wish.names.broker_pod(down))
    for partition in survey.partitions:
        if len(partition.replicas) < 2:
            continue
        if partition.leader == NO_LEADER:
            yield Blocked(Reason.LEADERLESS, partition.path)
        elif not _whole_without(partition, going):
            yield Blocked(Reason.UNDER_REPLICATED, partition.path)


def _whole_without(partition: Partition, going: int) -> bool:
    """A partition that the broker has no part in is nobody's danger."""
    if going not in partition.replicas:
        return True
    return set(partition.replicas) - {going} <= set(partition.in_sync)


def risks(survey: Survey | None, going: int) -> tuple[str, ...]:
    """Partitions that nobody serves while this broker is away."""
    partitions = survey.partitions if survey else ()
    return tuple(one.path for one in partitions if one.replicas == (going,))[:LISTED]
