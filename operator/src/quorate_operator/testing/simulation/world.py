"""One run: a cluster, its users, two operators around a lease, and everything that can go wrong.

    python -m quorate_operator.testing.simulate --seeds 1000 [--first 0]

While it is stormy, operators are killed between any two calls or stopped for a while, the API
refuses, loses and delays, brokers crash and lose their volumes, and people edit the spec and the
children. Then it calms down: within bounded time nothing may be left to do, and nothing is written
any more. The laws hold all the time.

Read next: `laws.py`; `kubernetes.py` and `brokers.py` for the world's two halves.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from quorate_operator.facts import DefaultImage
from quorate_operator.kube import KubeError
from quorate_operator.lease import Lease, LeaseLost
from quorate_operator.names import Key
from quorate_operator.reconcile import Reconciler, Result
from quorate_operator.testing.objects import Json
from quorate_operator.testing.simulation import loop
from quorate_operator.testing.simulation.brokers import Brokers, ModelAdmin
from quorate_operator.testing.simulation.kubernetes import NAMESPACE, Api, Cluster, Trouble
from quorate_operator.testing.simulation.laws import Breach, Laws

KEY: Final = Key(NAMESPACE, "orders")
STORM_S: Final = 400.0
CALM_S: Final = 600.0
QUIET_S: Final = 60.0
Deed = Callable[["World"], bool]
SIZES: Final = (1, 3, 3, 3, 5)


@dataclasses.dataclass
class Report:
    """What a run saw; counted over many, to show that each kind of trouble was met."""

    seed: int
    seen: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    breach: str = ""
    trace: list[str] = dataclasses.field(default_factory=list)


class World:
    """Everything of one seed."""

    def __init__(
        self, seed: int, *, storm_s: float = STORM_S, deeds: Sequence[Deed] | None = None
    ) -> None:
        self.random = random.Random(seed)
        self._deeds = deeds or DEEDS
        self.report = Report(seed)
        self._storm_s = storm_s
        self._calm = False
        self._stormy = Trouble(
            refused=self.random.choice((0, 0.01, 0.05)),
            lost=self.random.choice((0, 0.01, 0.05)),
            slow=self.random.choice((0, 0.02)),
            killed=self.random.choice((0, 0.002, 0.02)),
        )
        self.trouble = dataclasses.replace(self._stormy)
        self.cluster = Cluster(self.random)
        self.brokers = Brokers(self.cluster, self.random, partitions=self.random.randint(1, 6))
        self.laws = Laws(self.brokers)
        self.cluster.taken.append(self.laws.taking)
        self.cluster.taken.append(self._note_taken)
        self.operators = [Operator(self, name) for name in ("one", "two")]
        self.silence = self.random.choice((0, 0.05))

    @property
    def spec(self) -> Json:
        found = self.cluster.find("brokerclusters", KEY.name)
        assert found is not None
        spec: Json = found["spec"]
        return spec

    def note(self, text: str) -> None:
        now_s = asyncio.get_running_loop().time()
        self.report.trace.append(f"{now_s:8.2f} {text}")

    def saw(self, kind: str) -> None:
        self.report.seen[kind] += 1

    async def live(self) -> None:
        """The whole run; Breach when a law was broken."""
        self._make()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.cluster.run()),
                group.create_task(self.brokers.run()),
                *(group.create_task(one.run()) for one in self.operators),
            ]
            async with asyncio.timeout(self._storm_s + 3 * CALM_S):
                await self._storm()
                await self._calm_down()
            for task in tasks:
                task.cancel()

    def _make(self) -> None:
        storage: Json = {"size": "1Gi", "type": self.random.choice(["persistent"] * 5)}
        storage["retention"] = {"whenScaled": self.random.choice(["Retain", "Delete"])}
        spec = {
            "version": "1.0",
            "replicas": self.random.choice(SIZES),
            "flanking": {"replicas": self.random.choice((0, 2))},
            "storage": storage,
            "listeners": [{"name": "internal", "port": 9092, "authentication": {"type": "none"}}],
        }
        metadata = {"name": KEY.name, "namespace": NAMESPACE, "annotations": {}}
        self.cluster.store.put("brokerclusters", {"metadata": metadata, "spec": spec})

    async def _storm(self) -> None:
        began_s = asyncio.get_running_loop().time()
        pace_s = self.random.choice((5.0, 15.0, 40.0))
        while asyncio.get_running_loop().time() < began_s + self._storm_s:
            await asyncio.sleep(self.random.expovariate(1 / pace_s))
            deed = self.random.choice(self._deeds)
            if deed(self):
                self.saw(deed.__name__.strip("_"))
                self.note(deed.__name__.strip("_").replace("_", " "))

    async def _calm_down(self) -> None:
        """No more trouble: everything comes to rest, and stays so."""
        self.note("calm")
        self.trouble.__dict__.update(dataclasses.asdict(Trouble()))
        self.silence = self.brokers.flips = 0.0
        self.cluster.down = False
        self.spec["paused"] = False
        self._touch()
        deadline_s = asyncio.get_running_loop().time() + CALM_S
        while True:
            before = self._writes()
            await asyncio.sleep(QUIET_S)
            if self._writes() == before and not self._unfinished():
                return
            if asyncio.get_running_loop().time() > deadline_s:
                raise Breach(f"no rest: {self._unfinished() or 'still writing'}")

    def _unfinished(self) -> str:
        """What is not as the spec wants it, although nothing stands in the way."""
        found = self.cluster.find("brokerclusters", KEY.name)
        assert found is not None
        status = found.get("status", {})
        conditions = {one["type"]: one for one in status.get("conditions", [])}
        held = [one["message"] for one in status.get("blockedBy", [])]
        if any(one["reason"] == "DrainStuck" for one in status.get("blockedBy", [])):
            self.saw("drain stuck")
            return ""
        for kind in ("Ready", "UpToDate"):
            if conditions.get(kind, {}).get("status") != "True":
                return f"{kind} is not True: {conditions.get(kind)} {held}"
        if status.get("effectiveReplicas") != self.spec["replicas"]:
            return f"{status.get('effectiveReplicas')} brokers: {held}"
        if self.brokers.draining:
            return f"{self.brokers.draining} are still draining"
        if sorted(self.brokers.members) != list(range(1, self.spec["replicas"] + 1)):
            return f"members are {sorted(self.brokers.members)}"
        return ""

    def _writes(self) -> int:
        return sum(len(one.api.writes) for one in self.operators)

    def _touch(self) -> None:
        found = self.cluster.find("brokerclusters", KEY.name)
        assert found is not None
        found["metadata"]["generation"] += 1
        self.cluster.touch("brokerclusters", KEY.name)

    def _note_taken(self, who: str, found: Json) -> None:
        self.note(f"{who} takes {found['metadata']['name']}")
        self.saw(f"{who} took a {'volume' if 'data-' in found['metadata']['name'] else 'pod'}")

    # What people and fate do. False: not possible now.

    def _edit(self, **fields: Any) -> bool:
        self.spec.update(fields)
        self._touch()
        return True

    def _changes_the_image(self) -> bool:
        return self._edit(version=self.random.choice(["1.0", "2.0", "3.0"]))

    def _changes_the_configuration(self) -> bool:
        return self._edit(config={"num.partitions": str(self.random.randint(1, 3))})

    def _changes_the_number(self) -> bool:
        return self._edit(replicas=self.random.choice(SIZES))

    def _changes_the_flanking(self) -> bool:
        return self._edit(flanking={"replicas": self.random.randint(0, 3)})

    def _pauses_or_resumes(self) -> bool:
        return self._edit(paused=not self.spec.get("paused", False))

    def _asks_for_a_restart(self) -> bool:
        found = self.cluster.find("brokerclusters", KEY.name)
        assert found is not None
        found["metadata"]["annotations"]["quorate.dev/restart"] = str(self.random.random())
        return self._edit()

    def _scales_the_set_by_hand(self) -> bool:
        """Upwards; what somebody takes away by hand is on them."""
        workload = self.cluster.find("statefulsets", "orders-broker")
        if workload is None:
            return False
        workload["spec"]["replicas"] += 1
        workload["metadata"]["generation"] += 1
        self.cluster.touch("statefulsets", "orders-broker")
        return True

    def _deletes_a_child(self) -> bool:
        plural = self.random.choice(["services", "configmaps", "poddisruptionbudgets"])
        found = self.cluster.objects(plural)
        if found:
            one = self.random.choice(found)
            self.cluster.store.delete((plural, NAMESPACE, one["metadata"]["name"]))
        return bool(found)

    def _crashes_a_broker(self) -> bool:
        alive = sorted(self.brokers.alive())
        if alive:
            self.brokers.crash(self.random.choice(alive))
        return bool(alive)

    def _deletes_a_pod(self) -> bool:
        found = self.cluster.objects("pods")
        if found:
            name = self.random.choice(found)["metadata"]["name"]
            self.cluster.remove("somebody", ("pods", NAMESPACE, name))
        return bool(found)

    def _loses_a_volume(self) -> bool:
        """One of which all is elsewhere too: a second loss at once would lose data for good."""
        if len(self.brokers.members) < 3 or not set(self.brokers.members) <= self.brokers.alive():
            return False
        for one in self.brokers.processes.values():
            held = [self.brokers.groups[path] for path in self.brokers.holds(one.node_id)]
            name = f"data-orders-broker-{one.node_id - 1}"
            claim = self.cluster.find("persistentvolumeclaims", name)
            whole = all(len(group.in_sync & self.brokers.alive()) > 1 for group in held)
            if claim and whole:
                self.brokers.lose(one.node_id)
                self.cluster.store.delete(("persistentvolumeclaims", NAMESPACE, name))
                self.cluster.remove("somebody", ("pods", NAMESPACE, one.pod["metadata"]["name"]))
                return True
        return False

    def _stops_an_operator_for_a_while(self) -> bool:
        one = self.random.choice(self.operators)
        now_s = asyncio.get_running_loop().time()
        one.api.paused_until_s = now_s + self.random.uniform(1, 60)
        return True

    def _kills_an_operator(self) -> bool:
        self.random.choice(self.operators).kill()
        return True

    def _stops_the_api_for_a_while(self) -> bool:
        self.cluster.down = not self.cluster.down
        return True


DEEDS: Final = (
    World._changes_the_image,
    World._changes_the_configuration,
    World._changes_the_number,
    World._changes_the_number,
    World._changes_the_flanking,
    World._pauses_or_resumes,
    World._asks_for_a_restart,
    World._scales_the_set_by_hand,
    World._deletes_a_child,
    World._crashes_a_broker,
    World._crashes_a_broker,
    World._deletes_a_pod,
    World._loses_a_volume,
    World._stops_an_operator_for_a_while,
    World._kills_an_operator,
    World._stops_the_api_for_a_while,
)


class Operator:
    """One operator's process, again and again."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self.api = Api(world.cluster, world.trouble, world.random)
        self.api.kill = self.kill
        self.api.written = self._written
        self._task: asyncio.Task[None] | None = None
        self.lease: Lease | None = None

    def kill(self) -> None:
        if self._task is not None:
            self._world.saw("an operator was killed")
            self._task.cancel()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                self._task = group.create_task(self._process())
                await asyncio.wait([self._task])
                self._world.note(f"{self._name} ended")
                self.lease = None
                await asyncio.sleep(self._world.random.uniform(0.5, 10))

    async def _process(self) -> None:
        world = self._world
        self.lease = Lease(
            self.api, (NAMESPACE, "quorate-operator"), self._name, loop.VirtualClock()
        )
        self.api.may_write = self.lease.may_write
        admin = ModelAdmin(world.brokers, world.random, lambda: world.silence)
        image = DefaultImage("quorate-broker", "0.1.0")
        reconciler = Reconciler(self.api, admin, image, loop.VirtualClock())
        await self.lease.acquire()
        world.note(f"{self._name} is active")
        with contextlib.suppress(LeaseLost):
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.lease.keep())
                    group.create_task(self._passes(reconciler))
            except* LeaseLost:
                world.saw("a lease was lost")

    async def _passes(self, reconciler: Reconciler) -> None:
        world = self._world
        while True:
            result = Result(exists=True, soon=True)
            try:
                result = await reconciler.reconcile(KEY, world.brokers.views())
            except* KubeError:
                world.saw("a pass failed")
            for reason in sorted(result.blocked):
                world.saw(f"blocked: {reason}")
            pause_s = 2.0 if result.soon or result.busy else 20.0
            await asyncio.sleep(world.random.uniform(0.05, pause_s))

    def _written(self) -> None:
        world = self._world
        found = world.cluster.find("brokerclusters", KEY.name)
        assert found is not None
        world.laws.status(found)
        world.note(f"{self._name}: {self.api.writes[-1]}")


def run(seed: int, *, storm_s: float = STORM_S, deeds: Sequence[Deed] | None = None) -> Report:
    """One seed from its beginning to its end; `deeds`: only these, instead of all."""
    world = World(seed, storm_s=storm_s, deeds=deeds)
    logging.disable(logging.CRITICAL)
    try:
        loop.run(world.live())
    except* Breach as breaches:
        world.report.breach = "; ".join(_sentences(breaches))
    finally:
        logging.disable(logging.NOTSET)
    return world.report


def _sentences(group: BaseExceptionGroup[BaseException]) -> list[str]:
    """Of all breaches, however deep."""
    return [
        sentence
        for one in group.exceptions
        for sentence in (_sentences(one) if isinstance(one, BaseExceptionGroup) else [str(one)])
    ]
