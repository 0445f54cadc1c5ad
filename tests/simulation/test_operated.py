"""Real operator on real brokers: one thread, one seed, virtual time, and clients all the while.

The operator's passes, lease and plans talk to its model of Kubernetes; the pods of that model are
whole brokers of the brokers' own simulator, reached by their own Admin API. Here the two meet, as
the two packages share no code: the brokers' scheduler moves everything, and the operator's world
is one more event loop on it. What acknowledged records, consensus and disks must keep is watched by
the brokers' checks, what an operator must never do by the operator's laws.

    python tests/simulation/test_operated.py FIRST COUNT [--tell]    runs seeds by hand
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import functools
import json
import random
import sys
import time
import tomllib
from collections import Counter

import pytest

from quorate_broker import config
from quorate_broker.admin import app as admin_app
from quorate_broker.raft.core import Role
from quorate_broker.testing.simdisk import SimDisk
from quorate_broker.testing.simulation.clock import HostClock, Scheduler
from quorate_broker.testing.simulation.report import Trace
from quorate_broker.testing.simulation.whole import cluster as whole
from quorate_broker.testing.simulation.whole import options as drawing
from quorate_broker.testing.simulation.whole.admin import Admin
from quorate_broker.testing.simulation.whole.clients import TOPIC, Producer, Reader
from quorate_broker.testing.simulation.whole.history import History
from quorate_broker.testing.simulation.whole.loop import VirtualLoop
from quorate_broker.testing.simulation.whole.machine import Machine
from quorate_broker.testing.simulation.whole.tcp import Fabric
from quorate_broker.testing.simulation.whole.watch import Watch
from quorate_operator import admin as asking
from quorate_operator import brokers as following
from quorate_operator.admin import AdminError
from quorate_operator.testing.simulation.cluster import now_s
from quorate_operator.testing.simulation.hearing import Addresses
from quorate_operator.testing.simulation.loop import pass_time
from quorate_operator.testing.simulation.options import Options
from quorate_operator.testing.simulation.people import People
from quorate_operator.testing.simulation.world import World, silent

QUICK = range(3)
LONG = range(100, 140)
PARTITIONS = 2
MOST_S = 1200
QUIET_S = 15.0
LOOK_S = 0.25
MOST_BROKERS = 6
NOBODY = -1
SOUND = {"reset": 0.0, "disk_error": 0.0, "misread": 0.0, "older": 0.0, "wipe": 0, "rot": 0}
"""Disks and connections are; the trouble comes from above."""


@dataclasses.dataclass
class Process:
    """What the operator's laws ask of a pod's process."""

    node_id: int
    pod: dict
    disk: str
    machine: Machine
    leaving: bool = False


class Pod(Machine):
    """A broker as the operator's ConfigMap tells it to be."""

    def __init__(self, hosts: Hosts, node_id: int) -> None:
        super().__init__(hosts.whole, node_id, node_id)
        self._hosts = hosts

    def _settings(self) -> config.Settings:
        told = tomllib.loads(self._hosts.file())
        seeds = [int(seed.partition("@")[0]) for seed in told["seeds"]]
        self._seeds = max(seeds)
        settings = super()._settings()
        return dataclasses.replace(settings, cluster_id=told["cluster.id"])


