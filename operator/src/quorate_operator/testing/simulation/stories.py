"""An operator that dies after its k-th effect, for every k: what began is brought to its end.

Each story is one change of a cluster that runs, in a world without any other trouble. It is told
once to count the effects (writes, and orders to brokers), then once for every k: the operator dies
after the k-th, before it hears the answer, and another one takes over; or it stands still before it
and sends it when another one is at work. The end has to be the same, and no law may be broken.

Read next: `world.py`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any, Final

from quorate_operator.testing.objects import Json
from quorate_operator.testing.simulation.cluster import NAMESPACE, ZONE
from quorate_operator.testing.simulation.fate import KEY
from quorate_operator.testing.simulation.options import Options
from quorate_operator.testing.simulation.people import OUTSIDE
from quorate_operator.testing.simulation.sharing import NEEDS_RESTART
from quorate_operator.testing.simulation.world import World, play

SETTLE_S: Final = 1.0
OPEN: Final = {"authentication": {"type": "none"}}
Change = Callable[[World], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Story:
    """`change` happens to a cluster that has come to rest; None: its own creation is the story."""

    change: Change | None
    options: Options = Options()  # noqa: RUF009 - frozen
    ends: bool = True
    """There is a cluster at the end."""


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """How a story came out."""

    breach: str
    effects: int
    """How many there were after the change."""
    picture: str


def _new_image(world: World) -> None:
    world.people.edit(version="2.0")


def _new_configuration(world: World) -> None:
    world.people.edit(config={"num.partitions": "3", NEEDS_RESTART: "3"})


def _new_setting(world: World) -> None:
    world.people.edit(config={"num.partitions": "3"})


def _new_listeners(world: World) -> None:
    added = [{**one, "name": name, **OPEN} for name, one in OUTSIDE.items()]
    world.people.edit(listeners=[*world.people.spec["listeners"], *added])


def _an_autoscaler(world: World) -> None:
    limits = {"minReplicas": 2, "maxReplicas": 4, "targetCpuUtilization": 50}
    world.cluster.work = 3
    world.people.edit(flanking={"autoscaling": limits}, rack={"topologyKey": ZONE})


def _less(world: World) -> None:
    world.people.edit(flanking={}, networkPolicy="None")


def _more_brokers(world: World) -> None:
    world.people.edit(replicas=5)


def _fewer_brokers(world: World) -> None:
    world.people.edit(replicas=3)


def _larger_volumes(world: World) -> None:
    world.people.edit(storage={**world.people.spec["storage"], "size": "2Gi"})


def _other_volumes(world: World) -> None:
    wanted = {"class": "fast", "replace": "Guided"}
    world.people.edit(storage={**world.people.spec["storage"], **wanted})


def _fewer_and_more_brokers(world: World) -> None:
    """Again as many, when those that are to go have gone or are about to."""
    _fewer_brokers(world)
    asyncio.get_running_loop().call_later(20.0, _more_brokers, world)


def _a_volume_is_lost(world: World) -> None:
    world.brokers.lose(2)
    world.cluster.store.delete(("persistentvolumeclaims", NAMESPACE, "data-orders-broker-1"))
    world.cluster.remove("somebody", ("pods", NAMESPACE, "orders-broker-1"))


def _it_is_made_anew(world: World) -> None:
    """Under the same name, over its volumes, for fewer brokers than these hold."""
    spec = {**world.people.spec, "replicas": 3}
    metadata = {"name": KEY.name, "namespace": KEY.namespace, "annotations": {}}
    _it_is_deleted(world)
    world.cluster.store.put("brokerclusters", {"metadata": metadata, "spec": spec})


def _it_is_deleted(world: World) -> None:
    world.cluster.remove("somebody", ("brokerclusters", NAMESPACE, KEY.name))


STORIES: Final = {
    "create": Story(None),
    "roll": Story(_new_configuration),
    "setting": Story(_new_setting),
    "upgrade": Story(_new_image),
    "listeners": Story(_new_listeners, Options(replicas=1)),
    "autoscaler": Story(_an_autoscaler, Options(flanking=3)),
    "less": Story(_less, Options(flanking=2)),
    "scale_out": Story(_more_brokers),
    "scale_in": Story(_fewer_brokers, Options(replicas=5, when_scaled="Delete")),
    "growth": Story(_larger_volumes),
    "other_volumes": Story(_other_volumes, Options(copies=(3,))),
    "in_and_out": Story(_fewer_and_more_brokers, Options(replicas=5)),
    "lost_volume": Story(_a_volume_is_lost),
    "made_anew": Story(_it_is_made_anew, Options(replicas=5)),
    "delete": Story(_it_is_deleted, ends=False),
}


def tell(story: Story, dies_after: int = 0, late: tuple[int, float] = (0, 0.0)) -> End:
    """Once; of the effects that come after the change, the operator dies after one (0: does not),
    or stands still before one (`late`) for so long."""
    world = World(0, story.options)
    before: list[int] = []

    async def told() -> None:
        if story.change is not None:
            await world.rest()
            story.change(world)
        before.append(_effects(world))
        for one in world.operators:
            one.life.dies_after = dies_after and one.life.effects + dies_after
        at_work = [one for one in world.operators if one.watches is not None]
        for one in at_work or world.operators:  # the other one goes on
            one.life.late = (late[0] and one.life.effects + late[0], late[1])
        await asyncio.sleep(SETTLE_S)
        await (world.rest() if story.ends else _until_gone(world))

    report = play(world, told())
    effects = _effects(world) - before[0] if before else 0
    return End(report.breach, effects, picture(world))


def _effects(world: World) -> int:
    return sum(one.life.effects for one in world.operators)


async def _until_gone(world: World) -> None:
    """Everything but the volumes; and nothing is written for what is gone."""
    await asyncio.sleep(120)
    kept = {key[0] for key in world.cluster.store.objects} - {"leases", "nodes"}
    if kept != {"persistentvolumeclaims"}:
        world.laws.broken(f"the cluster is deleted, and there are still {sorted(kept)}")


def picture(world: World) -> str:
    """What there is at the end, without what no two runs have in common."""
    found = [
        f"{plural}/{name}: {_essence(plural, one)}"
        for (plural, _, name), one in sorted(world.cluster.store.objects.items())
        if plural not in ("leases", "nodes", "brokerclusters")
    ]
    members, settings = sorted(world.brokers.members), world.brokers.settings.values
    return "\n".join([*found, f"members: {members}", f"settings: {sorted(settings.items())}"])


def _essence(plural: str, found: Json) -> Any:
    match plural:
        case "pods":
            container = found["spec"]["containers"][0]
            annotations = found["metadata"].get("annotations", {})
            hashes = sorted(v for k, v in annotations.items() if k.endswith("-hash"))
            return container["image"], hashes
        case "persistentvolumeclaims":
            return found["spec"]["resources"], found["spec"].get("storageClassName")
        case "statefulsets":
            return found["spec"]
        case _:
            return found.get("spec", found.get("data"))
