"""What a broker's pod is told by annotations: its rack, and addresses that Kubernetes chose. Pure.

A pod never moves, so its rack is looked up once; addresses are written as they come. The broker
reads both while it runs, so that nothing of it restarts anybody. What is not known yet is not
written, and what was told before stands until then.

Read next: `addresses.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from quorate_operator import listening
from quorate_operator.facts import Pod
from quorate_operator.names import (
    ADVERTISED_ANNOTATION,
    RACK_ANNOTATION,
    RACK_FROM_ANNOTATION,
    node_id,
)
from quorate_operator.plan import addresses
from quorate_operator.plan.actions import TellPod
from quorate_operator.plan.inputs import Wish


def tellings(wish: Wish) -> Iterator[TellPod]:
    reaches = [one for one in addresses.look(wish) if _is_told(wish, one)]
    for pod in wish.observed.pods_of("broker"):
        if pod.terminating:
            continue
        news = {**_rack(wish, pod), **_advertised(pod, reaches)}
        if news:
            yield TellPod(pod.name, pod.uid, tuple(sorted(news.items())))


def unplaced(wish: Wish) -> frozenset[str]:
    """Nodes of Kubernetes whose label has to be looked up."""
    rack = wish.spec.rack
    if rack is None:
        return frozenset()
    return frozenset(
        pod.node
        for pod in wish.observed.pods_of("broker")
        if pod.node and pod.rack_from != rack.topology_key and not pod.terminating
    )


def unknown_racks(wish: Wish) -> dict[str, str]:
    """By pod: why its rack is not known."""
    rack = wish.spec.rack
    found = {}
    for pod in wish.observed.pods_of("broker") if rack else ():
        assert rack is not None
        place = wish.observed.places.get(pod.node)
        if place is not None and place.trouble:
            found[pod.name] = f"node {pod.node} cannot be read: {place.trouble}"
        elif place is not None and rack.topology_key not in place.labels:
            found[pod.name] = f"node {pod.node} has no label {rack.topology_key}"
    return found


def _rack(wish: Wish, pod: Pod) -> dict[str, str]:
    rack, place = wish.spec.rack, wish.observed.places.get(pod.node)
    if rack is None or place is None or rack.topology_key not in place.labels:
        return {}
    return {
        RACK_ANNOTATION: place.labels[rack.topology_key],
        RACK_FROM_ANNOTATION: rack.topology_key,
    }


def _advertised(pod: Pod, reaches: list[addresses.Reach]) -> dict[str, str]:
    number = node_id("broker", pod.ordinal)
    before = dict(part.split("=", 1) for part in pod.advertised.split(",") if "=" in part)
    now = {one.listener.name: one.brokers.get(number) for one in reaches}
    told = {name: address or before.get(name) for name, address in now.items()}
    text = ",".join(f"{name}={address}" for name, address in sorted(told.items()) if address)
    return {ADVERTISED_ANNOTATION: text} if text and text != pod.advertised else {}


def _is_told(wish: Wish, reach: addresses.Reach) -> bool:
    return listening.advertised(reach.listener, wish.names) == listening.TOLD