class Hosts:
    """The brokers' machines, as pods of the operator's model see them."""

    def __init__(self, world: Operated) -> None:
        self.whole = world.whole
        self.processes: dict[str, Process] = {}
        self.machines: dict[int, Pod] = {}
        self.became_ready = lambda node_id: None
        self._world = world
        self._disks: dict[str, SimDisk] = {}
        self._restarts: dict[str, float] = {}
        cluster = world.cluster
        cluster.started, cluster.stopping, cluster.stopped = self._on, self._sigterm, self._off

    def file(self) -> str:
        found = self._world.cluster.find("configmaps", "orders-config")
        assert found is not None
        return found["data"]["quorate.toml"]

    # ------------------------------------------------------------------ kubelets, for all nodes

    def _on(self, pod: dict) -> None:
        metadata = pod["metadata"]
        if "-flanking-" in metadata["name"]:
            self._world.cluster.ready(pod, True)
            return
        node_id = int(metadata["name"].rpartition("-")[2]) + 1
        claim = self._world.cluster.claim_of(pod)
        machine = self.machines.get(node_id)
        if machine is None:
            machine = self.machines[node_id] = Pod(self, node_id)
            machine.has_faults = False
        disk = claim["metadata"]["uid"]
        if disk not in self._disks:
            self._disks[disk] = SimDisk(self.whole.dice)
        machine.disk = self._disks[disk]
        self.processes[metadata["uid"]] = Process(node_id, pod, disk, machine)
        machine.start()

    def _sigterm(self, pod: dict) -> None:
        one = self.processes.get(pod["metadata"]["uid"])
        if one is not None:
            one.leaving = True
            one.machine.stop()

    def _off(self, pod: dict) -> None:
        one = self.processes.pop(pod["metadata"]["uid"], None)
        if one is not None:
            one.machine.kill()

    async def run(self) -> None:
        """Probes, and containers that are started again."""
        while True:
            await pass_time(LOOK_S)
            for uid, one in list(self.processes.items()):
                if one.leaving:
                    continue
                if one.machine.is_up:
                    self._restarts.pop(uid, None)
                elif now_s() >= self._restarts.setdefault(uid, now_s() + 2):
                    one.machine.start()
                ready = one.machine.is_serving
                if ready:
                    self.became_ready(one.node_id)
                self._world.cluster.ready(one.pod, ready)

    def crash(self, node_id: int) -> None:
        self.machines[node_id].power_cut()

    def lose(self, node_id: int) -> None:
        self.machines[node_id].kill()

    def cut(self, node_id: int, *, off: bool) -> None:
        """Only the model does that."""

    # -------------------------------------------------------------------------- what is true

    def _leader(self) -> Machine | None:
        """Who leads the metadata group, in the highest term."""
        found = [
            (each.replica.term, machine.node_id, machine)
            for machine in self.machines.values()
            for each in self._partitions(machine)
            if each.replica.role is Role.LEADER and each.group == self._metadata(machine)
        ]
        return max(found)[2] if found else None

    def _partitions(self, machine: Machine) -> list:
        parts = machine.node.parts if machine.node is not None else None
        return list(parts.shelf) if parts is not None else []

    def _metadata(self, machine: Machine) -> str:
        return machine.node.parts.controller.partition.group

    def overview(self):
        """The leader's; None while nobody leads."""
        machine = self._leader()
        return machine.node._view.overview() if machine is not None else None

    @property
    def leader(self) -> int:
        machine = self._leader()
        return machine.node_id if machine else NOBODY

    @property
    def term(self) -> int:
        machine = self._leader()
        return machine.node.parts.controller.partition.replica.term if machine else 0

    @property
    def members(self) -> dict[int, str]:
        """Node ids of all that were admitted, as the leader's Admin API tells them."""
        machine = self._leader()
        if machine is None:
            return self._members
        rows = shown(machine.node._view.overview())
        self._members = {row["node_id"]: "" for row in rows}
        return self._members

    _members: dict[int, str] = {}  # noqa: RUF012 - of the last leader

    @property
    def draining(self) -> set[int]:
        machine = self._leader()
        rows = shown(machine.node._view.overview()) if machine else []
        return {row["node_id"] for row in rows if row["membership_status"] == "draining"}

    @property
    def departed(self) -> set[int]:
        overview = self.overview()
        return set(overview.departed) if overview is not None else set()

    def holds(self, node_id: int) -> list[str]:
        """Groups that count on it, by their leaders."""
        return [
            each.group
            for machine in self.machines.values()
            for each in self._partitions(machine)
            if each.replica.serving
            and any(peer.node_id == node_id for peer in each.replica.members.voters)
        ]

    def is_whole(self) -> bool:
        """Everybody serves, every group has all its voters in sync."""
        running = {one.node_id for one in self.processes.values() if one.machine.is_serving}
        if not self.members or set(self.members) - running:
            return False
        groups: dict[str, bool] = {}
        for machine in self.machines.values():
            for each in self._partitions(machine):
                replica = each.replica
                if replica.serving:
                    members = replica.members
                    fine = not members.joint and not members.learners
                    groups[each.group] = fine and len(replica.in_sync) >= len(members.voters)
                else:
                    groups.setdefault(each.group, False)
        return bool(groups) and all(groups.values())


