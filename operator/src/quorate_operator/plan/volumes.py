"""Volumes: which grow, which are given up for an empty one, which keep a broker from running. Pure.

    smaller than asked for              asked to grow, online where the class allows it
    another class, or larger than       with `storage.replace: Guided` given up, by the rollout: one
    asked for                           at a time, through its gate, by its permit
    deleted by somebody, still in use   the same: it goes with the pod whatever happens
    where no pod can run                `VolumeStuck`; given up when that is asked for (an
                                        annotation with the claim's uid), or after `unbindAfter`

A volume is given up only while nothing is on it alone. The broker comes back as a new incarnation
that the others fill; the one before may live on behind a partition of the network and has no say.
Growing further than the spec by hand is left alone: what is wanted is the larger of both.

Read next: `rollout.py`, which takes the steps; `scaling.py` for volumes of brokers that are gone.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from typing import Final

from quorate_operator.facts import Json, Pod, VolumeClaim
from quorate_operator.model_base import seconds
from quorate_operator.names import UNBIND_ANNOTATION, node_id
from quorate_operator.plan import gate, identity, leadership, permit, quantity, size
from quorate_operator.plan.actions import GrowVolume, MarkVolume, Recreate
from quorate_operator.plan.blocked import Blocked, Reason
from quorate_operator.plan.inputs import Wish
from quorate_operator.plan.leadership import Leadership

PATIENCE: Final = datetime.timedelta(minutes=1)
"""A pod that finds no place for a moment is nobody's worry."""


def steps(wish: Wish) -> Iterator[GrowVolume | MarkVolume]:
    """What costs nobody anything."""
    if wish.spec.storage.type == "ephemeral":
        return
    wanted = quantity.parse(wish.spec.storage.size)
    for one in wish.observed.volumes:
        found = quantity.parse(one.size)
        if one.drained or one.terminating:
            continue
        if found is not None and wanted is not None and found < wanted:
            yield GrowVolume(one.name, one.uid, wish.spec.storage.size)
        if not one.cluster_id and _holds_ours(wish, one):
            yield MarkVolume(one.name, one.uid, identity.recorded(wish))


def _holds_ours(wish: Wish, claim: VolumeClaim) -> bool:
    """Its broker says so itself."""
    view = wish.observed.views.get(wish.names.broker_pod(node_id("broker", claim.ordinal)))
    recorded = identity.recorded(wish)
    return view is not None and bool(recorded) and view.cluster_id == recorded


def of(wish: Wish, pod: Pod) -> VolumeClaim | None:
    if wish.spec.storage.type == "ephemeral" or pod.role != "broker":
        return None
    return next((one for one in wish.observed.volumes if one.ordinal == pod.ordinal), None)


def given_up(wish: Wish, pod: Pod) -> VolumeClaim | None:
    """Its volume, when it is to get an empty one instead; who leaves needs none any more."""
    claim = of(wish, pod)
    if claim is None or not identity.recorded(wish) or pod.ordinal >= wish.spec.replicas:
        return None
    wanted = _is_to_be_another(wish, claim) or claim.terminating or _is_unbound(wish, pod, claim)
    return claim if wanted else None


def replaced(wish: Wish) -> list[str]:
    """Names of those that are to be others, for people."""
    staying = (one for one in _in_use(wish) if one.ordinal < wish.spec.replicas)
    return [one.name for one in staying if _is_to_be_another(wish, one)]


def _in_use(wish: Wish) -> Iterator[VolumeClaim]:
    for one in wish.observed.volumes:
        if one.ordinal < size.effective(wish) and not one.terminating:
            yield one


def _is_to_be_another(wish: Wish, claim: VolumeClaim) -> bool:
    storage = wish.spec.storage
    if storage.replace != "Guided":
        return False
    found, wanted = quantity.parse(claim.size), quantity.parse(storage.size)
    larger = found is not None and wanted is not None and found > wanted
    return larger or storage.storage_class not in (None, claim.storage_class)


def stranded(wish: Wish) -> Iterator[tuple[Pod, VolumeClaim]]:
    """Brokers that cannot run where their volume is."""
    for pod in wish.observed.pods_of("broker"):
        claim = of(wish, pod)
        if claim is not None and _is_stranded(wish, pod, claim):
            yield pod, claim


