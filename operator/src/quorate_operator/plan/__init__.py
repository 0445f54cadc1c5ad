"""From what is wanted and what was seen to what has to be done. Pure; one file per concern.

    plan(wish, desired) -> actions        status.tell(wish, passed) -> what to say about it

A converged cluster gives no actions and the status that is already there: zero writes. Nothing is
remembered between two passes except what stands in the API server, so an operator that was killed
half-way simply looks again.

Read next: `leadership.py`, `children.py`, `rollout.py`, `scaling.py`, `status.py`; `reconcile.py`
carries the plan out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from quorate_operator.facts import Json, Survey
from quorate_operator.plan import (
    children,
    config,
    kept,
    leadership,
    levels,
    outdated,
    permit,
    rollout,
    scaling,
    template,
    told,
    volumes,
)
from quorate_operator.plan.actions import Action, MarkLeader
from quorate_operator.plan.inputs import Wish


def plan(wish: Wish, desired: Iterable[Json]) -> tuple[Action, ...]:
    """Everything that has to be done now, in this order."""
    if wish.spec.paused or "deletionTimestamp" in wish.observed.cluster["metadata"]:
        return ()
    return tuple(_all(wish, tuple(desired)))


def put_off(wish: Wish, desired: Iterable[Json]) -> tuple[str, ...]:
    """While paused: what would be done otherwise, for people."""
    if not wish.spec.paused:
        return ()
    spec = wish.spec.model_copy(update={"paused": False})
    resumed = dataclasses.replace(wish, spec=spec)
    found = [str(one) for one in _all(resumed, tuple(desired))]
    older = outdated.look(resumed, leadership.read(resumed))
    return (*found, *(f"restart pod {pod.name} ({why})" for pod, why in older))


def _all(wish: Wish, desired: tuple[Json, ...]) -> Iterator[Action]:
    lead = leadership.read(wish)
    restarts = rollout.look(wish, lead)
    live = wish.observed.children
    outgrown = wish.names.workload("broker") if volumes.outgrown(wish, desired) else ""
    yield from kept.steps(wish)
    yield from children.handed_over(desired, live)
    for one in children.differences(template.kept(desired, live), live):
        if one.manifest["metadata"]["name"] != outgrown:
            yield one
    yield from children.leftovers(desired, live, wish.observed.cluster["metadata"]["uid"])
    yield from told.tellings(wish)
    yield from _marks(wish)
    yield from volumes.steps(wish)
    yield from config.steps(wish, lead)
    yield from scaling.look(wish, lead).steps
    if outgrown:
        yield from volumes.recreation(wish)
        yield from _out_of_the_way(wish, restarts.steps)
    else:
        yield from restarts.steps
    yield from levels.steps(wish, lead, rolling=bool(restarts.remaining))


def _out_of_the_way(wish: Wish, steps: tuple[Action, ...]) -> Iterator[Action]:
    """While the StatefulSet is to be made anew it is not applied, and a permit that is out stands
    in the way of both: it is used up, or given up where its pod may not go now. That may take long,
    and be what only the new StatefulSet could mend: a broker that it has too few of."""
    granted = permit.held(wish)
    if granted is None:
        return
    yield from steps
    if not steps and not granted[1].terminating:
        yield permit.spare(granted[0])


def informed(wish: Wish, survey: Survey | None) -> Wish:
    """With what the leader said; without it when by now another one says it."""
    claim = leadership.read(wish).claim
    fitting = survey is not None and survey.leader == claim
    return dataclasses.replace(wish, survey=survey if fitting else None)


def asks_first(wish: Wish) -> str:
    """The pod that has to be asked before this pass can be planned; empty: none.

    Only a pass that may take something away needs to know more than the brokers' news.
    """
    return leader_pod(wish) if rollout.wanted(wish) or scaling.wanted(wish) else ""


def leader_pod(wish: Wish) -> str:
    """Empty while nobody leads."""
    claim = leadership.read(wish).claim
    return wish.names.broker_pod(claim.node_id) if claim else ""


def _marks(wish: Wish) -> Iterator[MarkLeader]:
    """The label follows the lead; taking it off comes first, so that two never carry it.

    A pod that does not answer gets none: it may have just come back under the leader's name.
    """
    claim = leadership.read(wish).claim
    leader = wish.names.broker_pod(claim.node_id) if claim else ""
    moves = [
        MarkLeader(pod.name, pod.uid, not pod.labelled_leader)
        for pod in wish.observed.pods
        if pod.labelled_leader != (pod.name == leader and pod.name in wish.observed.views)
        and not pod.terminating
    ]
    yield from sorted(moves, key=lambda move: (move.leads, move.pod))