def shown(overview) -> list[dict]:
    from quorate_broker.admin import shapes

    return shapes.brokers(overview)


# ------------------------------------------------------------------- the operator's connections


class Lines:
    """Each process of an operator asks brokers by their own Admin API, without sockets."""

    def __init__(self, world: Operated) -> None:
        self._world = world

    def connect(self, life):
        return Hearing(self._world, life), Asking(self._world, life)


class Caller:
    def __init__(self, world: Operated, life) -> None:
        self.addresses = Addresses()
        self._world = world
        self._life = life

    async def ask(self, method: str, host: str, path: str):
        """(status, body) of a request to a broker; OSError when nobody is there."""
        await self._life.pass_time()
        machine = self._world.brokers.machines.get(node_of(host))
        if machine is None or machine.node is None:
            raise ConnectionRefusedError(host)
        done = asyncio.get_running_loop().create_future()
        scheduler, home = self._world.whole.scheduler, asyncio.get_running_loop()

        def deliver(status: int, body: bytes) -> None:
            if not home.is_closed() and not done.done():
                home.call_soon(lambda: done.done() or done.set_result((status, body)))

        app = app_of(machine.node)
        task = machine.loop.start(respond(app, method, path, deliver, scheduler))
        try:
            async with asyncio.timeout(2.0 if method == "GET" else 10.0):
                status, body = await done
        finally:
            if machine.loop is not None and not task.done():
                machine.loop.call_soon(task.cancel)
        return status, json.loads(body) if body else None


@functools.lru_cache(maxsize=8)
def app_of(node):
    """A broker makes it once."""
    return admin_app.build(node._view)


async def respond(app, method: str, path: str, deliver, scheduler) -> None:
    """One request in the broker's own loop."""
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [],
        "client": ("10.0.1.1", 1),
        "server": ("10.0.0.1", 9644),
    }
    told = {"status": 500, "body": b""}
    sent = False

    async def receive():
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.get_running_loop().create_future()

    async def send(message) -> None:
        if message["type"] == "http.response.start":
            told["status"] = message["status"]
        else:
            told["body"] += message.get("body", b"")

    await app(scope, receive, send)
    scheduler.after(500, lambda: deliver(told["status"], told["body"]))


class Hearing(Caller):
    """`workers.Sources`: the watch, polled."""

    def doubt(self, host: str) -> None:
        """It is asked soon anyway."""

    async def follow(self, host: str, tell) -> None:
        last, first = None, True
        while True:
            view = None
            try:
                status, body = await self.ask("GET", host, "/v1/watch?after=-1&timeout_ms=0")
                view = following.parse(body) if status == 200 else None
                if view is not None:  # the machines' settings are the simulator's, not the spec's
                    view = dataclasses.replace(view, feature_level=0, config={}, config_version=0)
            except (OSError, TimeoutError, ValueError):
                pass
            told = view and dataclasses.replace(view, version=0)
            if first or told != last:
                tell(view)
            first, last = False, told
            await pass_time(self._life.random.uniform(0.3, 0.6))


class Asking(Caller):
    """`admin.Admin`: the operator's own reading of the answers."""

    async def survey(self, host: str):
        try:
            members = await self._get(host, "/v1/brokers")
            health = await self._get(host, "/v1/cluster/health_overview")
            partitions = await self._get(host, "/v1/partitions")
            drains = {
                one["node_id"]: await self._get(host, f"/v1/brokers/{one['node_id']}/decommission")
                for one in members
                if one["membership_status"] == "draining"
            }
            found = asking.survey(members, health, partitions, drains)
        except (OSError, TimeoutError, ValueError, KeyError, TypeError, AdminError):
            return None
        self._life.answered(found)
        return found

    async def transfer(self, host: str, to: int) -> None:
        await self._do("POST", host, f"/v1/raft/0/transfer_leadership?target={to}")

    async def decommission(self, host: str, node_id: int, *, leave: bool) -> None:
        verb = "decommission" if leave else "recommission"
        await self._do("PUT", host, f"/v1/brokers/{node_id}/{verb}")

    async def _get(self, host: str, path: str):
        status, body = await self.ask("GET", host, path)
        if status != 200:
            raise AdminError(str(body))
        return body

    async def _do(self, method: str, host: str, path: str) -> None:
        try:
            status, body = await self.ask(method, host, path)
        except (OSError, TimeoutError) as error:
            raise AdminError(repr(error)) from error
        if status >= 300:
            raise AdminError(str(body))
        self._world.ordered(f"{method} {path}")
        self._world.report.seen[path.rpartition("/")[2].partition("?")[0]] += 1
        await self._life.effect()


