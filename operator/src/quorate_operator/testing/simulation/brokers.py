"""Brokers in virtual time: they form, elect, replicate, join, drain and leave, as the real ones do.

What they hold is sets, not bytes: a partition has replicas, and some of them are in sync. A broker
that was away is out of sync until it has caught up; one on another volume is another incarnation
that has to catch up from nothing. The real ones stand in for them in `tests/operator`.

Read next: `hearing.py`, by which operators see them; `laws.py`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import random
from collections.abc import Callable, Mapping
from typing import Final

from quorate_operator.admin import AdminError
from quorate_operator.facts import Claim, Member, Partition, Survey, View
from quorate_operator.testing.objects import Json
from quorate_operator.testing.simulation.cluster import Cluster, now_s
from quorate_operator.testing.simulation.options import Options, Trouble
from quorate_operator.testing.simulation.sharing import Shared

NOBODY: Final = -1
CATCH_UP_S: Final = 5.0


@dataclasses.dataclass
class Process:
    """A broker's process in a pod."""

    node_id: int
    pod: Json
    disk: str
    """The uid of the claim it runs on; of the pod where there is none."""
    boots_at_s: float
    up: bool = False
    cut: bool = False
    """It runs, and the other brokers do not hear it: it goes on telling what it knew."""
    told: View | None = None
    """What it knew when it was cut off."""
    began_with: str = ""
    """Of the shared settings, what it has read at its start alone."""
    retired: bool = False
    """It has left the cluster: it waits to be started again."""


@dataclasses.dataclass
class Group:
    """One partition."""

    replicas: list[int]
    in_sync: set[int]
    size: int
    leader: int = NOBODY