def _is_stranded(wish: Wish, pod: Pod, claim: VolumeClaim, for_s: float = 0) -> bool:
    if pod.stranded_since is None or not claim.bound:
        return False
    patience = max(PATIENCE, datetime.timedelta(seconds=for_s))
    return wish.observed.now - pod.stranded_since > patience


def _is_unbound(wish: Wish, pod: Pod, claim: VolumeClaim) -> bool:
    if not _is_stranded(wish, pod, claim):
        return False
    if claim.uid in wish.annotation(UNBIND_ANNOTATION).split(","):
        return True
    after = wish.spec.storage.unbind_after
    return after is not None and _is_stranded(wish, pod, claim, seconds(after))


def waits(wish: Wish) -> Iterator[Blocked]:
    for pod, claim in stranded(wish):
        if not _is_unbound(wish, pod, claim):
            yield Blocked(Reason.VOLUME_STUCK, pod.name, f"volume {claim.name}")


def closed(wish: Wish, lead: Leadership, pod: Pod) -> tuple[Blocked, ...]:
    """What speaks against giving up the volume of this broker, beside the gate of any restart."""
    if lead.claim is None:
        return (Blocked(Reason.NO_LEADER),)
    if wish.survey is None:
        return (Blocked(Reason.UNANSWERED, wish.names.broker_pod(lead.claim.node_id)),)
    alone = gate.risks(wish.survey, node_id("broker", pod.ordinal))
    found = tuple(Blocked(Reason.ONLY_COPY, path) for path in alone)
    if size.effective(wish) == 1 and not found:
        return (Blocked(Reason.ONLY_COPY, "of the cluster's own metadata"),)
    return found


def outgrown(wish: Wish, desired: Iterable[Json]) -> bool:
    """Whether new claims are to be made from another template than the live StatefulSet's.

    Kubernetes lets nobody edit that: it has to be made anew.
    """
    live, name = wish.workload("broker"), wish.names.workload("broker")
    if not live or wish.spec.storage.replace != "Guided":
        return False
    wanted = next(
        one for one in desired if (one["kind"], one["metadata"]["name"]) == ("StatefulSet", name)
    )
    both = [one["spec"].get("volumeClaimTemplates") or [] for one in (wanted, live)]
    if not all(both):
        return False
    one, other = (claims[0]["spec"] for claims in both)
    sizes = [str(claim["resources"]["requests"]["storage"]) for claim in (one, other)]
    classes = {claim.get("storageClassName") or "" for claim in (one, other)}
    return not quantity.same(*sizes) or len(classes) > 1


def recreation(wish: Wish) -> Iterator[Recreate]:
    """Not while a permit is out: its annotation, which keeps an operator that stood still from
    taking down a second broker, goes with the StatefulSet."""
    metadata = wish.workload("broker")["metadata"]
    if permit.held(wish) is None and "deletionTimestamp" not in metadata:
        version = str(metadata.get("resourceVersion", ""))
        yield Recreate(wish.names.workload("broker"), str(metadata["uid"]), version)


def foreign(wish: Wish) -> list[tuple[str, str]]:
    """Brokers (their pods) that hold the data of another cluster, and of which."""
    recorded = leadership.read(wish).cluster_id
    told = {
        pod: view.cluster_id
        for pod, view in wish.observed.views.items()
        if recorded and view.cluster_id not in ("", recorded)
    }
    for one in _in_use(wish):
        pod = wish.names.broker_pod(node_id("broker", one.ordinal))
        if recorded and one.cluster_id not in ("", recorded):
            told.setdefault(pod, one.cluster_id)
    return sorted(told.items())


def orphaned(wish: Wish) -> list[str]:
    """Kept, and of no broker that there is or is to be."""
    running = max(size.effective(wish), wish.spec.replicas)
    return sorted(
        one.name for one in wish.observed.volumes if one.ordinal >= running and not one.terminating
    )


def resizing(wish: Wish) -> list[str]:
    """Asked to be larger than they are yet."""
    return sorted(one.name for one in wish.observed.volumes if _smaller(one.capacity, one.size))


def _smaller(found: str, wanted: str) -> bool:
    left, right = quantity.parse(found), quantity.parse(wanted)
    return right is not None and (left is None or left < right)
