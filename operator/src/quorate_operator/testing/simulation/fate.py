"""What befalls machines: brokers crash, nodes go and come, operators and their watches end.

Each deed is done now or not at all (False: it makes no sense at the moment). What would destroy the
last copy of something is not done: that no operator can mend.

Read next: `people.py`, for what people do on top of it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import random
from collections.abc import Sequence
from typing import Final

from quorate_operator.names import Key
from quorate_operator.testing.objects import Json
from quorate_operator.testing.simulation.brokers import Brokers
from quorate_operator.testing.simulation.cluster import NAMESPACE, Cluster, Node, now_s
from quorate_operator.testing.simulation.process import Operator
from quorate_operator.testing.simulation.watching import Watch

KEY: Final = Key(NAMESPACE, "orders")


@dataclasses.dataclass
class Fate:
    """Nobody's will."""

    cluster: Cluster
    brokers: Brokers
    operators: Sequence[Operator]
    random: random.Random

    @property
    def resource(self) -> Json:
        found = self.cluster.find("brokerclusters", KEY.name)
        assert found is not None
        return found

    @property
    def spec(self) -> Json:
        spec: Json = self.resource["spec"]
        return spec

    def relents(self) -> None:
        """All that was broken is mended."""
        self.cluster.down = False
        for node in self.cluster.nodes.values():
            self._bring_back(node)
            self.cluster.label(node, zone=True)
        for one in tuple(self.brokers.processes.values()):  # also who never came to be a member
            self.brokers.cut(one.node_id, off=False)

    # ---------------------------------------------------------------------- brokers and nodes

    def crashes_a_broker(self) -> bool:
        alive = sorted(self.brokers.alive())
        if alive:
            self.brokers.crash(self.random.choice(alive), self.random.uniform(1, 20))
        return bool(alive)

    def cuts_a_broker_off(self) -> bool:
        """From the others; it goes on telling what it knew. Or all are connected again."""
        cut = [one.node_id for one in self.brokers.processes.values() if one.cut]
        for node_id in cut:
            self.brokers.cut(node_id, off=False)
        alive = sorted(self.brokers.alive())
        if not cut and alive:
            self.brokers.cut(self.random.choice(alive), off=True)
        return bool(cut or alive)

    def loses_a_node(self) -> bool:
        """Its power; or it comes back. One at a time."""
        down = [node for node in self.cluster.nodes.values() if not node.up]
        for node in down:
            self._bring_back(node)
        if not down:
            if not self._may_lose_a_pod():
                return False
            node = self.random.choice(list(self.cluster.nodes.values()))
            node.up, node.down_since_s = False, now_s()
            for pod in self._brokers_on(node):
                self.brokers.crash(_node_id(pod), math.inf)
        return True

    def cuts_a_kubelet_off(self) -> bool:
        """Kubernetes hears nothing of the node, whose brokers go on."""
        if any(not node.up for node in self.cluster.nodes.values()):
            return False
        if not self._may_lose_a_pod():
            return False
        node = self.random.choice(list(self.cluster.nodes.values()))
        node.up, node.down_since_s = False, now_s()
        return True

    def drains_a_node(self) -> bool:
        """Or lets pods on it again, if one was drained."""
        cordoned = [node for node in self.cluster.nodes.values() if node.cordoned]
        for node in cordoned:
            node.cordoned = False
        if not cordoned:
            if self.spec["storage"]["type"] == "ephemeral":
                return False
            node = self.random.choice(list(self.cluster.nodes.values()))
            node.cordoned = True
            self._evict(node)
        return True

    def hides_a_zone(self) -> bool:
        """The label of a node, which is there or comes back later; nobody watches nodes."""
        node = self.random.choice(list(self.cluster.nodes.values()))
        self.cluster.label(node, zone=not self.cluster.has_zone(node))
        return True

    def _evict(self, node: Node) -> None:
        """As kubectl does: again every five seconds, until all are gone."""
        if not node.cordoned:
            return
        names = [
            pod["metadata"]["name"]
            for pod in self.cluster.objects("pods")
            if pod["spec"].get("nodeName") == node.name
        ]
        done = [self.cluster.evict(name) for name in names]
        if not all(done):
            asyncio.get_running_loop().call_later(5.0, self._evict, node)

    def _bring_back(self, node: Node) -> None:
        if not node.up:
            for pod in self._brokers_on(node):
                one = self.brokers.processes[pod["metadata"]["uid"]]
                if not one.up and one.boots_at_s == math.inf:
                    one.boots_at_s = now_s() + self.random.uniform(1, 5)
        node.up, node.cordoned = True, False

    def _brokers_on(self, node: Node) -> list[Json]:
        return [
            one.pod
            for one in self.brokers.processes.values()
            if one.pod["spec"].get("nodeName") == node.name
        ]

    def _may_lose_a_pod(self) -> bool:
        """Where what is stored goes with the pod, only while all of it is elsewhere too, and stays
        there: a pod that is on its way out may wait for long for its node to say that it has gone.
        """
        if self.spec["storage"]["type"] != "ephemeral":
            return True
        going = (
            "deletionTimestamp" in one.pod["metadata"] for one in self.brokers.processes.values()
        )
        return not any(going) and all(
            self.brokers.bears_the_loss_of(one) for one in self.brokers.members
        )

    # ----------------------------------------------------------------- operators and their API

    def stops_an_operator_for_a_while(self) -> bool:
        one = self.random.choice(self.operators)
        one.life.paused_until_s = now_s() + self.random.uniform(1, 60)
        return True

    def kills_an_operator(self) -> bool:
        self.random.choice(self.operators).kill()
        return True

    def stops_the_api_for_a_while(self) -> bool:
        self.cluster.down = not self.cluster.down
        return True

    def silences_a_watch(self) -> bool:
        """Now and then what it wants to go on from is gone afterwards."""
        for watch in (found := self._watches()):
            watch.fall_silent(self.random.uniform(5, 60))
            if self.random.random() < 0.5:
                watch.gone()
        return bool(found)

    def ends_a_watch(self) -> bool:
        """410: what it wants to go on from is gone."""
        for watch in (found := self._watches()):
            watch.gone()
        return bool(found)

    def loses_a_watch(self) -> bool:
        """Nobody notices at first."""
        for watch in (found := self._watches()[:1]):
            watch.is_dead = True
        return bool(found)

    def _watches(self) -> list[Watch]:
        """One of the operator that is active, or all."""
        return [
            watch
            for one in self.operators
            if one.watches is not None
            for watch in one.watches.some(self.random)
        ]


def _node_id(pod: Json) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2]) + 1
