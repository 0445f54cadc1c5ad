"""Carries a plan out, step by step: a step that fails does not hold up the others.

What takes something away goes only at what was seen, by uid and version: if it is another one by
now, the next pass looks again. Read next: `plan/actions.py`, what a plan can ask for.
"""

from __future__ import annotations

import logging

from quorate_operator import kube, model
from quorate_operator.admin import Admin, AdminError, ConfigRefused
from quorate_operator.facts import Json, Observed
from quorate_operator.kube import Conflict, KubeError, Only, Talker
from quorate_operator.metrics import BROKER_CALLS, RESTARTS, WRITES
from quorate_operator.names import (
    CLUSTER_ID_ANNOTATION,
    DRAINED_ANNOTATION,
    LEADER_LABEL,
    MANAGER,
    PERMIT_ANNOTATION,
    SCALING_MANAGER,
    SPARED_ANNOTATION,
)
from quorate_operator.plan import leader_pod
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
    MarkVolume,
    RaiseLevel,
    Readmit,
    Recreate,
    Remove,
    Replace,
    Restart,
    Spare,
    TakePermit,
    TellPod,
    Transfer,
)
from quorate_operator.plan.conditions import Passed
from quorate_operator.plan.events import Event
from quorate_operator.plan.inputs import Wish
from quorate_operator.plan.outdated import Why

LOGGER = logging.getLogger(__name__)
CLAIM = "PersistentVolumeClaim"


