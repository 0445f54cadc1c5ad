"""What can be done to a cluster: one table, drawn from by a seeded source. Next: `runner`.

A fault only begins; `Machines.heal` ends all of them alike. `rows` are those of the fault matrix
(1 a crash, 2 a stall, 3 a partition, 4 one way of it, 5 clients alone, 6 loss and delay, 7 resets
and slow readers, 8 a full disk, 9 a failed write, 10 a failed sync, 11 a power cut, 12 a torn
write, 13 rot, 15 clocks, 16 a slow disk, 17 moves, 18 an empty disk, 19 two versions).
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping

from quorate_broker.testing.chaos import membership
from quorate_broker.testing.chaos.machines import Machines
from quorate_broker.testing.sabotage import Trouble

TOPIC = "chaos"
LOSS_PERCENT = (1, 30)
RESET_PERMILLE = (5, 100)
DELAY_MS = (1, 500)
SLOW_SYNC_S = (0.2, 1.0, 3.0)
CLOCK_MS = (-3_600_000, -60_000, 60_000, 3_600_000)
SLOW_READERS = 20
ROTTEN = 2
READY_S = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """Whom it is done to."""

    machines: Machines
    source: random.Random
    partitions: int

    def anyone(self) -> int:
        return self.source.choice(self.machines.node_ids)

    def leader(self) -> int:
        """Who leads some partition, or the cluster; anyone when nobody can say."""
        partition = self.source.randrange(-1, self.partitions)
        if partition == -1:
            return self.machines.controller() or self.anyone()
        return self.machines.leader(TOPIC, partition) or self.anyone()

    def some(self) -> list[int]:
        """One, two or all, in any order."""
        ids = list(self.machines.node_ids)
        return self.source.sample(ids, self.source.randint(1, len(ids)))

    def others(self, node_id: int) -> list[int]:
        return [other for other in self.machines.node_ids if other != node_id]


Begin = Callable[[Scene], str]
"""Does it, and says in words to whom."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """How it begins, and for how long it may last."""

    begin: Begin
    hold_s: tuple[float, float] = (2.0, 15.0)
    overlays: bool = False
    """It may be added to another fault: it concerns the network alone."""
    rows: tuple[int, ...] = (1,)
    concerns: str = "a broker"
    """For the report: what is in trouble."""


def kill_one(scene: Scene) -> str:
    node_id = scene.anyone()
    scene.machines.kill(node_id)
    return f"node {node_id}"


def kill_leader(scene: Scene) -> str:
    node_id = scene.leader()
    scene.machines.kill(node_id)
    return f"node {node_id}"


def kill_two(scene: Scene) -> str:
    ids = scene.source.sample(scene.machines.node_ids, 2)
    scene.machines.kill(*ids)
    return f"nodes {ids}"


def kill_all(scene: Scene) -> str:
    scene.machines.kill(*scene.machines.node_ids)
    return "all"


def pause_leader(scene: Scene) -> str:
    node_id = scene.leader()
    scene.machines.pause(node_id)
    return f"node {node_id}"


def pause(scene: Scene) -> str:
    ids = scene.some()
    for node_id in ids:
        scene.machines.pause(node_id)
    return f"nodes {ids}"


def partition(scene: Scene) -> str:
    node_id = scene.anyone()
    scene.machines.network.cut([node_id], scene.others(node_id))
    return f"node {node_id} | the others"


def partition_leader(scene: Scene) -> str:
    node_id = scene.leader()
    scene.machines.network.cut([node_id], scene.others(node_id))
    return f"node {node_id} | the others"


def deaf(scene: Scene) -> str:
    node_id = scene.leader()
    scene.machines.network.drop_from(node_id, scene.others(node_id))
    return f"node {node_id} hears no peer"


def mute(scene: Scene) -> str:
    node_id = scene.leader()
    for other in scene.others(node_id):
        scene.machines.network.drop_from(other, [node_id])
    return f"no peer hears node {node_id}"


def bridge(scene: Scene) -> str:
    one, other = scene.source.sample(scene.machines.node_ids, 2)
    scene.machines.network.cut([one], [other])
    return f"node {one} | node {other}"


def islands(scene: Scene) -> str:
    for node_id in scene.machines.node_ids:
        scene.machines.network.drop_from(node_id, scene.others(node_id))
    return "everybody alone"


def clients_cut(scene: Scene) -> str:
    node_id = scene.leader()
    scene.machines.network.cut_clients(node_id)
    return f"node {node_id} | clients"


def loss(scene: Scene) -> str:
    ids, percent = scene.some(), scene.source.randint(*LOSS_PERCENT)
    for node_id in ids:
        scene.machines.network.lose(node_id, percent)
    return f"{percent} % of what arrives at {ids}"


def resets(scene: Scene) -> str:
    ids, permille = scene.some(), scene.source.randint(*RESET_PERMILLE)
    for node_id in ids:
        scene.machines.network.reset(node_id, permille)
    return f"{permille / 10} % of what arrives at {ids}"


def disk_full(scene: Scene) -> str:
    ids = scene.some()
    for node_id in ids:
        scene.machines.disks.fill(node_id)
    return f"nodes {ids}"


def disk_stall(scene: Scene) -> str:
    node_id = scene.leader()
    scene.machines.disks.freeze(node_id)
    return f"node {node_id}"


def power_one(scene: Scene) -> str:
    node_id = scene.leader()
    scene.machines.lose_power(node_id)
    return f"node {node_id}"


def power_all(scene: Scene) -> str:
    scene.machines.lose_power(*scene.machines.node_ids)
    return "all"


def torn_tail(scene: Scene) -> str:
    ids = scene.some()
    scene.machines.kill(*ids)
    torn = [scene.machines.disks.tear(node_id, scene.source) for node_id in ids]
    return f"nodes {ids}, {sum(torn)} logs"


def restart_one(scene: Scene) -> str:
    node_id = scene.leader()
    code = scene.machines.terminate(node_id)
    scene.machines.start(node_id)
    return f"node {node_id}, exit code {code}"


def transfers(scene: Scene) -> str:
    """Leaders move about."""
    for partition_id in range(scene.partitions):
        target = scene.anyone()
        path = f"/v1/partitions/kafka/{TOPIC}/{partition_id}/transfer_leadership?target={target}"
        leader = scene.machines.leader(TOPIC, partition_id)
        if leader is not None:
            scene.machines.post(leader, path)
    return "every partition"


def rolling_restart(scene: Scene) -> str:
    """One after the other, each when the one before serves again."""
    machines = scene.machines
    codes = []
    for node_id in machines.node_ids:
        codes.append(machines.terminate(node_id))
        machines.start(node_id)
        if not machines.wait_ready(node_id, READY_S):
            return f"exit codes {codes}; node {node_id} not ready in {READY_S:.0f} s"
    return f"exit codes {codes}"


def delay(scene: Scene) -> str:
    ids, high = scene.some(), scene.source.randint(*DELAY_MS)
    for node_id in ids:
        scene.machines.network.delay(node_id, 0, high, scene.source.randrange(1 << 30))
    return f"up to {high} ms, in any order, of what arrives at {ids}"


def slow_reader(scene: Scene) -> str:
    """Connections that ask and ask and never read an answer."""
    node_id = scene.leader()
    for _ in range(SLOW_READERS):
        scene.machines.network.ask_and_never_read(node_id)
    return f"{SLOW_READERS} connections to node {node_id}"


def disk_slow(scene: Scene) -> str:
    node_id, seconds = scene.leader(), scene.source.choice(SLOW_SYNC_S)
    scene.machines.trouble(node_id, Trouble(sync_s=seconds))
    return f"node {node_id}, {seconds} s for each sync"


def sync_fails(scene: Scene) -> str:
    """And what was not synced is gone when the disk comes back: the kernel promises no less."""
    node_id = scene.leader()
    scene.machines.trouble(node_id, Trouble(fails=("sync", "sync_dir")))
    scene.machines.lose_power_at_heal(node_id)
    return f"node {node_id}"


def write_fails(scene: Scene) -> str:
    node_id = scene.leader()
    scene.machines.trouble(node_id, Trouble(fails=("pwrite",)))
    scene.machines.lose_power_at_heal(node_id)
    return f"node {node_id}"


def clock_jump(scene: Scene) -> str:
    off = {node_id: scene.source.choice(CLOCK_MS) for node_id in scene.some()}
    for node_id, wall_ms in off.items():
        scene.machines.trouble(node_id, Trouble(wall_ms=wall_ms))
    return ", ".join(f"node {i} by {ms / 60_000:+.0f} min" for i, ms in off.items())


def rot(scene: Scene) -> str:
    """Always of the same node, so that a good copy is left, whatever else happens."""
    return f"node {ROTTEN}: {scene.machines.disks.rot(ROTTEN, scene.source)}"


def rot_while_down(scene: Scene) -> str:
    """The journal of votes too: it is written anew at each start, so only one copy ever rots."""
    scene.machines.kill(ROTTEN)
    votes = scene.machines.disks.rot_votes(ROTTEN, scene.source)
    return f"{rot(scene)}, {votes}"


def wipe(scene: Scene) -> str:
    """The disk is lost, the address stays: somebody else comes back."""
    node_id = scene.anyone()
    scene.machines.kill(node_id)
    scene.machines.wipe(node_id)
    return f"node {node_id}"


def reassign(scene: Scene) -> str:
    """Every partition on one broker alone; when that is done, on all of them again.

    Not on the one whose bytes rot: what rotted there unseen would be the only copy.
    """
    return _reassign(scene, settles=True)


def reassign_and_kill(scene: Scene) -> str:
    """Turned round at once, and a leader dies in the midst of it."""
    return f"{_reassign(scene, settles=False)}; killed {kill_leader(scene)}"


def _reassign(scene: Scene, settles: bool) -> str:
    bootstrap = scene.machines.bootstrap
    node_id = scene.source.choice([one for one in scene.machines.node_ids if one != ROTTEN])
    here = {partition_id: [node_id] for partition_id in range(scene.partitions)}
    everywhere = {partition_id: list(scene.machines.node_ids) for partition_id in here}
    there = membership.reassign(bootstrap, TOPIC, here)
    if settles:
        settled = membership.wait_settled(bootstrap, READY_S)
        there += ", settled" if settled else ", not settled"
    back = membership.reassign(bootstrap, TOPIC, everywhere)
    return f"to node {node_id}: {there}; back to all: {back}"


def mixed_versions(scene: Scene) -> str:
    """Some are taken back to the version before, one by one; healing takes them forward again."""
    machines, ids = scene.machines, scene.some()
    codes = []
    for node_id in ids:
        codes.append(machines.terminate(node_id))
        machines.start_older(node_id)
        if not machines.wait_ready(node_id, READY_S):
            return f"exit codes {codes}; node {node_id} not ready in {READY_S:.0f} s"
    return f"nodes {ids} of the version before, exit codes {codes}"


NETWORK = (2.0, 20.0)
PAUSE = (1.0, 60.0)

LINKS, DISKS, MEMBERS = "the network", "a disk or a clock", "membership"

FAULTS: Mapping[str, Fault] = {
    "kill-one": Fault(kill_one),
    "kill-leader": Fault(kill_leader),
    "kill-two": Fault(kill_two),
    "kill-all": Fault(kill_all, (0.1, 5.0)),
    "pause-leader": Fault(pause_leader, (1.0, 20.0), rows=(2,)),
    "pause": Fault(pause, PAUSE, rows=(2,)),
    "partition": Fault(partition, NETWORK, overlays=True, rows=(3,), concerns=LINKS),
    "partition-leader": Fault(partition_leader, NETWORK, rows=(3, 5), concerns=LINKS),
    "deaf": Fault(deaf, NETWORK, rows=(4,), concerns=LINKS),
    "mute": Fault(mute, NETWORK, rows=(4,), concerns=LINKS),
    "bridge": Fault(bridge, NETWORK, overlays=True, rows=(4,), concerns=LINKS),
    "islands": Fault(islands, NETWORK, rows=(3,), concerns=LINKS),
    "clients-cut": Fault(clients_cut, NETWORK, rows=(5,), concerns=LINKS),
    "loss": Fault(loss, NETWORK, overlays=True, rows=(6,), concerns=LINKS),
    "resets": Fault(resets, NETWORK, overlays=True, rows=(7,), concerns=LINKS),
    "delay": Fault(delay, NETWORK, overlays=True, rows=(6,), concerns=LINKS),
    "slow-reader": Fault(slow_reader, NETWORK, overlays=True, rows=(7,), concerns=LINKS),
    "disk-full": Fault(disk_full, (5.0, 15.0), rows=(8,), concerns=DISKS),
    "disk-slow": Fault(disk_slow, (3.0, 15.0), rows=(16,), concerns=DISKS),
    "sync-fails": Fault(sync_fails, (1.0, 8.0), rows=(10,), concerns=DISKS),
    "write-fails": Fault(write_fails, (1.0, 8.0), rows=(9,), concerns=DISKS),
    "clock-jump": Fault(clock_jump, (2.0, 15.0), rows=(15,), concerns=DISKS),
    "rot": Fault(rot, (1.0, 5.0), rows=(13,), concerns=DISKS),
    "rot-while-down": Fault(rot_while_down, (0.1, 3.0), rows=(13,), concerns=DISKS),
    "wipe": Fault(wipe, (0.1, 5.0), rows=(18,), concerns=MEMBERS),
    "reassign": Fault(reassign, (0.1, 5.0), rows=(17,), concerns=MEMBERS),
    "reassign-and-kill": Fault(reassign_and_kill, (0.1, 5.0), rows=(17,), concerns=MEMBERS),
    "disk-stall": Fault(disk_stall, (1.0, 10.0), rows=(16,), concerns=DISKS),
    "power-one": Fault(power_one, (0.1, 5.0), rows=(11,), concerns=DISKS),
    "power-all": Fault(power_all, (0.1, 5.0), rows=(11,), concerns=DISKS),
    "torn-tail": Fault(torn_tail, (0.1, 5.0), rows=(12,), concerns=DISKS),
    "restart": Fault(restart_one, (1.0, 8.0), rows=(19,)),
    "rolling-restart": Fault(rolling_restart, (0.1, 2.0), rows=(19,)),
    "mixed-versions": Fault(mixed_versions, (3.0, 10.0), rows=(19,)),
    "transfers": Fault(transfers, (1.0, 3.0), rows=(17,)),
}
DISK_FAILS = frozenset({"disk-full", "sync-fails", "write-fails"})
"""A broker may choose to end under these; under the others it must not."""
