"""The feature level of the brokers' metadata: when it goes up, and which images it rules out. Pure.

A level goes up when every broker knows it and all run the current template, and never above
`spec.metadataVersion`; it never goes down, so from then on an image that knows less must not be
rolled out. What an image knows is only known from brokers that ran it: the status remembers the
last few. One that nobody has run yet is tried on one broker, whose refusal holds up the others.

Read next: `rollout.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from quorate_operator.names import node_id
from quorate_operator.plan import size
from quorate_operator.plan.actions import RaiseLevel
from quorate_operator.plan.blocked import Blocked, Reason
from quorate_operator.plan.inputs import Wish
from quorate_operator.plan.leadership import Leadership
from quorate_operator.status import SeenImage

REMEMBERED: Final = 8


def steps(wish: Wish, lead: Leadership, *, rolling: bool) -> Iterator[RaiseLevel]:
    """To what all brokers know, unless it is held, or some of them are still to be replaced."""
    view = lead.view
    if view is None or rolling or wish.spec.hibernate or not view.feature_level:
        return
    numbers = range(1, size.effective(wish) + 1)
    pods = {node_id("broker", pod.ordinal): pod for pod in wish.observed.pods_of("broker")}
    if any(
        number not in pods or not pods[number].ready or pods[number].terminating
        for number in numbers
    ):
        return
    known = min((member.feature_level for member in view.members), default=0)
    wanted = min(known, wish.spec.metadata_version or known)
    if wanted > view.feature_level:
        yield RaiseLevel(wanted)


def too_old(wish: Wish, lead: Leadership, image: str) -> tuple[Blocked, ...]:
    """Whether brokers of that image are known not to understand the cluster's metadata."""
    level = lead.view.feature_level if lead.view else 0
    known = next((one.feature_level for one in wish.previous.images if one.image == image), level)
    if known >= level:
        return ()
    why = f"they know feature level {known}, and the cluster is at {level} for good"
    return (Blocked(Reason.VERSION_TOO_OLD, image.rpartition("/")[2], why),)


def seen(wish: Wish, lead: Leadership) -> list[SeenImage]:
    """What each image knows that brokers ran lately; the newest ones last."""
    found = {one.image: one for one in wish.previous.images}
    for pod in sorted(wish.observed.pods_of("broker"), key=lambda one: one.ordinal):
        member = lead.view.member(node_id("broker", pod.ordinal)) if lead.view else None
        if member is None or not member.feature_level or not pod.ready or pod.terminating:
            continue
        if pod.name not in wish.observed.views:
            continue
        told = SeenImage(image=pod.image, feature_level=member.feature_level)
        if found.get(pod.image) != told:
            found.pop(pod.image, None)
            found[pod.image] = told
    return list(found.values())[-REMEMBERED:]
