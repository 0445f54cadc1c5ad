"""Brokers in virtual time: they form, elect, replicate, join, drain and leave, as the real ones do.

What they hold is sets, not bytes: a partition has replicas, and some of them are in sync. A broker
that was away is out of sync until it has caught up; one on another volume is another incarnation
that has to catch up from nothing. `views` and `Admin` are how the operator sees them: late.

Read next: `world.py`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import random
from collections.abc import Callable
from typing import Final

from quorate_operator.admin import AdminError
from quorate_operator.facts import Claim, Member, Partition, Survey, View
from quorate_operator.testing.objects import Json
from quorate_operator.testing.simulation.kubernetes import Cluster

NOBODY: Final = -1
CATCH_UP_S: Final = 5.0


@dataclasses.dataclass
class Process:
    """A broker's process in a pod."""

    node_id: int
    pod: Json
    disk: str
    """The uid of the claim it runs on."""
    boots_at_s: float
    up: bool = False
    view: View | None = None
    """What the operator last heard of it."""
    heard_s: float = 0.0
    retired: bool = False
    """It has left the cluster; only another process on that disk may come in again."""


@dataclasses.dataclass
class Group:
    """One partition."""

    replicas: list[int]
    in_sync: set[int]
    size: int
    leader: int = NOBODY


