"""One pass over one cluster: observe, plan, apply, tell.

A pass reads everything it needs, decides in `plan/` and carries the decisions out one by one. A
step that fails does not hold up the others, and the status is written in any case. Nothing is
remembered for the next pass.

Read next: `plan/__init__.py`; `workers.py`, which calls this.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Mapping
from typing import Final, TypeVar

import pydantic

from quorate_operator import kube, model, reading, render
from quorate_operator.admin import Admin, AdminError, ConfigRefused
from quorate_operator.facts import DefaultImage, Json, Observed, Place, Pod, View
from quorate_operator.kube import Conflict, KubeError, Talker
from quorate_operator.metrics import BROKER_CALLS, RESTARTS, WRITES
from quorate_operator.names import (
    DRAINED_ANNOTATION,
    LEADER_LABEL,
    MANAGER,
    PERMIT_ANNOTATION,
    SCALING_MANAGER,
    SPARED_ANNOTATION,
    STATUS_MANAGER,
    Key,
    selector_text,
)
from quorate_operator.plan import asks_first, events, informed, leader_pod, plan, told
from quorate_operator.plan import status as telling
from quorate_operator.plan.actions import (
    Action,
    Apply,
    Call,
    Configure,
    Decommission,
    DeleteVolume,
    GrowVolume,
    LendReplicas,
    MarkDrained,
    MarkLeader,
    RaiseLevel,
    Remove,
    Restart,
    Spare,
    Step,
    TakePermit,
    TellPod,
    Transfer,
)
from quorate_operator.plan.conditions import Passed
from quorate_operator.plan.events import Event
from quorate_operator.plan.inputs import Wish
from quorate_operator.plan.subject import subject
from quorate_operator.seams import Clock, stamp
from quorate_operator.status import BrokerClusterStatus

CHILD_KINDS: Final = (
    "ServiceAccount",
    "ConfigMap",
    "Service",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "HorizontalPodAutoscaler",
    "StatefulSet",
)
"""PodMonitors are looked for too, but nobody need have such a kind."""
T = TypeVar("T")
LOGGER: Final = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What the worker has to know about a pass."""

    exists: bool
    pods: tuple[Pod, ...] = ()
    busy: bool = False
    """Look again soon: something was written or is under way."""
    failed: bool = False
    """Look again with growing pauses."""
    soon: bool = False
    """Look again very soon: a broker is being waited for, and its news do not tell all."""
    blocked: frozenset[str] = frozenset()
    """Reasons (plan.blocked.Reason) that hold something back."""
    outcome: str = "done"