def node_of(host: str) -> int:
    return int(host.partition(".")[0].rpartition("-")[2]) + 1


# ------------------------------------------------------------------------------------- the world


class Operated(World):
    """The operator's world, in the brokers' time."""

    def __init__(self, seed: int) -> None:
        dice = random.Random(f"operated {seed}")
        self.scheduler = Scheduler()
        self.trace = Trace(self.scheduler, None)
        speed = dataclasses.replace(
            drawing.draw(dice), nodes=3, partitions=PARTITIONS, retention_bytes=-1, **SOUND
        )
        seen: Counter[str] = Counter()
        fabric = Fabric(self.scheduler, dice, speed, seen)
        self.whole = whole.Cluster(
            self.scheduler, dice, speed, fabric, seen, self.trace, Watch(seen)
        )
        self.home = VirtualLoop(
            fabric, "10.0.1.1", HostClock(self.scheduler, 0, 1_000_000, 0), lambda: 0
        )
        options = Options(
            replicas=3,
            when_scaled=dice.choice(("Retain", "Delete")),
            nodes=5,
            refused=dice.choice((0.0, 0.01)),
            lost=dice.choice((0.0, 0.01)),
            killed=dice.choice((0.0, 0.003)),
        )
        super().__init__(seed, options)
        self.quiet_s = QUIET_S
        self.history = History()
        self.producers = [
            Producer(self.whole, self.history, 3, name) for name in ("idem0", "idem1")
        ]
        self._reader = Reader(self.whole, self.history, 3, "reader")
        self._admin = Admin(self.whole, self.history, 3, "admin")

    def make_brokers(self):
        return Hosts(self)

    def make_lines(self):
        return Lines(self)

    def tell_life(self) -> None:
        """From nothing to the end of the story."""
        story = self.home.start(self.live(self._story()))
        try:
            while not story.done():
                assert self.scheduler.now_us < MOST_S * 1_000_000, "no end"
                self.scheduler.step()
                self._check()
            story.result()
            assert self.laws.breach == "", self.laws.breach
        finally:
            for machine in self.brokers.machines.values():
                machine.kill()
            self.whole.fabric.process_died(self.home, is_silent=True)
            self.home.abandon()

    def _check(self) -> None:
        assert not self.whole.troubles, self.whole.troubles[:1]
        assert not self.home.troubles, self.home.troubles[0]
        for machine in self.brokers.machines.values():
            assert machine.loop is None or not machine.loop.troubles, machine.loop.troubles[0]

    async def _story(self) -> None:
        async with asyncio.TaskGroup() as group:
            await self.rest()
            await self._admin.make(TOPIC, PARTITIONS, 3)
            clients = [group.create_task(one.run()) for one in self.producers]
            changes = list(CHANGES)
            self.random.shuffle(changes)
            for change in changes[:2]:
                name = change.__name__.strip("_").replace("_", " ")
                self.note(name)
                self.saw(name)
                await change(self)
            for one in self.producers:
                one.is_stopped = True
            await asyncio.wait(clients)
            self.history.judge(TOPIC, await self._read_all(), dict.fromkeys(range(PARTITIONS), 0))
            self.note(f"{len(self.history.acked)} acknowledged")

    async def rest(self) -> None:
        """All is as the spec says, and every group is whole; faults go on afterwards."""
        before = dataclasses.replace(self.trouble)
        await super().rest()
        self.trouble.__dict__.update(dataclasses.asdict(before))

    def unfinished(self) -> str:
        found = super().unfinished()
        return found or ("" if self.brokers.is_whole() else "some replica is not in sync")

    async def _read_all(self) -> dict:
        found: dict[int, dict[int, bytes]] = {}
        for partition in range(PARTITIONS):
            values = found[partition] = {}
            offset, idle = 0, 0
            while idle < 3:
                some = await self._reader.fetch(partition, offset)
                if some is None:
                    await pass_time(0.1)
                    continue
                idle += some.next_offset == offset
                values.update(some.records)
                offset = some.next_offset
        return found


