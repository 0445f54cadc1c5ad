"""One broker at a time, also with two operators around: the permit. Pure.

Before a broker that serves is taken down, its pod is named in an annotation of the StatefulSet,
written only onto the version that was looked at. The pod named there is the only one that may go;
it goes by uid and version. Another name may stand there only when that pod is gone, or was spared:
marked itself, so that a deletion decided earlier meets another version of it and fails. So an
operator that was stopped between looking and deleting, for however long, deletes nothing late.

    pod/uid/token     token: the version of the StatefulSet onto which it was written

Read next: `rollout.py`.
"""

from __future__ import annotations

import dataclasses

from quorate_operator.facts import Pod
from quorate_operator.names import PERMIT_ANNOTATION
from quorate_operator.plan.actions import Spare, TakePermit
from quorate_operator.plan.inputs import Wish


@dataclasses.dataclass(frozen=True, slots=True)
class Permit:
    pod: str
    uid: str
    token: str


def held(wish: Wish) -> tuple[Permit, Pod] | None:
    """The permit and its pod, as long as that very pod is there and was not spared."""
    last = _written(wish)
    for pod in wish.observed.pods_of("broker"):
        if last.uid and (pod.name, pod.uid) == (last.pod, last.uid) and pod.spared != last.token:
            return last, pod
    return None


def used(wish: Wish) -> str:
    """The name of the pod that was last taken down by permit; empty: none, or it was spared."""
    last = _written(wish)
    same = any(pod.uid == last.uid for pod in wish.observed.pods_of("broker"))
    return "" if same else last.pod


def _written(wish: Wish) -> Permit:
    metadata = wish.workload("broker").get("metadata", {})
    text = (metadata.get("annotations") or {}).get(PERMIT_ANNOTATION, "")
    name, _, rest = str(text).partition("/")
    uid, _, token = rest.partition("/")
    return Permit(name, uid, token)


def take(wish: Wish, pod: Pod) -> TakePermit:
    workload = wish.names.workload("broker")
    version = str(wish.workload("broker")["metadata"].get("resourceVersion", ""))
    return TakePermit(workload, version, f"{pod.name}/{pod.uid}/{version}", pod.name)


def spare(permit: Permit) -> Spare:
    return Spare(permit.pod, permit.uid, permit.token)
