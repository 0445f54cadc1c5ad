"""Which changes of status are worth an event of their own. Pure."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import Iterator
from typing import Literal

from quorate_operator.plan.blocked import NEEDS_A_PERSON
from quorate_operator.status import BrokerClusterStatus

Kind = Literal["Normal", "Warning"]


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """What `kubectl describe` shows below the resource."""

    type: Kind
    reason: str
    action: str
    note: str

    def told(self, now: datetime.datetime) -> str:
        """The name of it as an object: what was said, and when."""
        text = f"{now.isoformat()} {self.reason} {self.note}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def between(before: BrokerClusterStatus, after: BrokerClusterStatus) -> Iterator[Event]:
    if after.leader and after.leader != (before.leader or before.previous_leader):
        note = f"{after.leader.pod} leads in epoch {after.leader.epoch}."
        yield Event("Normal", "LeaderElected", "Observe", note)
    if before.leader and not after.leader:
        why = after.condition("QuorumAvailable")
        yield Event("Warning", "LeaderLost", "Observe", why.message if why else "Nobody leads.")
    held, told = _reasons(after), _reasons(before)
    for reason in sorted(set(held) - set(told)):
        kind: Kind = "Warning" if reason in NEEDS_A_PERSON else "Normal"
        yield Event(kind, reason, "Wait", held[reason])
    if before.rollout and not after.rollout:
        yield Event("Normal", "RolledOut", "Roll", "All brokers run with the current revision.")
    for name, action in (("Stalled", "Reconcile"), ("Drift", "Observe")):
        now, was = after.condition(name), before.condition(name)
        if now and now.status == "True" and (not was or was.message != now.message):
            yield Event("Warning", now.reason, action, now.message)


def _reasons(status: BrokerClusterStatus) -> dict[str, str]:
    """Why something waits, each reason once, with the first sentence that goes with it."""
    return {one.reason: one.message for one in reversed(status.blocked_by)}
