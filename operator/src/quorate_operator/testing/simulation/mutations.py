"""What the laws are for: each safeguard of the operator, taken away.

A simulation that finds nothing proves something only if it finds these. Each says which deeds make
it show soonest, and which seeds showed it (`tests/simulation/test_operator_seeds.py` runs those
first).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from quorate_operator import workers
from quorate_operator.facts import Pod
from quorate_operator.health import Pulse, Thing
from quorate_operator.kube import Only
from quorate_operator.plan import children, gate, leadership, permit, rollout, size, volumes
from quorate_operator.plan.actions import Restart, Transfer
from quorate_operator.plan.inputs import Wish
from quorate_operator.plan.leadership import Leadership
from quorate_operator.plan.outdated import Why
from quorate_operator.plan.rollout import Rollout
from quorate_operator.resync import Resync
from quorate_operator.testing.objects import Json
from quorate_operator.testing.simulation import people, process
from quorate_operator.testing.simulation.api import Api
from quorate_operator.testing.simulation.people import Deed, People

MOST_SEEDS: Final = 1000


class Patch(Protocol):
    """pytest's `monkeypatch`."""

    def setattr(self, target: Any, name: str, value: Any) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Mutation:
    apply: Callable[[Patch], None]
    deeds: Sequence[Deed] = people.DEEDS


def _no_gate(patch: Patch) -> None:
    """A broker is restarted however the others are."""
    patch.setattr(gate, "closed", lambda *_: ())


def _leader_not_last(patch: Patch) -> None:
    """The leader is restarted as anybody is: it hands nothing over."""
    before = rollout._one

    def one(wish: Wish, lead: Leadership, pod: Pod, why: Why, *, granted: bool) -> Rollout:
        found = before(wish, lead, pod, why, granted=granted)
        if not any(isinstance(step, Transfer) for step in found.steps):
            return found
        restart = Restart(pod.name, pod.uid, pod.resource_version, why)
        step = restart if granted else permit.take(wish, pod)
        return dataclasses.replace(found, steps=(step,))

    patch.setattr(rollout, "_one", one)


def _no_fence(patch: Patch) -> None:
    """Whoever tells of a leader is believed, whatever was told before."""
    patch.setattr(leadership, "_passes", lambda *_: True)
    patch.setattr(workers._Followers, "_believed", lambda _, view: view)


def _no_drain(patch: Patch) -> None:
    """A broker that is to go is taken to have left."""
    patch.setattr(size, "has_left", lambda *_: True)


def _no_lending(patch: Patch) -> None:
    """The operator lets go of a number, and leaves it to the API's default."""
    patch.setattr(children, "handed_over", lambda *_: ())


def _no_look_for_copies(patch: Patch) -> None:
    """A volume is given up whatever is on it alone."""
    patch.setattr(volumes, "closed", lambda *_: ())


def _no_waking(patch: Patch) -> None:
    """What a watch delivers is noted, and wakes nobody: no list finds it any more."""
    before = Pulse.heard

    def heard(pulse: Pulse, thing: Thing, version: str) -> bool:
        before(pulse, thing, version)
        return False

    patch.setattr(Pulse, "heard", heard)


def _no_resync(patch: Patch) -> None:
    """What no watch delivered is never looked for."""
    patch.setattr(Resync, "_missed", lambda *_: set())


def _no_farewell(patch: Patch) -> None:
    """A list shows what is there, and nobody asks what is there no more."""
    patch.setattr(Pulse, "_gone", lambda *_: [])


def _no_second_look(patch: Patch) -> None:
    """A cluster in which something is under way is left alone until somebody tells of it."""
    patch.setattr(process, "LIMITS", dataclasses.replace(process.LIMITS, busy_s=1800.0))


def no_preconditions(patch: Patch) -> None:
    """A write is made onto whatever is there, whatever was looked at.

    It shows where an operator that has decided stands still while another one goes on: `stories`.
    """
    delete, merge = Api.delete, Api.merge

    async def any_delete(api: Api, kind: str, namespace: str, name: str, *, only: Only) -> None:
        whatever = dataclasses.replace(only, uid="", version="")
        await delete(api, kind, namespace, name, only=whatever)

    async def any_merge(api: Api, kind: str, namespace: str, name: str, body: Json) -> Json:
        metadata = {k: v for k, v in body["metadata"].items() if k != "resourceVersion"}
        onto = body if kind == "Lease" else {**body, "metadata": metadata}
        return await merge(api, kind, namespace, name, onto)

    patch.setattr(Api, "delete", any_delete)
    patch.setattr(Api, "merge", any_merge)


RESTARTS: Final = (
    People.changes_the_image,
    People.changes_the_configuration,
    People.crashes_a_broker,
    People.stops_an_operator_for_a_while,
)
STALE: Final = (People.cuts_a_broker_off, People.crashes_a_broker, People.crashes_a_broker)
SCALED: Final = (People.changes_the_flanking, People.leaves_the_flanking_to_an_autoscaler)
UNHEARD: Final = (
    People.silences_a_watch,
    People.ends_a_watch,
    People.deletes_a_child,
    People.edits_a_child,
)
UNTOLD: Final = (People.asks_for_racks_or_not, People.hides_a_zone)
MUTATIONS: Final = {
    "no_gate": Mutation(_no_gate, RESTARTS),
    "leader_not_last": Mutation(_leader_not_last, RESTARTS),
    "no_fence": Mutation(_no_fence, STALE),
    "no_drain": Mutation(_no_drain, (People.changes_the_number,)),
    "no_lending": Mutation(_no_lending, SCALED),
    "no_look_for_copies": Mutation(_no_look_for_copies, (People.wants_other_volumes,)),
    "no_waking": Mutation(_no_waking, UNHEARD),
    "no_resync": Mutation(_no_resync, (*UNHEARD, People.loses_a_watch)),
    "no_farewell": Mutation(_no_farewell, (People.deletes_a_child,)),
    "no_second_look": Mutation(_no_second_look, UNTOLD),
}
