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
from quorate_operator.admin import Admin
from quorate_operator.budget import Budget
from quorate_operator.facts import DefaultImage, Json, Observed, Place, Pod, View
from quorate_operator.hands import Hands
from quorate_operator.kube import KubeError, Talker
from quorate_operator.metrics import WRITES
from quorate_operator.names import STATUS_MANAGER, Key, selector_text
from quorate_operator.plan import asks_first, events, informed, kept, plan, put_off, told
from quorate_operator.plan import status as telling
from quorate_operator.plan.actions import Action, TakePermit, Transfer
from quorate_operator.plan.blocked import Reason
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
WAITS: Final = frozenset({Reason.APPROVAL, Reason.WINDOW, Reason.ONLY_COPY})
"""So long a cluster holds no place in the budget of rollouts."""
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
    """Passes over clusters; holds no state of any of them but the budget of rollouts."""

    def __init__(
        self,
        talker: Talker,
        admin: Admin,
        default: DefaultImage,
        clock: Clock,
        budget: Budget | None = None,
    ) -> None:
        self._kube = talker
        self._admin = admin
        self._hands = Hands(talker, admin)
        self._default = default
        self._clock = clock
        self.budget = budget or Budget()

    async def pods(self, key: Key) -> tuple[Pod, ...]:
        """The pods of a cluster, before anything else is known about it."""
        found = await self._kube.all("Pod", key.namespace, selector_text(key))
        return tuple(pod for pod in map(reading.pod, found) if pod is not None)

    async def reconcile(self, key: Key, views: Mapping[str, View]) -> Result:
        """One pass; `views` by uid of the pod."""
        observed = await self._observe(key, views)
        if observed is None or "deletionTimestamp" in observed.cluster["metadata"]:
            self.budget.give_back(key)
            return Result(exists=observed is not None, outcome="gone")
        try:
            wish = _wish(observed)
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
        desired = (*render.render(wanted), *render.claims(wanted, held))
        wish, actions = self._budgeted(wish, desired)
        seen = str(wish.observed.cluster["metadata"].get("resourceVersion", ""))
        if not wish.previous.conditions:
            seen = await self._write(wish.observed, telling.first(wish), seen)
        passed = await self._hands.carry_out(wish, actions)
        passed = dataclasses.replace(passed, put_off=put_off(wish, desired))
        status = telling.tell(wish, passed, wanted.image)
        if status.dump() != wish.previous.dump():
            await self._write(wish.observed, status, seen)
            for event in events.between(wish.previous, status):
                await self._hands.emit(wish.observed, event)
        reasons = frozenset(one.reason for one in status.blocked_by)
        reconciling = status.condition("Reconciling")
        busy = bool(actions) or bool(reconciling and reconciling.status == "True")
        asleep = wish.spec.paused or wish.spec.hibernate
        if asleep or bool(WAITS & reasons) or (status.rollout is None and not busy):
            self.budget.give_back(wish.observed.key)
        # Of these nothing more may be heard: patience with a pod that cannot run ends, and nobody
        # watches nodes, which get their labels one day.
        unheard = any(pod.stranded_since for pod in wish.observed.pods) or told.unknown_racks(wish)
        outcome = "refused" if passed.refused else "failed" if passed.failed else "done"
        return Result(
            exists=True,
            pods=wish.observed.pods,
            busy=busy or bool(reasons or unheard),
            failed=bool(passed.failed or passed.refused),
            soon=bool(asks_first(wish)),
            blocked=reasons,
            outcome="invalid" if wish.unreadable else outcome,
        )

    def _budgeted(self, wish: Wish, desired: tuple[Json, ...]) -> tuple[Wish, tuple[Action, ...]]:
        """A rollout that is about to begin needs a place first."""
        key, actions = wish.observed.key, plan(wish, desired)
        if any(isinstance(one, TakePermit | Transfer) for one in actions):
            wish = dataclasses.replace(wish, waits_for=self.budget.take(key))
            actions = plan(wish, desired)
        return dataclasses.replace(wish, rolling=self.budget.holds(key)), actions

    async def _observe(self, key: Key, views: Mapping[str, View]) -> Observed | None:
        selector, specs = selector_text(key), f"{kept.SELECTOR}{key.name}"
        async with asyncio.TaskGroup() as group:
            cluster = group.create_task(_said(self._kube.get(model.KIND, key.namespace, key.name)))
            kept_specs = group.create_task(_said(self._kube.all(kept.KIND, key.namespace, specs)))
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
        *children, pods, volumes, monitors = (_answer(one) for one in said)
        running = tuple(pod for pod in map(reading.pod, pods) if pod is not None)
        uid = found["metadata"]["uid"]
        revisions = (reading.kept_spec(one, uid) for one in _answer(kept_specs.result()))
        return Observed(
            key=key,
            cluster=found,
            children={
                (child["kind"], child["metadata"]["name"]): child
                for each in (*children, volumes, monitors)
                for child in each
            },
            pods=running,
            volumes=tuple(one for one in map(reading.volume, volumes) if one is not None),
            views={pod.name: views[pod.uid] for pod in running if pod.uid in views},
            now=self._clock.now(),
            specs=tuple(one for one in revisions if one is not None),
        )

    async def _tell_invalid(self, observed: Observed, error: pydantic.ValidationError) -> None:
        previous = BrokerClusterStatus.model_construct()
        try:
            previous = BrokerClusterStatus.model_validate(observed.cluster.get("status") or {})
        except pydantic.ValidationError:
            LOGGER.warning("%s: its status cannot be read either", observed.key)
        status = telling.invalid(previous, stamp(observed.now), observed.generation, _places(error))
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


def _wish(observed: Observed) -> Wish:
    """With the last spec that could be read, when this one cannot; ValidationError without one."""
    try:
        return Wish.parse(observed)
    except pydantic.ValidationError as error:
        last = kept.newest(observed)
        if last is None:
            raise
        cluster = {**observed.cluster, "spec": last.spec}
        wish = Wish.parse(dataclasses.replace(observed, cluster=cluster))
        return dataclasses.replace(wish, unreadable=_places(error))


def _places(error: pydantic.ValidationError) -> str:
    return "; ".join(".".join(map(str, one["loc"])) + ": " + one["msg"] for one in error.errors())


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