class Hands:
    """The one place that changes anything but a status."""

    def __init__(self, talker: Talker, admin: Admin) -> None:
        self._kube = talker
        self._admin = admin

    async def carry_out(self, wish: Wish, actions: tuple[Action, ...]) -> Passed:
        observed = wish.observed
        refused: list[str] = []
        failed: list[str] = []
        config_refused: dict[str, str] = {}
        unlent: set[str] = set()
        """Workloads whose number nobody has taken over: letting go of it would make it 1."""
        for action in actions:
            if isinstance(action, Apply) and action.manifest["metadata"]["name"] in unlent:
                continue
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
                if isinstance(action, LendReplicas):
                    unlent.add(action.workload)
                sentence = f"cannot {action}: {error.message}"
                (refused if error.final else failed).append(sentence)
            else:
                LOGGER.info("%s: %s", observed.key, action)
        return Passed(actions, tuple(refused), tuple(failed), config_refused)

    async def _do(self, wish: Wish, action: Action) -> None:
        observed = wish.observed
        match action:
            case Transfer() | Decommission() | Readmit() | Configure() | RaiseLevel():
                BROKER_CALLS.labels(type(action).__name__).inc()
                await self._call(wish, action)
            case Apply(manifest, _, onto):
                WRITES.labels("child").inc()
                await self._apply(observed, _onto(manifest, onto))
            case MarkLeader(pod, uid, leads):
                WRITES.labels("label").inc()
                labels = {LEADER_LABEL: "true" if leads else None}
                await self._merge(observed, "Pod", pod, {"uid": uid, "labels": labels})
            case TellPod(pod, uid, annotations):
                WRITES.labels("label").inc()
                metadata = {"uid": uid, "annotations": dict(annotations)}
                await self._merge(observed, "Pod", pod, metadata)
            case LendReplicas():
                WRITES.labels("child").inc()
                await self._lend(observed, action)
            case GrowVolume() | MarkVolume() | MarkDrained() | DeleteVolume():
                WRITES.labels("volume").inc()
                await self._turn(observed, action)
            case TakePermit() | Spare():
                WRITES.labels("permit").inc()
                await self._permit(observed, action)
            case Restart() | Replace() | Remove() | Recreate():
                await self._take_away(observed, action)

    async def _call(self, wish: Wish, action: Call) -> None:
        """What the brokers do themselves. All are planned only while somebody leads."""
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
            case Readmit(pod, uid, version, node_id):
                if uid:
                    # First: the process that has left would wait for ever to be started again.
                    await self._restart(wish.observed, Restart(pod, uid, version, Why.READMITTED))
                host = wish.names.pod_host(leader_pod(wish))
                await self._admin.decommission(host, node_id, leave=False)

    async def _turn(
        self, observed: Observed, action: GrowVolume | MarkVolume | MarkDrained | DeleteVolume
    ) -> None:
        """Volume claims."""
        match action:
            case GrowVolume(name, uid, size):
                spec = {"resources": {"requests": {"storage": size}}}
                await self._merge(observed, CLAIM, name, {"uid": uid}, spec)
            case MarkVolume(name, uid, cluster_id):
                noted = {CLUSTER_ID_ANNOTATION: cluster_id}
                await self._merge(observed, CLAIM, name, {"uid": uid, "annotations": noted})
            case MarkDrained(name, uid, version, cluster_id):
                metadata = {
                    "uid": uid,
                    "resourceVersion": version,
                    "annotations": {DRAINED_ANNOTATION: cluster_id or None},
                }
                await self._merge(observed, CLAIM, name, metadata)
            case DeleteVolume(name, uid, version):
                await self._delete(observed, CLAIM, name, Only(uid, version))

    async def _permit(self, observed: Observed, action: TakePermit | Spare) -> None:
        match action:
            case TakePermit(workload, version, permit, _):
                metadata = {"resourceVersion": version, "annotations": {PERMIT_ANNOTATION: permit}}
                await self._merge(observed, "StatefulSet", workload, metadata)
            case Spare(pod, uid, permit_token):
                metadata = {"uid": uid, "annotations": {SPARED_ANNOTATION: permit_token}}
                await self._merge(observed, "Pod", pod, metadata)

    async def _take_away(
        self, observed: Observed, action: Restart | Replace | Remove | Recreate
    ) -> None:
        match action:
            case Restart():
                await self._restart(observed, action)
            case Replace(restart, claim, uid, version, force):
                await self._restart(observed, restart, force=force)
                # Now, while the pod is still there or on its way out: the next pod is not made
                # before the claim that it would find is gone.
                WRITES.labels("volume").inc()
                await self._delete(observed, CLAIM, claim, Only(uid, version))
            case Remove(kind, name, uid, version):
                WRITES.labels("child").inc()
                await self._delete(observed, kind, name, Only(uid, version))
            case Recreate(workload, uid, version):
                WRITES.labels("child").inc()
                only = Only(uid, version, alone=True)
                await self._delete(observed, "StatefulSet", workload, only)

    async def _restart(self, observed: Observed, action: Restart, *, force: bool = False) -> None:
        """The event first, named after the pod's uid: one per restart, whoever dies in between."""
        note = f"Restarting {action.pod}."
        event = Event("Normal", action.why, "Restart", note)
        await self.emit(observed, event, f"restart.{action.uid}")
        WRITES.labels("restart").inc()
        only = Only(action.uid, action.resource_version, now=force)
        await self._delete(observed, "Pod", action.pod, only)
        RESTARTS.labels(action.why).inc()

    async def _lend(self, observed: Observed, action: LendReplicas) -> None:
        version, _ = kube.KINDS["StatefulSet"]
        body: Json = {
            "apiVersion": version,
            "kind": "StatefulSet",
            "metadata": {"name": action.workload, "namespace": observed.key.namespace},
            "spec": {"replicas": action.replicas},
        }
        await self._kube.apply(body, SCALING_MANAGER, force=True)

    async def _merge(
        self,
        observed: Observed,
        kind: str,
        name: str,
        metadata: Json,
        spec: Json | None = None,
    ) -> None:
        body: Json = {"metadata": metadata} | ({"spec": spec} if spec else {})
        await self._kube.merge(kind, observed.key.namespace, name, body)

    async def _delete(self, observed: Observed, kind: str, name: str, only: Only) -> None:
        await self._kube.delete(kind, observed.key.namespace, name, only=only)

    async def _apply(self, observed: Observed, manifest: Json) -> None:
        """Politely first; if someone else set our fields, say so and take them back."""
        try:
            await self._kube.apply(manifest, MANAGER, force=False)
        except Conflict as conflict:
            name = f"{manifest['kind']} {manifest['metadata']['name']}"
            fields = ", ".join(str(owner) for owner in conflict.owners)
            note = f"Taking back fields of {name}: {fields}."
            await self.emit(observed, Event("Warning", "FieldConflict", "Apply", note))
            await self._kube.apply(manifest, MANAGER, force=True)

    async def emit(self, observed: Observed, event: Event, name: str = "") -> None:
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
