"""Why something waits: a closed list of reasons, each with a sentence. Pure.

A gate that holds something back says so as one of these, and the same word reaches the condition,
the event, the metric and the command line. Nothing waits without one.

Read next: `gate.py` and `scaling.py`, which find them.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable
from typing import Final


class Reason(enum.StrEnum):
    """Its value is what people, conditions, events and metrics say."""

    BROKER_DOWN = "BrokerDown"
    NO_LEADER = "NoLeader"
    LEADERLESS = "Leaderless"
    UNDER_REPLICATED = "UnderReplicated"
    UNANSWERED = "Unanswered"
    APPROVAL = "AwaitingApproval"
    WINDOW = "OutsideWindow"
    NOT_FORMED = "NotFormed"
    DRAINING = "Draining"
    DRAIN_STUCK = "DrainStuck"
    VOLUME_LEAVING = "VolumeLeaving"
    CONFIG_REFUSED = "ConfigRefused"
    VERSION_TOO_OLD = "VersionTooOld"
    VOLUME_STUCK = "VolumeStuck"
    ONLY_COPY = "OnlyCopy"
    BUDGET = "RolloutBudget"
    TIMEOUT = "RestartTimeout"


NEEDS_A_PERSON: Final = frozenset(
    {
        Reason.CONFIG_REFUSED,
        Reason.DRAIN_STUCK,
        Reason.ONLY_COPY,
        Reason.TIMEOUT,
        Reason.VERSION_TOO_OLD,
        Reason.VOLUME_STUCK,
    }
)
"""Nothing that is on its way ends these: their events are warnings."""


SENTENCES: Final = {
    Reason.BROKER_DOWN: "{} is not ready: nothing else is taken down until it is",
    Reason.NO_LEADER: "the brokers have no leader",
    Reason.LEADERLESS: "partition {} has no leader",
    Reason.UNDER_REPLICATED: "partition {} would be short of a replica in sync",
    Reason.UNANSWERED: "{} does not answer what has to be known first",
    Reason.APPROVAL: "revision {} has not been approved: kubectl quorate roll --approve",
    Reason.WINDOW: "it is outside of the maintenance windows ({})",
    Reason.NOT_FORMED: "the brokers have not formed a cluster yet",
    Reason.DRAINING: "what {} stores is being moved to the others",
    Reason.DRAIN_STUCK: "what {} stores cannot be moved",
    Reason.CONFIG_REFUSED: "the brokers do not take the setting {}",
    Reason.VERSION_TOO_OLD: "brokers of {} could not read the cluster's metadata any more",
    Reason.VOLUME_LEAVING: "volume {} of a broker that was removed is still being deleted",
    Reason.VOLUME_STUCK: "{} cannot run where its volume is: bring that Kubernetes node back,"
    " or give the volume up (kubectl quorate unbind)",
    Reason.ONLY_COPY: "partition {} is nowhere else: it would be gone with the volume",
    Reason.BUDGET: "the operator's budget of clusters that roll at once is used up by {}",
    Reason.TIMEOUT: "the restart of {} has been held up for longer than"
    " updateStrategy.timeoutPerNode",
}


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Blocked:
    """One reason and what it is about."""

    reason: Reason
    subject: str = ""
    detail: str = ""
    """More words, from whoever refused."""

    @property
    def sentence(self) -> str:
        text = SENTENCES[self.reason].format(self.subject)
        return f"{text} ({self.detail})" if self.detail else text


def sentences(several: Iterable[Blocked]) -> str:
    """For a message: the first few, since an outage has hundreds of them."""
    found = [one.sentence for one in several]
    more = "; and more" if len(found) > 3 else ""
    return "; ".join(found[:3]) + more