class Reconciler:
    """Passes over clusters; holds no state of any of them."""

    def __init__(self, talker: Talker, admin: Admin, default: DefaultImage, clock: Clock) -> None:
        self._kube = talker
        self._admin = admin
        self._default = default
        self._clock = clock

    async def pods(self, key: Key) -> tuple[Pod, ...]:
        """The pods of a cluster, before anything else is known about it."""
        found = await self._kube.all("Pod", key.namespace, selector_text(key))
        return tuple(pod for pod in map(reading.pod, found) if pod is not None)

    async def reconcile(self, key: Key, views: Mapping[str, View]) -> Result:
        """One pass; `views` by uid of the pod."""
        observed = await self._observe(key, views)
        if observed is None:
            return Result(exists=False, outcome="gone")
        if "deletionTimestamp" in observed.cluster["metadata"]:
            return Result(exists=True, outcome="gone")
        try:
            wish = Wish.parse(observed)
        except pydantic.ValidationError as error:
            await self._tell_invalid(observed, error)
            return Result(exists=True, pods=observed.pods, outcome="invalid")
        try:
            return await self._pass(await self._asked(await self._placed(wish)))
        except KubeError as error:
            if not error.leaving:
                raise
            LOGGER.info("%s: its namespace is being deleted", key)
            return Result(exists=True, pods=observed.pods, outcome="gone")

    async def _asked(self, wish: Wish) -> Wish:
        """Before anything is taken away, the leader is asked what depends on it."""
        pod = asks_first(wish)
        if not pod:
            return wish
        return informed(wish, await self._admin.survey(wish.names.pod_host(pod)))

    async def _placed(self, wish: Wish) -> Wish:
        """With the nodes whose label is wanted: none of them, once every pod was told its rack."""
        places = {}
        for name in sorted(told.unplaced(wish)):
            try:
                node = await self._kube.get("Node", "", name)
            except KubeError as error:
                places[name] = Place({}, error.message)
            else:
                labels = node["metadata"].get("labels") or {} if node else {}
                places[name] = Place(labels)
        observed = dataclasses.replace(wish.observed, places=places)
        return dataclasses.replace(wish, observed=observed)

    async def _pass(self, wish: Wish) -> Result:
        wanted = subject(wish, self._default)
        held = [(one.name, one.uid) for one in wish.observed.volumes if not one.terminating]
        actions = plan(wish, (*render.render(wanted), *render.claims(wanted, held)))
        seen = str(wish.observed.cluster["metadata"].get("resourceVersion", ""))
        if not wish.previous.conditions:
            seen = await self._write(wish.observed, telling.first(wish), seen)
        passed = await self._carry_out(wish, actions)
        status = telling.tell(wish, passed, wanted.image)
        if status.dump() != wish.previous.dump():
            await self._write(wish.observed, status, seen)
            for event in events.between(wish.previous, status):
                await self._emit(wish.observed, event)
        reconciling = status.condition("Reconciling")
        return Result(
            exists=True,
            pods=wish.observed.pods,
            busy=bool(actions) or bool(reconciling and reconciling.status == "True"),
            failed=bool(passed.failed or passed.refused),
            soon=bool(asks_first(wish)),
            blocked=frozenset(one.reason for one in status.blocked_by),
            outcome="refused" if passed.refused else "failed" if passed.failed else "done",
        )

    async def _observe(self, key: Key, views: Mapping[str, View]) -> Observed | None:
        selector = selector_text(key)
        async with asyncio.TaskGroup() as group:
            cluster = group.create_task(_said(self._kube.get(model.KIND, key.namespace, key.name)))
            lists = [
                group.create_task(_said(self._kube.all(kind, key.namespace, selector)))
                for kind in (*CHILD_KINDS, "Pod", "PersistentVolumeClaim", "PodMonitor")
            ]
        found = _answer(cluster.result())
        if found is None:
            return None
        said = [task.result() for task in lists]
        if _unknown(said[-1]):
            said[-1] = []
        *children, pods, volumes, monitors = map(_answer, said)
        running = tuple(pod for pod in map(reading.pod, pods) if pod is not None)
        return Observed(
            key=key,
            cluster=found,
            children={
                (child["kind"], child["metadata"]["name"]): child
                for several in (*children, volumes, monitors)
                for child in several
            },
            pods=running,
            volumes=tuple(one for one in map(reading.volume, volumes) if one is not None),
            views={pod.name: views[pod.uid] for pod in running if pod.uid in views},
            now=self._clock.now(),
        )

    async def _carry_out(self, wish: Wish, actions: tuple[Action, ...]) -> Passed:
        observed = wish.observed
        refused: list[str] = []
        failed: list[str] = []
        config_refused: dict[str, str] = {}
        for action in actions:
            try:
                await self._do(wish, action)
            except ConfigRefused as error:
                LOGGER.warning("%s: cannot %s: %s", observed.key, action, error)
                config_refused |= error.problems
                refused.append(f"cannot {action}: {error}")
            except AdminError as error:
                LOGGER.warning("%s: cannot %s: %s", observed.key, action, error)
                failed.append(f"cannot {action}: {error}")
            except KubeError as error:
                if error.leaving:
                    raise
                LOGGER.warning("%s: cannot %s: %s", observed.key, action, error.message)
                sentence = f"cannot {action}: {error.message}"
                (refused if error.final else failed).append(sentence)
            else:
                LOGGER.info("%s: %s", observed.key, action)
        return Passed(actions, tuple(refused), tuple(failed), config_refused)

    async def _do(self, wish: Wish, action: Action) -> None:
        observed = wish.observed
        namespace = observed.key.namespace
        match action:
            case Transfer() | Decommission() | Configure() | RaiseLevel():
                BROKER_CALLS.labels(type(action).__name__).inc()
                await self._call(wish, action)
            case Apply(manifest, _, onto):
                WRITES.labels("child").inc()
                await self._apply(observed, _onto(manifest, onto))
            case MarkLeader(pod, uid, leads):
                WRITES.labels("label").inc()
                labels = {LEADER_LABEL: "true" if leads else None}
                body: Json = {"metadata": {"uid": uid, "labels": labels}}
                await self._kube.merge("Pod", namespace, pod, body)
            case TellPod(pod, uid, annotations):
                WRITES.labels("label").inc()
                body = {"metadata": {"uid": uid, "annotations": dict(annotations)}}
                await self._kube.merge("Pod", namespace, pod, body)
            case LendReplicas(workload, replicas):
                WRITES.labels("child").inc()
                version, _ = kube.KINDS["StatefulSet"]
                body = {
                    "apiVersion": version,
                    "kind": "StatefulSet",
                    "metadata": {"name": workload, "namespace": namespace},
                    "spec": {"replicas": replicas},
                }
                await self._kube.apply(body, SCALING_MANAGER, force=True)
            case Remove(kind, name, uid, version):
                WRITES.labels("child").inc()
                await self._kube.delete(kind, namespace, name, uid=uid, resource_version=version)
            case GrowVolume(name, uid, size):
                WRITES.labels("volume").inc()
                body = {
                    "metadata": {"uid": uid},
                    "spec": {"resources": {"requests": {"storage": size}}},
                }
                await self._kube.merge("PersistentVolumeClaim", namespace, name, body)
            case _:
                await self._take_away(observed, action)

    async def _call(self, wish: Wish, action: Call) -> None:
        """What the brokers do themselves. Both are planned only while somebody leads."""
        match action:
            case Transfer(pod, to):
                await self._admin.transfer(wish.names.pod_host(pod), to)
            case Configure(put, drop):
                await self._admin.configure(wish.names.pod_host(leader_pod(wish)), put, drop)
            case RaiseLevel(level):
                await self._admin.raise_level(wish.names.pod_host(leader_pod(wish)), level)
            case Decommission(node_id, leave):
                host = wish.names.pod_host(leader_pod(wish))
                await self._admin.decommission(host, node_id, leave=leave)

    async def _take_away(self, observed: Observed, action: Step) -> None:
        """Each only from what was seen: if it is another one by now, the next pass looks again."""
        namespace = observed.key.namespace
        match action:
            case TakePermit(workload, version, permit, _):
                WRITES.labels("permit").inc()
                metadata = {"resourceVersion": version, "annotations": {PERMIT_ANNOTATION: permit}}
                await self._kube.merge("StatefulSet", namespace, workload, {"metadata": metadata})
            case Spare(pod, uid, permit_token):
                WRITES.labels("permit").inc()
                metadata = {"uid": uid, "annotations": {SPARED_ANNOTATION: permit_token}}
                await self._kube.merge("Pod", namespace, pod, {"metadata": metadata})
            case Restart(pod, uid, version, why):
                await self._restart(observed, Restart(pod, uid, version, why))
            case MarkDrained(name, uid, version, cluster_id):
                WRITES.labels("volume").inc()
                metadata = {
                    "uid": uid,
                    "resourceVersion": version,
                    "annotations": {DRAINED_ANNOTATION: cluster_id or None},
                }
                body = {"metadata": metadata}
                await self._kube.merge("PersistentVolumeClaim", namespace, name, body)
            case DeleteVolume(name, uid, version):
                WRITES.labels("volume").inc()
                await self._kube.delete(
                    "PersistentVolumeClaim", namespace, name, uid=uid, resource_version=version
                )

    async def _restart(self, observed: Observed, action: Restart) -> None:
        """The event first, named after the pod's uid: one per restart, whoever dies in between."""
        note = f"Restarting {action.pod}."
        event = Event("Normal", action.why, "Restart", note)
        await self._emit(observed, event, f"restart.{action.uid}")
        WRITES.labels("restart").inc()
        await self._kube.delete(
            "Pod",
            observed.key.namespace,
            action.pod,
            uid=action.uid,
            resource_version=action.resource_version,
        )
        RESTARTS.labels(action.why).inc()

    async def _apply(self, observed: Observed, manifest: Json) -> None:
        """Politely first; if someone else set our fields, say so and take them back."""
        try:
            await self._kube.apply(manifest, MANAGER, force=False)
        except Conflict as conflict:
            name = f"{manifest['kind']} {manifest['metadata']['name']}"
            fields = ", ".join(str(owner) for owner in conflict.owners)
            note = f"Taking back fields of {name}: {fields}."
            await self._emit(observed, Event("Warning", "FieldConflict", "Apply", note))
            await self._kube.apply(manifest, MANAGER, force=True)

    async def _tell_invalid(self, observed: Observed, error: pydantic.ValidationError) -> None:
        previous = BrokerClusterStatus.model_construct()
        try:
            previous = BrokerClusterStatus.model_validate(observed.cluster.get("status") or {})
        except pydantic.ValidationError:
            LOGGER.warning("%s: its status cannot be read either", observed.key)
        places = (".".join(map(str, one["loc"])) + ": " + one["msg"] for one in error.errors())
        status = telling.invalid(
            previous, stamp(observed.now), observed.generation, "; ".join(places)
        )
        if status.dump() != previous.dump():
            seen = str(observed.cluster["metadata"].get("resourceVersion", ""))
            await self._write(observed, status, seen)

    async def _write(self, observed: Observed, status: BrokerClusterStatus, seen: str) -> str:
        """Onto the version that was seen, so that news are never replaced by what is older.

        Returns the version that it has now.
        """
        version, _ = kube.KINDS[model.KIND]
        manifest = {
            "apiVersion": version,
            "kind": model.KIND,
            "metadata": {
                "name": observed.key.name,
                "namespace": observed.key.namespace,
                "resourceVersion": seen,
            },
            "status": status.dump(),
        }
        WRITES.labels("status").inc()
        found = await self._kube.apply(manifest, STATUS_MANAGER, force=True, part="/status")
        return str(found["metadata"].get("resourceVersion", ""))

    async def _emit(self, observed: Observed, event: Event, name: str = "") -> None:
        """An event is for people: that it cannot be written stops nothing."""
        WRITES.labels("event").inc()
        try:
            await self._kube.create(_event(observed, event, name or event.told(observed.now)))
        except KubeError as error:
            if name and error.status == 409:
                return  # told by a pass that did not get further
            LOGGER.warning("%s: event %s is lost: %s", observed.key, event.reason, error.message)


