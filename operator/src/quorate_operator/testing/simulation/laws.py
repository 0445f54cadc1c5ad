"""What must never happen, watched at every write and after every turn of the world.

1. Never two brokers down by the operator's hand.
2. Nor one while another was already seen down by the very look that decided it (the budget).
3. A broker that leads is not taken down: it hands over first.
4. No pod goes for good, no volume is deleted, before its broker has left; or, of a volume that is
   given up for an empty one, before the leader has just said that all of it is elsewhere too.
   Nobody's last copy goes.
5. The number of flanking nodes that an autoscaler sets is never lowered by anybody else.
6. The epoch in the status never goes back, never names two, and is never older than what this
   operator had heard when its pass began.

The seventh, that with no more trouble everything comes to rest and is written to no more, is
`world.py`'s. The first breach ends the run.
"""

from __future__ import annotations

from collections.abc import Callable

from quorate_operator.facts import Survey
from quorate_operator.testing.objects import Json
from quorate_operator.testing.simulation.brokers import Brokers
from quorate_operator.testing.simulation.cluster import Cluster, is_ready, now_s


class Laws:
    """Told of every deletion, every change and every turn."""

    def __init__(self, cluster: Cluster, brokers: Brokers) -> None:
        self._cluster = cluster
        self._brokers = brokers
        self._taken_down: dict[int, str] = {}
        """Brokers that the operator took down and that have not served since, by their pod."""
        self._unready_since: dict[str, float] = {}
        """Pods of brokers that the API does not tell as ready."""
        self._flanking = 0
        self._leader: tuple[int, int] = (0, 0)
        """(epoch, node id) that was told last."""
        self.looked_s = 0.0
        """When the operator that writes now last looked at the pods."""
        self.heard_term = 0
        """The highest term that it was being told when its pass began."""
        self.asked: Survey | None = None
        """What the leader said when it last asked; it acts on no older answer."""
        self.asked_s = 0.0
        """When that was."""
        self.breach = ""
        """The first law that was broken, and how."""
        self.stop: Callable[[], object] = lambda: None
        """Ends the run."""
        brokers.became_ready = self._back
        cluster.taken.append(self.taking)
        cluster.store.watchers.append(self._changed)

    def broken(self, sentence: str) -> None:
        """Kept, not raised: what is raised within a pass, the operator takes care of."""
        if not self.breach:
            self.breach = sentence
            self.stop()

    def _back(self, node_id: int) -> None:
        self._taken_down.pop(node_id, None)

    # ------------------------------------------------------------------------------ deletions

    def taking(self, who: str, found: Json) -> None:
        """Before anything is deleted."""
        name = found["metadata"]["name"]
        node_id = _broker(name)
        if not node_id:
            return
        if name.startswith("data-"):
            if who == "operator":
                self._volume(node_id, name)
        elif who == "operator":
            self._restart(node_id, found)
        elif who == "controller":
            self._removal(node_id, name)

    def _restart(self, node_id: int, pod: Json) -> None:
        if not self._serves(node_id, pod):
            return
        name = pod["metadata"]["name"]
        others = [
            one
            for other, one in self._taken_down.items()
            if other != node_id and other not in self._brokers.departed
        ]
        if others:
            self.broken(f"{name} was taken down while {others} were")
        down = [
            one
            for one, since_s in self._unready_since.items()
            if one != name and since_s < self.looked_s and self._is_wanted(one)
        ]
        if down:
            self.broken(f"{name} was taken down although {down} were seen to be down")
        leader = self.asked.leader.node_id if self.asked else 0
        if node_id == leader == self._brokers.leader and len(self._brokers.members) > 1:
            self.broken(f"{name} was taken down although it led")
        self._taken_down[node_id] = name
        if self._cluster.claim_of(pod) is None:
            self._last_copies(node_id, name)

    def _serves(self, node_id: int, pod: Json) -> bool:
        """To the operator's knowledge: it is ready, or it has answered."""
        one = self._brokers.processes.get(pod["metadata"]["uid"])
        member = one is not None and self._brokers.members.get(node_id) == one.disk
        return is_ready(pod) or (self._cluster.claim_of(pod) is None and member)

    def _is_wanted(self, name: str) -> bool:
        if _broker(name) in self._brokers.departed:
            return False
        workload = self._cluster.find("statefulsets", name.rpartition("-")[0])
        ordinal = int(name.rpartition("-")[2])
        return workload is not None and ordinal < workload["spec"]["replicas"]

    def _removal(self, node_id: int, name: str) -> None:
        self._taken_down.pop(node_id, None)
        if self._sleeps():
            return
        held = self._brokers.holds(node_id)
        if held and self._brokers.formed:
            self.broken(f"{name} was removed for good while it held {held}")

    def _sleeps(self) -> bool:
        """Hibernated: the pods go, the volumes stay, and all of them come again."""
        workload = self._cluster.find("statefulsets", "orders-broker")
        return workload is not None and not workload["spec"]["replicas"]

    def _volume(self, node_id: int, name: str) -> None:
        if self.stays(name):
            self._given_up(node_id, name)
            return
        held = self._brokers.holds(node_id)
        if node_id in self._brokers.members or held:
            self.broken(f"{name} was deleted while its broker was a member, holding {held}")

    def stays(self, name: str) -> bool:
        """Whether the broker of that pod or volume is a member, and is not asked to leave."""
        node_id = _broker(name)
        return node_id in self._brokers.members and node_id not in self._brokers.draining

    def _given_up(self, node_id: int, name: str) -> None:
        """For an empty one: its broker stays, and the others fill it."""
        if self.asked is None or self.asked_s < self.looked_s:
            self.broken(f"{name} was given up, and the leader had not been asked")
            return
        for one in self.asked.partitions:
            if node_id in one.replicas and not set(one.in_sync) - {node_id}:
                self.broken(f"{name} was given up with the only copy of {one.path}")

    def _last_copies(self, node_id: int, name: str) -> None:
        for path in self._brokers.holds(node_id):
            group = self._brokers.groups[path]
            if group.size > 1 and group.in_sync <= {node_id}:
                self.broken(f"{name} was taken down with the last copy of {path}")

    # -------------------------------------------------------------------------------- changes

    def _changed(self, what: str, key: tuple[str, str, str], found: Json) -> None:
        if key[0] == "pods" and _broker(key[2]):
            if what != "DELETED" and is_ready(found):
                self._unready_since.pop(key[2], None)
            else:
                self._unready_since.setdefault(key[2], now_s())
        elif key[2] == "orders-flanking" and key[0] == "statefulsets":
            self._scaled(found, gone=what == "DELETED")
        elif key[0] == "brokerclusters" and what == "MODIFIED":
            self._status(found)
        elif key[0] == "brokerclusters":
            self._leader = (0, 0)
            self._unready_since.clear()
            self._taken_down.clear()

    def _scaled(self, workload: Json, *, gone: bool) -> None:
        before = self._flanking
        self._flanking = now = 0 if gone else workload.get("spec", {}).get("replicas", 0)
        autoscaler = self._cluster.find("horizontalpodautoscalers", "orders-flanking")
        least = autoscaler["spec"]["minReplicas"] if autoscaler else before
        notes = workload["metadata"].get("annotations", {})
        left = notes.get("quorate.dev/scaled-by") == "autoscaler" and not gone
        if left and now < min(before, least):
            self.broken(f"{before} flanking nodes fell to {now} under an autoscaler")

    def _status(self, cluster: Json) -> None:
        leader = cluster.get("status", {}).get("leader")
        if leader is None:
            return
        now = (leader["epoch"], leader["nodeId"])
        if now == self._leader:
            return
        if now[0] <= self._leader[0]:
            self.broken(f"status went from (epoch, leader) {self._leader} to {now}")
        if now[0] < self.heard_term:
            self.broken(f"status tells epoch {now[0]}, but {self.heard_term} had been heard")
        self._leader = now


def _broker(name: str) -> int:
    """The node id in the name of a broker's pod or volume; 0 for anything else."""
    stem, _, ordinal = name.rpartition("-")
    return int(ordinal) + 1 if stem.endswith("-broker") and ordinal.isdecimal() else 0
