"""Who leads, out of what the brokers say. Pure. Nothing is elected here.

Each broker that answers tells the leader it follows and the term. The highest term wins. A telling
is ignored when it comes from another cluster, when it names a node that cannot lead, or when its
term is below one that was already reported (the fence is (clusterId, term)): a broker that was cut
off and has not heard the news can not turn the status back. When nothing remains, nobody leads.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Final

from quorate_operator.facts import Claim, View
from quorate_operator.names import Names
from quorate_operator.plan import identity, size
from quorate_operator.plan.inputs import Wish, asked_once
from quorate_operator.status import BrokerClusterStatus

_LAST_BROKER_ID: Final = 99


@dataclasses.dataclass(frozen=True, slots=True)
class Leadership:
    """What can be said about the lead after a look at all answers."""

    cluster_id: str
    """Empty while no majority ever agreed on one."""
    claim: Claim | None
    view: View | None
    """The answer that knows most: that of the leader itself, if it can be heard."""
    stale: bool = False
    """Someone told of a leader, but of one older than already reported."""


@asked_once
def read(wish: Wish) -> Leadership:
    cluster_id = _cluster_id(wish)
    if not cluster_id:
        return Leadership("", None, None)
    views = {
        pod: view for pod, view in wish.observed.views.items() if view.cluster_id == cluster_id
    }
    claims = [view.leader for view in views.values() if view.leader and _can_lead(view.leader)]
    passed = [claim for claim in claims if _passes(claim, wish.previous)]
    newest = max((claim.term for claim in passed), default=0)
    nodes = {claim.node_id for claim in passed if claim.term == newest}
    if len(nodes) != 1:  # nobody, or two in one term: then neither is believed
        return Leadership(cluster_id, None, None, stale=bool(claims) and not passed)
    claim = Claim(nodes.pop(), newest)
    return Leadership(cluster_id, claim, _best_view(claim, views, wish.names))


def _cluster_id(wish: Wish) -> str:
    """Taken once, from a majority of the brokers; never changed afterwards."""
    recorded = identity.recorded(wish)
    if recorded:
        return recorded
    told = collections.Counter(view.cluster_id for view in wish.observed.views.values())
    told.pop("", None)
    for cluster_id, brokers in told.most_common(1):
        if brokers > size.effective(wish) // 2:
            return cluster_id
    return ""


def _can_lead(claim: Claim) -> bool:
    """0, -1 and flanking ids never count as a leader."""
    return 1 <= claim.node_id <= _LAST_BROKER_ID


def _passes(claim: Claim, previous: BrokerClusterStatus) -> bool:
    for known in (previous.leader, previous.previous_leader):
        if known is None:
            continue
        if claim.term < known.epoch:
            return False
        if claim.term == known.epoch and claim.node_id != known.node_id:
            return False
    return True


def _best_view(claim: Claim, views: Mapping[str, View], names: Names) -> View | None:
    own = views.get(names.broker_pod(claim.node_id))
    if own is not None and own.leader == claim:
        return own
    agreeing = [view for view in views.values() if view.leader == claim]
    return max(agreeing, key=lambda view: view.transitions, default=None)