def _onto(manifest: Json, version: str) -> Json:
    """The same, as a precondition."""
    if not version:
        return manifest
    return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": version}}


async def _said(call: Awaitable[T]) -> T | KubeError:
    """The answer, or why there is none, as a value.

    A TaskGroup of Python 3.11 and 3.12 in which a task fails in the moment in which the group is
    cancelled forgets the one or the other: whoever wanted to stop would wait forever.
    """
    try:
        return await call
    except KubeError as error:
        return error


def _unknown(said: object) -> bool:
    """The API server has no such kind, or the operator no right to look for it."""
    return isinstance(said, KubeError) and said.status in (403, 404)


def _answer(said: T | KubeError) -> T:
    if isinstance(said, KubeError):
        raise said
    return said


def _event(observed: Observed, event: Event, suffix: str) -> Json:
    version, _ = kube.KINDS[model.KIND]
    metadata = observed.cluster["metadata"]
    return {
        "apiVersion": kube.KINDS["Event"][0],
        "kind": "Event",
        "metadata": {
            "name": f"{observed.key.name}.{suffix}",
            "namespace": observed.key.namespace,
        },
        "eventTime": observed.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": "quorate.dev/operator",
        "reportingInstance": MANAGER,
        "action": event.action,
        "reason": event.reason,
        "type": event.type,
        "note": event.note[:1024],
        "regarding": {
            "apiVersion": version,
            "kind": model.KIND,
            "name": observed.key.name,
            "namespace": observed.key.namespace,
            "uid": metadata.get("uid", ""),
        },
    }