class Brokers:
    """All brokers of one cluster."""

    def __init__(
        self, cluster: Cluster, source: random.Random, trouble: Trouble, options: Options
    ) -> None:
        self._cluster = cluster
        self._random = source
        self._trouble = trouble
        self._wanted_partitions = options.partitions
        self._copies = options.copies
        self.formed = ""
        self.members: dict[int, str] = {}
        """Node id to the disk it was admitted with."""
        self.voters: dict[int, float] = {}
        """Members to when they vote: who comes is a learner until it has caught up."""
        self.draining: set[int] = set()
        self.departed: set[int] = set()
        """Decommissioned: nobody joins under these ids until they are taken back."""
        self.leader = NOBODY
        self.term = 0
        self.groups: dict[str, Group] = {}
        self.settings = Shared()
        self.processes: dict[str, Process] = {}
        """By uid of the pod."""
        self.became_ready: Callable[[int], None] = lambda node_id: None
        self._waiting: list[tuple[int, View, asyncio.Future[None]]] = []
        """For news of that broker, knowing this."""
        cluster.started = self._started
        cluster.stopping = self._stopping
        cluster.stopped = self._stopped

    # ---------------------------------------------------------------------------- what is true

    def alive(self) -> set[int]:
        """Those that run on the disk that they are known by, and that the others hear."""
        return {
            one.node_id
            for one in self.processes.values()
            if one.up and not one.cut and self.members.get(one.node_id, one.disk) == one.disk
        }

    def of(self, node_id: int) -> Process | None:
        """Its process that is up, else any."""
        found = [one for one in self.processes.values() if one.node_id == node_id]
        return max(found, key=lambda one: one.up, default=None)

    def holds(self, node_id: int) -> list[str]:
        return [path for path, group in self.groups.items() if node_id in group.replicas]

    def is_whole(self) -> bool:
        """Everything is where it has to be, in sync: one broker may go and nothing is lost."""
        return set(self.members) <= self.alive() and all(
            set(group.replicas) <= group.in_sync and len(group.replicas) == group.size
            for group in self.groups.values()
        )

    def bears_the_loss_of(self, node_id: int) -> bool:
        """All that it holds is elsewhere too."""
        if len(self.members) < 3 or not self.is_whole():
            return False
        return all(self.groups[path].size > 1 for path in self.holds(node_id))

    # ------------------------------------------------------------------------- what befalls them

    def crash(self, node_id: int, away_s: float) -> None:
        """Its container ends, and is started again after a while (or never by itself: inf)."""
        for one in self.processes.values():
            if one.node_id == node_id and (one.up or one.boots_at_s == math.inf):
                if one.up:
                    self._down(one)
                one.boots_at_s = now_s() + away_s

    def cut(self, node_id: int, *, off: bool) -> None:
        for one in self.processes.values():
            if one.node_id == node_id and one.up:
                one.cut, one.told = off, None
                if off:
                    one.told = self.view(node_id)
                    self._unheard(one)

    def lose(self, node_id: int) -> None:
        """Its disk is gone, and with it whatever runs on it."""
        self.crash(node_id, math.inf)
        self._lost(node_id)

    def transfer(self, to: int) -> None:
        if to not in self.alive() or self.voters.get(to, math.inf) > now_s():
            raise AdminError(f"broker {to} cannot lead")
        self.leader, self.term = to, self.term + 1

    def decommission(self, node_id: int, *, leave: bool) -> None:
        if node_id in self.departed and not leave:
            self.departed.discard(node_id)
            return
        if node_id not in self.members:
            raise AdminError(f"broker {node_id} is not known")
        if leave:
            self.draining.add(node_id)
        else:
            self.draining.discard(node_id)

    # --------------------------------------------------------------------------------- their life

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(0.1, 0.6))
            self._boot()
            self._form()
            self._elect()
            self._join()
            self._replicate()
            self._drain()
            self._tell()

    def _tell(self) -> None:
        """Answers whoever waits for news, where there are any. A connection that may break at any
        moment is tried all the time."""
        told = self.views() if self._waiting else {}
        waiting, self._waiting = self._waiting, []
        for node_id, known, answered in waiting:
            if self._trouble.silence or told.get(node_id) != known:
                if not answered.done():
                    answered.set_result(None)
            elif not answered.done():
                self._waiting.append((node_id, known, answered))

    async def news(self, node_id: int, known: View) -> None:
        """Until it has something else to tell."""
        answered = asyncio.get_running_loop().create_future()
        self._waiting.append((node_id, known, answered))
        await answered

    def _started(self, pod: Json) -> None:
        metadata = pod["metadata"]
        if "-flanking-" in metadata["name"]:
            self._cluster.ready(pod, True)
            return
        claim = self._cluster.claim_of(pod)
        node_id = int(metadata["name"].rpartition("-")[2]) + 1
        disk = claim["metadata"]["uid"] if claim else metadata["uid"]
        boots_at_s = now_s() + self._random.uniform(0.5, 4)
        self.processes[metadata["uid"]] = Process(node_id, pod, disk, boots_at_s)

    def _stopping(self, pod: Json) -> None:
        """SIGTERM: it hands over what it leads, where somebody can take it."""
        one = self.processes.get(pod["metadata"]["uid"])
        if one is None or not one.up or self.leader != one.node_id:
            return
        others = sorted(self._electable() - {one.node_id})
        if others:
            self.leader, self.term = self._random.choice(others), self.term + 1

    def _stopped(self, pod: Json) -> None:
        one = self.processes.pop(pod["metadata"]["uid"], None)
        if one is not None and one.up:
            self._down(one)
        if one is not None and self._cluster.claim_of(pod) is None:
            self._lost(one.node_id)  # what it stored went with it

    def _down(self, one: Process) -> None:
        one.up, one.cut, one.told = False, False, None
        self._unheard(one)
        self._cluster.ready(one.pod, False)

    def _unheard(self, one: Process) -> None:
        for group in self.groups.values():
            if len(group.in_sync) > 1:
                group.in_sync.discard(one.node_id)
            if group.leader == one.node_id:
                group.leader = NOBODY
        if self.leader == one.node_id:
            self.leader = NOBODY

    def _boot(self) -> None:
        for one in self.processes.values():
            if not one.up and one.boots_at_s <= now_s():
                one.up, one.retired = True, False
                one.began_with = self.settings.at_start()
            member = self.members.get(one.node_id) == one.disk
            serving = one.up and bool(self.formed) and member
            if "deletionTimestamp" not in one.pod["metadata"]:
                if serving:
                    self.became_ready(one.node_id)
                self._cluster.ready(one.pod, serving)

    def _form(self) -> None:
        """All the seeds, empty, together; never again where a cluster id stands in their file."""
        workload = self._cluster.find("statefulsets", "orders-broker")
        if self.formed or workload is None:
            return
        up = {one.node_id: one.disk for one in self.processes.values() if one.up}
        if len(up) < workload["spec"]["replicas"] or not up:
            return
        self.formed, self.members = "id-1", up
        self.voters = dict.fromkeys(up, 0.0)
        ids = sorted(up)
        for number in range(self._wanted_partitions):
            size = min(len(ids), self._random.choice(self._copies))
            replicas = self._random.sample(ids, size)
            self.groups[f"kafka/orders/{number}"] = Group(replicas, set(replicas), size)

    def _electable(self) -> set[int]:
        voters = {node_id for node_id, since_s in self.voters.items() if since_s <= now_s()}
        alive = self.alive() & voters
        return alive if 2 * len(alive) > len(voters) else set()

    def _elect(self) -> None:
        alive = self.alive()
        for node_id, since_s in self.voters.items():
            if since_s > now_s() and node_id not in alive:
                self.voters[node_id] = now_s() + CATCH_UP_S
        able = sorted(self._electable())
        if self.leader not in able:
            self.leader = NOBODY
        if not able:
            return
        chance = 0.4 if self.leader == NOBODY else self._trouble.flips
        if chance and self._random.random() < chance:
            self.leader, self.term = self._random.choice(able), self.term + 1

    def _join(self) -> None:
        """A process on another disk than its member's is another incarnation, from nothing."""
        if self.leader == NOBODY:
            return
        for one in self.processes.values():
            known = self.members.get(one.node_id)
            free = not one.retired and one.node_id not in self.departed
            if one.up and free and known != one.disk and self._random.random() < 0.3:
                if known is not None:
                    self._lost(one.node_id)
                self.members[one.node_id] = one.disk
                self.voters[one.node_id] = now_s() + CATCH_UP_S

    def _lost(self, node_id: int) -> None:
        for group in self.groups.values():
            group.in_sync.discard(node_id)

    def _replicate(self) -> None:
        alive = self.alive() & self.members.keys()
        for group in self.groups.values():
            able = sorted(group.in_sync & alive)
            if group.leader not in able:
                group.leader = NOBODY
            if group.leader == NOBODY and able and self._random.random() < 0.5:
                group.leader = self._random.choice(able)
            if group.leader == NOBODY or group.in_sync.issuperset(group.replicas):
                continue
            for node_id in sorted((set(group.replicas) & alive) - group.in_sync):
                if self._random.random() < 0.15:
                    group.in_sync.add(node_id)

    def _drain(self) -> None:
        if self.leader == NOBODY:
            return
        for node_id in sorted(self.draining):
            for group in self.groups.values():
                if node_id in group.replicas and self._random.random() < 0.2:
                    self._move(group, node_id)
            if not self.holds(node_id) and self._random.random() < 0.3:
                self.draining.discard(node_id)
                self.departed.add(node_id)
                self.members.pop(node_id, None)
                self.voters.pop(node_id, None)
                for one in self.processes.values():
                    one.retired = one.retired or one.node_id == node_id

    def _move(self, group: Group, node_id: int) -> None:
        """Whole: the new replica is in sync before the old one goes."""
        settled = {one for one, since_s in self.voters.items() if since_s <= now_s()}
        free = self.alive() & settled - self.draining - set(group.replicas)
        if group.leader == NOBODY or not free:
            return
        target = self._random.choice(sorted(free))
        group.replicas = [target if one == node_id else one for one in group.replicas]
        group.in_sync = (group.in_sync - {node_id}) | {target}
        if group.leader == node_id:
            group.leader = NOBODY

    # ------------------------------------------------------------------------------ what they say

    def answers(self, node_id: int) -> bool:
        """With what the others know too; one that is cut off knows that it does not."""
        one = self.of(node_id)
        return one is not None and one.up and not one.cut

    def view(self, node_id: int) -> View | None:
        """What it tells; None when nobody is there to tell anything."""
        return self.views().get(node_id)

    def views(self) -> dict[int, View]:
        """What each tells; whoever is not there tells nothing."""
        up = {one.node_id: one for one in self.processes.values() if one.up}
        known = self._known(up)
        return {node_id: one.told or self._by(one, known) for node_id, one in up.items()}

    def _by(self, one: Process, known: View) -> View:
        if self.members.get(one.node_id) == one.disk:
            return known
        return dataclasses.replace(known, cluster_id="", leader=None)

    def _known(self, up: Mapping[int, Process]) -> View:
        """What members tell."""
        standings = {node_id: self.settings.standing(one.began_with) for node_id, one in up.items()}
        return View(
            version=1,
            cluster_id=self.formed,
            leader=Claim(self.leader, self.term) if self.leader != NOBODY else None,
            transitions=self.term,
            members=tuple(
                Member(node_id, disk, "1", node_id in self.draining, config=standings.get(node_id))
                for node_id, disk in sorted(self.members.items())
            ),
            flanking=(),
            healthy=set(self.members) <= self.alive(),
            unhealthy_reasons=(),
            config=dict(self.settings.values),
            config_version=self.settings.version,
            under_replicated=any(
                not set(group.replicas) <= group.in_sync for group in self.groups.values()
            ),
            departed=tuple(sorted(self.departed)),
        )

    def survey(self) -> Survey:
        """The leader's."""
        places = len(set(self.members) - self.draining)
        return Survey(
            leader=Claim(self.leader, self.term),
            members=tuple(sorted(self.members)),
            nodes_down=tuple(sorted(set(self.members) - self.alive())),
            partitions=tuple(
                Partition(path, group.leader, tuple(group.replicas), tuple(sorted(group.in_sync)))
                for path, group in self.groups.items()
            ),
            stuck={
                node_id: "too few brokers are left"
                for node_id in self.draining
                if any(self.groups[path].size > places for path in self.holds(node_id))
            },
        )