async def _all_are_restarted(world: Operated) -> None:
    People.asks_for_a_restart(world.people)
    await world.rest()


async def _another_image(world: Operated) -> None:
    world.people.edit(version="2.0")
    await pass_time(world.random.uniform(1, 20))
    world.operators[world.random.randrange(2)].kill()
    await world.rest()


async def _out_and_in_again(world: Operated) -> None:
    world.people.edit(replicas=5)
    await world.rest()
    world.people.edit(replicas=3)
    await world.rest()


async def _in_and_out_again(world: Operated) -> None:
    """Who left is taken back, on the disk that it left with or on another."""
    await _out_and_in_again(world)
    await _out_and_in_again(world)


async def _volumes_of_another_class(world: Operated) -> None:
    while not world.brokers.is_whole():  # all of them have formed, and are filled
        await pass_time(0.2)
    wanted = {"class": "fast", "replace": "Guided"}
    world.people.edit(storage={**world.people.spec["storage"], **wanted})
    await world.rest()


async def _a_volume_is_lost(world: Operated) -> None:
    while not world.brokers.is_whole():  # what it loses has to be elsewhere too
        await pass_time(0.2)
    node_id = world.random.choice(sorted(world.brokers.members))
    world.brokers.lose(node_id)
    name = f"orders-broker-{node_id - 1}"
    world.cluster.store.delete(("persistentvolumeclaims", "shop", f"data-{name}"))
    world.cluster.remove("somebody", ("pods", "shop", name))
    await pass_time(1)
    await world.rest()


async def _a_broker_loses_power_in_a_roll(world: Operated) -> None:
    People.asks_for_a_restart(world.people)
    await pass_time(world.random.uniform(1, 20))
    world.brokers.crash(world.random.choice(sorted(world.brokers.members)))
    await world.rest()


CHANGES = (
    _all_are_restarted,
    _another_image,
    _out_and_in_again,
    _in_and_out_again,
    _volumes_of_another_class,
    _a_volume_is_lost,
    _a_broker_loses_power_in_a_roll,
)


def run(seed: int, tell=None) -> Operated:
    with silent():
        world = Operated(seed)
        if tell is not None:
            world.tell = world.trace._tell = tell
        world.tell_life()
    return world


@functools.cache
def outcome(seed: int) -> tuple[int, int, int]:
    """(acknowledged records, sum over the operator's world, sum over the brokers')."""
    world = run(seed)
    return len(world.history.acked), world.report.trace, world.trace.checksum


@pytest.mark.parametrize("seed", QUICK)
def test_real_brokers_under_the_real_operator_lose_nothing(seed):
    acked, *_ = outcome(seed)
    assert acked > 50


def test_the_same_seed_is_the_same_run():
    world = run(QUICK[0])
    assert (world.report.trace, world.trace.checksum) == outcome(QUICK[0])[1:]


@pytest.mark.full
@pytest.mark.parametrize("seed", LONG)
def test_many_seeds_of_both_lose_nothing(seed):
    acked, *_ = outcome(seed)
    assert acked > 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--tell", action="store_true")
    chosen = parser.parse_args()
    for seed in range(chosen.first, chosen.first + chosen.count):
        began_s = time.process_time()
        world = run(seed, (lambda line: print(line, flush=True)) if chosen.tell else None)
        took_s = time.process_time() - began_s
        acked, virtual_s = len(world.history.acked), world.scheduler.now_us // 1_000_000
        print(f"seed {seed}: {acked} acknowledged, {virtual_s} s, {took_s:.1f} s of a core")
        print(dict(world.report.seen), flush=True)


if __name__ == "__main__":
    sys.exit(main())