class Brokers:
    """All brokers of one cluster."""

    def __init__(self, cluster: Cluster, source: random.Random, partitions: int) -> None:
        self._cluster = cluster
        self._random = source
        self._wanted_partitions = partitions
        self.flips = 0.002
        """Chance that another one is elected, for no reason."""
        self.formed = ""
        self.members: dict[int, str] = {}
        """Node id to the disk it was admitted with."""
        self.voters: dict[int, float] = {}
        """Members to when they vote: who comes is a learner until it has caught up."""
        self.draining: set[int] = set()
        self.leader = NOBODY
        self.term = 0
        self.groups: dict[str, Group] = {}
        self.processes: dict[str, Process] = {}
        """By uid of the pod."""
        self.became_ready: Callable[[int], None] = lambda node_id: None
        cluster.started = self._started
        cluster.stopped = self._stopped

    def alive(self) -> set[int]:
        return {
            one.node_id
            for one in self.processes.values()
            if one.up and self.members.get(one.node_id, one.disk) == one.disk
        }

    def holds(self, node_id: int) -> list[str]:
        return [path for path, group in self.groups.items() if node_id in group.replicas]

    def crash(self, node_id: int) -> None:
        """Its container ends, and is started again after a while."""
        for one in self.processes.values():
            if one.node_id == node_id and one.up:
                self._down(one)
                one.boots_at_s = _now() + self._random.uniform(1, 20)

    def lose(self, node_id: int) -> None:
        """Its disk is gone, and with it whatever runs on it."""
        for one in self.processes.values():
            if one.node_id == node_id:
                self._down(one)
                one.boots_at_s = math.inf
        self._lost(node_id)

    def transfer(self, to: int) -> None:
        if to not in self.alive() or self.voters.get(to, math.inf) > _now():
            raise AdminError(f"broker {to} cannot lead")
        self.leader, self.term = to, self.term + 1

    def decommission(self, node_id: int, *, leave: bool) -> None:
        if node_id not in self.members:
            raise AdminError(f"broker {node_id} is not known")
        if leave:
            self.draining.add(node_id)
        else:
            self.draining.discard(node_id)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(0.05, 0.5))
            self._boot()
            self._form()
            self._elect()
            self._join()
            self._replicate()
            self._drain()
            self._tell()

    def _started(self, pod: Json) -> None:
        metadata = pod["metadata"]
        claim = self._cluster.find("persistentvolumeclaims", f"data-{metadata['name']}")
        node_id = int(metadata["name"].rpartition("-")[2]) + 1
        if "-flanking-" in metadata["name"]:
            self._cluster.ready(pod, True)
            return
        disk = claim["metadata"]["uid"] if claim else metadata["uid"]
        boots_at_s = _now() + self._random.uniform(0.5, 4)
        self.processes[metadata["uid"]] = Process(node_id, pod, disk, boots_at_s)

    def _stopped(self, pod: Json) -> None:
        one = self.processes.pop(pod["metadata"]["uid"], None)
        if one is not None and one.up:
            self._down(one)

    def _down(self, one: Process) -> None:
        one.up = False
        for group in self.groups.values():
            if len(group.in_sync) > 1:
                group.in_sync.discard(one.node_id)
            if group.leader == one.node_id:
                group.leader = NOBODY
        if self.leader == one.node_id:
            self.leader = NOBODY
        self._cluster.ready(one.pod, False)

    def _boot(self) -> None:
        for one in self.processes.values():
            if not one.up and one.boots_at_s <= _now():
                one.up = True
            member = self.members.get(one.node_id) == one.disk
            serving = one.up and bool(self.formed) and member
            if "deletionTimestamp" not in one.pod["metadata"]:
                if serving:
                    self.became_ready(one.node_id)
                self._cluster.ready(one.pod, serving)

    def _form(self) -> None:
        workload = next(
            (
                one
                for one in self._cluster.objects("statefulsets")
                if one["metadata"]["name"].endswith("-broker")
            ),
            None,
        )
        if self.formed or workload is None:
            return
        up = {one.node_id: one.disk for one in self.processes.values() if one.up}
        if len(up) < workload["spec"]["replicas"] or not up:
            return
        self.formed, self.members = "id-1", up
        self.voters = dict.fromkeys(up, 0.0)
        ids = sorted(up)
        for number in range(self._wanted_partitions):
            size = min(len(ids), self._random.choice((1, 3, 3, 3)))
            replicas = self._random.sample(ids, size)
            self.groups[f"kafka/orders/{number}"] = Group(replicas, set(replicas), size)

    def _elect(self) -> None:
        voters = {node_id for node_id, since_s in self.voters.items() if since_s <= _now()}
        alive = self.alive() & voters
        for node_id in set(self.voters) - voters - self.alive():
            self.voters[node_id] = _now() + CATCH_UP_S
        if self.leader not in alive or 2 * len(alive) <= len(voters):
            self.leader = NOBODY
        if self.leader == NOBODY and 2 * len(alive) > len(voters):
            if self._random.random() < 0.4:
                self.leader, self.term = self._random.choice(sorted(alive)), self.term + 1
        elif alive and self._random.random() < self.flips:
            self.leader, self.term = self._random.choice(sorted(alive)), self.term + 1

    def _join(self) -> None:
        """A process on another disk than its member's is another incarnation, from nothing."""
        if self.leader == NOBODY:
            return
        for one in self.processes.values():
            known = self.members.get(one.node_id)
            if one.up and not one.retired and known != one.disk and self._random.random() < 0.3:
                if known is not None:
                    self._lost(one.node_id)
                self.members[one.node_id] = one.disk
                self.voters[one.node_id] = _now() + CATCH_UP_S

    def _lost(self, node_id: int) -> None:
        for group in self.groups.values():
            group.in_sync.discard(node_id)

    def _replicate(self) -> None:
        alive = self.alive() & {
            node_id
            for node_id, disk in self.members.items()
            if any(one.disk == disk for one in self.processes.values())
        }
        for group in self.groups.values():
            if group.leader not in group.in_sync & alive:
                group.leader = NOBODY
            for node_id in sorted(group.in_sync & alive):
                if group.leader == NOBODY and self._random.random() < 0.5:
                    group.leader = node_id
            for node_id in sorted((set(group.replicas) & alive) - group.in_sync):
                if group.leader != NOBODY and self._random.random() < 0.15:
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
                self.members.pop(node_id, None)
                self.voters.pop(node_id, None)
                for one in self.processes.values():
                    one.retired = one.retired or one.node_id == node_id

    def _move(self, group: Group, node_id: int) -> None:
        """Whole: the new replica is in sync before the old one goes."""
        free = self.alive() & set(self.members) - self.draining - set(group.replicas)
        if group.leader == NOBODY or not free:
            return
        target = self._random.choice(sorted(free))
        group.replicas = [target if one == node_id else one for one in group.replicas]
        group.in_sync = (group.in_sync - {node_id}) | {target}
        if group.leader == node_id:
            group.leader = NOBODY

    def _tell(self) -> None:
        """The operator hears of each broker now and then, and some time later that one is gone."""
        for one in self.processes.values():
            if one.up and self._random.random() < 0.5:
                one.view, one.heard_s = self._view(one), _now()
            elif not one.up and _now() - one.heard_s > 2.5:
                one.view = None

    def _view(self, one: Process) -> View:
        led = self.leader != NOBODY and self.members.get(one.node_id) == one.disk
        members = tuple(
            Member(node_id, disk, "1", node_id in self.draining)
            for node_id, disk in sorted(self.members.items())
        )
        return View(
            version=1,
            cluster_id=self.formed if self.members.get(one.node_id) == one.disk else "",
            leader=Claim(self.leader, self.term) if led else None,
            transitions=self.term,
            members=members,
            flanking=(),
            healthy=set(self.members) <= self.alive(),
            unhealthy_reasons=(),
        )

    def views(self) -> dict[str, View]:
        return {
            uid: one.view for uid, one in self.processes.items() if one.view and one.view.version
        }

    def survey(self) -> Survey:
        leaderless = {
            path: NOBODY if group.leader == NOBODY else group.leader
            for path, group in self.groups.items()
        }
        places = len(set(self.members) - self.draining)
        return Survey(
            leader=Claim(self.leader, self.term),
            members=tuple(sorted(self.members)),
            nodes_down=tuple(sorted(set(self.members) - self.alive())),
            partitions=tuple(
                Partition(
                    path, leaderless[path], tuple(group.replicas), tuple(sorted(group.in_sync))
                )
                for path, group in self.groups.items()
            ),
            stuck={
                node_id: "too few brokers are left"
                for node_id in self.draining
                if any(self.groups[path].size > places for path in self.holds(node_id))
            },
        )


class ModelAdmin:
    """`admin.Admin` over the model; `silence` is the chance that a call is not answered."""

    def __init__(
        self, brokers: Brokers, source: random.Random, silence: Callable[[], float]
    ) -> None:
        self._brokers = brokers
        self._random = source
        self._silence = silence

    async def survey(self, host: str) -> Survey | None:
        if not await self._reached(host) or self._brokers.leader == NOBODY:
            return None
        found = self._brokers.survey()
        await asyncio.sleep(self._random.uniform(0, 0.2))
        return found

    async def transfer(self, host: str, to: int) -> None:
        if not await self._reached(host):
            raise AdminError("no answer")
        self._brokers.transfer(to)

    async def decommission(self, host: str, node_id: int, *, leave: bool) -> None:
        if not await self._reached(host) or self._brokers.leader == NOBODY:
            raise AdminError("no answer")
        self._brokers.decommission(node_id, leave=leave)

    async def _reached(self, host: str) -> bool:
        await asyncio.sleep(self._random.uniform(0, 0.2))
        if self._random.random() < self._silence():
            return False
        node_id = int(host.partition(".")[0].rpartition("-")[2]) + 1
        return node_id in self._brokers.alive()


def _now() -> float:
    return asyncio.get_running_loop().time()
