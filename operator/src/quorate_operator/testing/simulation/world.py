"""One run: a cluster, its users, two operators around a lease, and everything that can go wrong.

While it is stormy, operators are killed between any two calls or stopped for a while, the API
refuses, loses and delays, brokers crash and lose their volumes, nodes fail, and people edit the
spec and the children. Then it calms down: within bounded time nothing may be left to do, and
nothing is written any more, also not by an operator that begins anew. The laws hold all the time.

Read next: `laws.py`; `people.py` for what happens; `batch.py`, which runs many seeds.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import logging
import random
import zlib
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Final

from quorate_operator.facts import View
from quorate_operator.resync import RESYNC_S
from quorate_operator.testing.objects import Json
from quorate_operator.testing.simulation import loop, people, process, shape
from quorate_operator.testing.simulation import options as drawing
from quorate_operator.testing.simulation.api import Life
from quorate_operator.testing.simulation.brokers import Brokers
from quorate_operator.testing.simulation.cluster import Cluster, now_s
from quorate_operator.testing.simulation.controllers import Controllers
from quorate_operator.testing.simulation.fate import KEY
from quorate_operator.testing.simulation.hearing import Lines
from quorate_operator.testing.simulation.laws import Laws
from quorate_operator.testing.simulation.options import Options, Trouble
from quorate_operator.testing.simulation.people import Deed, People
from quorate_operator.testing.simulation.process import Operator, Watcher

CALM_S: Final = 600.0
QUIET_S: Final = RESYNC_S + 15.0
"""Longer than from one look at what no watch has told to the next."""
ANEW_S: Final = 60.0
LULL_S: Final = 5.0
DEAFENING: Final = (People.silences_a_watch, People.silences_a_watch, People.loses_a_watch)
KEPT_LINES: Final = 60
SETTLED: Final = ("Ready", "UpToDate")
"""Conditions that are True when everything is at rest."""


@dataclasses.dataclass
class Report:
    """What a run saw; counted over many, to show that each kind of trouble was met."""

    seed: int
    options: str = ""
    seen: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    breach: str = ""
    cpu_s: float = 0.0
    trace: int = 0
    """A sum over all that happened: equal for equal runs."""
    lately: collections.deque[str] = dataclasses.field(
        default_factory=lambda: collections.deque(maxlen=KEPT_LINES)
    )


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, options: Options, deeds: Sequence[Deed] = people.DEEDS) -> None:
        self.random = random.Random(f"world {seed}")
        self.options = options
        self.report = Report(seed, options.describe())
        self.tell: Callable[[str], None] = self.report.lately.append
        self.trouble = Trouble.of(options)
        self.cluster = Cluster(self.random, options.nodes, local_volumes=options.local_volumes)
        self.brokers = self.make_brokers()
        self.laws = Laws(self.cluster, self.brokers)
        self.cluster.taken.append(self._note_taken)
        watcher = Watcher(self.saw, self.note, self._began, self._written, self.laws.broken)
        lines = self.make_lines()
        self.operators = [
            Operator(name, self.cluster, lines, Life(self.trouble, self.random), watcher)
            for name in ("one", "two")
        ]
        self.people = People(self.cluster, self.brokers, self.operators, self.random)
        self.orders: list[str] = []
        self.quiet_s = QUIET_S
        """Nothing is written for so long: it is at rest."""
        self._deeds = deeds

    def make_brokers(self) -> Brokers:
        """Others may stand in for the model."""
        return Brokers(self.cluster, self.random, self.trouble, self.options)

    def make_lines(self) -> process.Brokers:
        return Lines(self.brokers, self.ordered)

    def ordered(self, text: str) -> None:
        """An operator gave the brokers an order."""
        self.orders.append(text)
        self.note(f"order: {text}")

    def note(self, text: str) -> None:
        line = f"{now_s():8.2f} {text}"
        self.report.trace = zlib.crc32(line.encode(), self.report.trace)
        self.tell(line)

    def saw(self, kind: str) -> None:
        self.report.seen[kind] += 1

    # --------------------------------------------------------------------------------- a run

    async def live(self, story: Coroutine[Any, Any, None]) -> None:
        """The world goes on until the story has been told, or a law was broken."""
        self._make()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(Controllers(self.cluster).run()),
                group.create_task(self.brokers.run()),
                *(group.create_task(one.run()) for one in self.operators),
            ]
            told = group.create_task(story)
            self.laws.stop = told.cancel
            await asyncio.wait([told])
            for task in tasks:
                task.cancel()

    async def storm_and_calm(self) -> None:
        """What a seed is."""
        await self._storm()
        await self.rest()
        if self.options.lull:
            await self._lull()
            await self.rest()
        await self._begin_anew()
        if self.options.half_an_hour:
            await self._half_an_hour()

    def _make(self) -> None:
        options = self.options
        spec = {
            "version": "1.0",
            "replicas": options.replicas,
            "flanking": {"replicas": options.flanking},
            "storage": {
                "size": "1Gi",
                "type": options.storage,
                "retention": {"whenScaled": options.when_scaled},
                **({"unbindAfter": options.unbind_after} if options.unbind_after else {}),
            },
            "listeners": [{"name": "internal", "port": 9092, "authentication": {"type": "none"}}],
        }
        metadata = {"name": KEY.name, "namespace": KEY.namespace, "annotations": {}}
        self.cluster.store.put("brokerclusters", {"metadata": metadata, "spec": spec})

    async def _storm(self) -> None:
        ends_s = now_s() + self.options.storm_s
        while now_s() < ends_s:
            await asyncio.sleep(self.random.expovariate(1 / self.options.pace_s))
            self._something_happens()

    async def _lull(self) -> None:
        """When nobody looks any more, one more thing happens, and maybe nobody tells of it."""
        self.saw("a lull")
        self.random.choice(DEAFENING)(self.people)
        for _ in self._deeds:  # not each makes sense
            if self._something_happens():
                break
        await asyncio.sleep(LULL_S)

    def _something_happens(self) -> bool:
        deed = self.random.choice(self._deeds)
        is_done = deed(self.people)
        if is_done:
            name = deed.__name__.replace("_", " ")
            self.saw(name)
            self.note(name)
        return is_done

    async def rest(self) -> None:
        """No more trouble: everything comes to rest."""
        self.note("calm")
        self.trouble.end()
        self.people.calm_down()
        deadline_s = now_s() + CALM_S
        while True:
            before = self._writes()
            await asyncio.sleep(self.quiet_s)
            if self._writes() == before and not self.unfinished():
                return
            if now_s() > deadline_s:
                self.laws.broken(f"no rest: {self.unfinished() or 'still writing'}")

    async def _begin_anew(self) -> None:
        """An operator that knows nothing finds nothing to do."""
        for one in self.operators:
            one.kill()
        before = self._writes()
        await asyncio.sleep(ANEW_S)
        if self._writes() != before:
            self.laws.broken(f"an operator that began anew wrote: {self._last_write()}")

    async def _half_an_hour(self) -> None:
        """What nobody watches is put right, too. (What is held up is looked at all the time.)"""
        if self.people.resource["status"].get("blockedBy"):
            return
        self.people.forgets_the_kept_specs()
        await asyncio.sleep(process.LIMITS.resync_s + ANEW_S)
        if len(self.cluster.objects(people.SPECS)) != 1:
            self.laws.broken("nobody has looked for half an hour")

    def unfinished(self) -> str:
        """What is not as the spec wants it, although nothing stands in the way."""
        status = self.people.resource.get("status", {})
        blocked = status.get("blockedBy", [])
        held = {one["reason"] for one in blocked}
        if "DrainStuck" in held:
            self.saw("drain stuck")
            return ""
        if "OnlyCopy" in held:
            self.saw("the only copy")  # a volume that nobody may give up: a person has to help
        told_false = self._conditions(status, ("Ready",) if "OnlyCopy" in held else SETTLED)
        if told_false:
            return f"{told_false} {blocked}"
        wanted = self.people.spec["replicas"]
        if status.get("effectiveReplicas") != wanted:
            return f"{status.get('effectiveReplicas')} brokers: {blocked}"
        if self.brokers.draining:
            return f"{self.brokers.draining} are still draining"
        if sorted(self.brokers.members) != list(range(1, wanted + 1)):
            return f"members are {sorted(self.brokers.members)}"
        told = status.get("leader", {})
        if (told.get("nodeId"), told.get("epoch")) != (self.brokers.leader, self.brokers.term):
            return f"{told} is told, {self.brokers.leader} leads in {self.brokers.term}"
        for departure in shape.departures(self.cluster, self.people.spec):
            return departure
        return self._labels(told["pod"])

    def _conditions(self, status: Json, kinds: Sequence[str]) -> str:
        found = {one["type"]: one for one in status.get("conditions", [])}
        for kind in kinds:
            if found.get(kind, {}).get("status") != "True":
                return f"{kind} is not True: {found.get(kind)}"
        if found["ConfigInSync"]["reason"] not in ("InSync", "NotYetShared"):
            return f"settings are not in sync: {found['ConfigInSync']}"
        return ""

    def _labels(self, leader: str) -> str:
        marked = [
            pod["metadata"]["name"]
            for pod in self.cluster.objects("pods")
            if pod["metadata"]["labels"].get("quorate.dev/leader") == "true"
        ]
        return "" if marked == [leader] else f"{marked} are labelled, {leader} leads"

    # ---------------------------------------------------------------------------- what is seen

    def _writes(self) -> int:
        return len(self.orders) + sum(len(one.api.writes) for one in self.operators)

    def _last_write(self) -> str:
        each = (self.orders, *(one.api.writes for one in self.operators))
        return "; ".join(writes[-1] for writes in each if writes)

    def _note_taken(self, who: str, found: Json) -> None:
        name = found["metadata"]["name"]
        self.note(f"{who} takes {name}")
        of_a_set = name.rpartition("-")[0].endswith(("-broker", "-flanking"))
        kind = "volume" if name.startswith("data-") else "pod" if of_a_set else "child"
        self.saw(f"{who} took a {kind}")
        if who == "operator" and kind == "volume" and self.laws.stays(name):
            self.saw("a volume was given up")

    def _began(self, operator: Operator, views: Mapping[str, View]) -> None:
        terms = (one.leader.term for one in views.values() if one.leader)
        operator.heard_term = max(terms, default=0)

    def _written(self, operator: Operator, text: str) -> None:
        self.note(f"{operator.name}: {text}")
        self.laws.looked_s = operator.api.looked_s
        self.laws.heard_term = operator.heard_term
        self.laws.asked, self.laws.asked_s = operator.life.asked, operator.life.asked_s


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """What the product logs would be read by nobody."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def play(world: World, story: Coroutine[Any, Any, None]) -> Report:
    """One story of a world to its end."""
    with silent():
        loop.run(world.live(story))
    world.report.breach = world.laws.breach
    return world.report


def run(
    seed: int,
    deeds: Sequence[Deed] = people.DEEDS,
    tell: Callable[[str], None] | None = None,
) -> Report:
    """One seed from its beginning to its end; `deeds`: only these, instead of all."""
    world = World(seed, drawing.draw(random.Random(f"options {seed}")), deeds)
    world.tell = tell or world.tell
    return play(world, world.storm_and_calm())
