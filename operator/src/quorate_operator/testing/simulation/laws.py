"""What must never happen, watched at every write. The first breach ends the run.

Read next: `world.py`, which runs until then.
"""

from __future__ import annotations

from quorate_operator.testing.objects import Json
from quorate_operator.testing.simulation.brokers import Brokers


class Breach(Exception):
    """A law was broken; the message says which, and how."""


class Laws:
    """Told of every deletion and of every status."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self._taken_down: dict[int, str] = {}
        """Brokers that the operator took down and that have not served since, by their pod."""
        self._epoch = 0
        self.restarts = 0
        self.volumes_deleted = 0
        self.pods_removed = 0
        brokers.became_ready = self._back

    def _back(self, node_id: int) -> None:
        self._taken_down.pop(node_id, None)

    def taking(self, who: str, found: Json) -> None:
        """Before anything is deleted."""
        name = found["metadata"]["name"]
        if "-flanking-" in name or not name.rpartition("-")[2].isdecimal():
            return
        node_id = int(name.rpartition("-")[2]) + 1
        if name.startswith("data-"):
            self._volume(node_id, name)
        elif who == "operator":
            self._restart(node_id, found)
        elif who == "controller":
            self._removal(node_id, name)

    def _restart(self, node_id: int, pod: Json) -> None:
        self.restarts += 1
        (ready,) = pod["status"]["conditions"]
        if ready["status"] != "True":
            return  # it served nobody, by our hand or not
        others = [name for other, name in self._taken_down.items() if other != node_id]
        if others:
            raise Breach(
                f"{pod['metadata']['name']} was taken down while {others} were: {pod['status']}"
            )
        self._taken_down[node_id] = pod["metadata"]["name"]

    def _removal(self, node_id: int, name: str) -> None:
        self.pods_removed += 1
        self._taken_down.pop(node_id, None)
        held = self._brokers.holds(node_id)
        if held:
            raise Breach(f"{name} was removed for good while it held {held}")

    def _volume(self, node_id: int, name: str) -> None:
        self.volumes_deleted += 1
        held = self._brokers.holds(node_id)
        if node_id in self._brokers.members or held:
            raise Breach(f"{name} was deleted while its broker was a member, holding {held}")

    def status(self, cluster: Json) -> None:
        """After every write."""
        leader = cluster.get("status", {}).get("leader")
        if leader is None:
            return
        if leader["epoch"] < self._epoch:
            raise Breach(f"status went back from epoch {self._epoch} to {leader['epoch']}")
        self._epoch = leader["epoch"]
