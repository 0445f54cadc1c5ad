"""What people and fate do: they edit the spec and the children, pull plugs, drain nodes.

Each deed is done now or not at all (False: it makes no sense at the moment). What would destroy the
last copy of something is not done: that no operator can mend.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from quorate_operator.names import UNBIND_ANNOTATION, Key
from quorate_operator.testing.objects import Json
from quorate_operator.testing.simulation import options
from quorate_operator.testing.simulation.brokers import Brokers
from quorate_operator.testing.simulation.cluster import (
    NAMESPACE,
    Cluster,
    Node,
    is_ready,
    now_s,
)
from quorate_operator.testing.simulation.process import Operator
from quorate_operator.testing.simulation.sharing import NEEDS_RESTART

KEY: Final = Key(NAMESPACE, "orders")
ZONE: Final = "topology.kubernetes.io/zone"
OUTSIDE: Final[dict[str, Json]] = {
    "nodes": {"port": 9093, "type": "nodeport"},
    "lb": {"port": 9094, "type": "loadbalancer"},
    "names": {"port": 9095, "type": "clusterIP"},
}
CHILDREN: Final = (
    "services",
    "configmaps",
    "poddisruptionbudgets",
    "networkpolicies",
    "horizontalpodautoscalers",
)


@dataclasses.dataclass
class People:
    """Everybody but the operators."""

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

    def edit(self, **fields: Any) -> bool:
        self.spec.update(fields)
        self.resource["metadata"]["generation"] += 1
        self.cluster.touch("brokerclusters", KEY.name)
        return True

    def calm_down(self) -> None:
        """They mend what they broke."""
        self.cluster.down = False
        for node in self.cluster.nodes.values():
            self._bring_back(node)
        for node_id in sorted(self.brokers.members):
            self.brokers.cut(node_id, off=False)
        self.edit(paused=False, hibernate=False)

    # --------------------------------------------------------------------------- the resource

    def changes_the_image(self) -> bool:
        return self.edit(version=self.random.choice(["1.0", "2.0", "3.0"]))

    def changes_the_configuration(self) -> bool:
        """One setting that brokers heed while they run, one for which they have to be restarted."""
        return self.edit(
            config={
                "num.partitions": str(self.random.randint(1, 3)),
                NEEDS_RESTART: str(self.random.randint(1, 3)),
            }
        )

    def changes_what_is_logged(self) -> bool:
        return self.edit(logging={"level": self.random.choice(["debug", "info"])})

    def opens_or_closes_a_listener(self) -> bool:
        """One that is reached from outside of the pods, of each kind."""
        name = self.random.choice(list(OUTSIDE))
        open_ones = [one for one in self.spec["listeners"] if one["name"] != name]
        if len(open_ones) == len(self.spec["listeners"]):
            open_ones.append({**OUTSIDE[name], "name": name, "authentication": {"type": "none"}})
        return self.edit(listeners=open_ones)

    def asks_for_racks_or_not(self) -> bool:
        return self.edit(rack=None if self.spec.get("rack") else {"topologyKey": ZONE})

    def wants_policies_or_not(self) -> bool:
        now = self.spec.get("networkPolicy", "Generate")
        return self.edit(networkPolicy="None" if now == "Generate" else "Generate")

    def leaves_the_flanking_to_an_autoscaler(self) -> bool:
        """`changes_the_flanking` takes them back."""
        least = self.random.randint(1, 3)
        limits = {"minReplicas": least, "maxReplicas": 4, "targetCpuUtilization": 50}
        return self.edit(flanking={"autoscaling": limits})

    def has_more_or_less_to_do(self) -> bool:
        self.cluster.work = self.random.randint(0, 5)
        return "autoscaling" in self.spec["flanking"]

    def changes_the_number(self) -> bool:
        number = self.random.choice(options.SIZES)
        return self.edit(replicas=options.enough(number, self.spec["storage"]["type"]))

    def changes_the_flanking(self) -> bool:
        return self.edit(flanking={"replicas": self.random.randint(0, 3)})

    def grows_the_volumes(self) -> bool:
        if self.spec["storage"]["type"] == "ephemeral":
            return False
        size = int(self.spec["storage"]["size"].removesuffix("Gi")) + 1
        return self.edit(storage={**self.spec["storage"], "size": f"{size}Gi"})

    def wants_other_volumes(self) -> bool:
        """Of another class: each broker gets an empty one, one after the other."""
        if self.spec["storage"]["type"] == "ephemeral":
            return False
        wanted = {"class": self.random.choice(("slow", "fast")), "replace": "Guided"}
        return self.edit(storage={**self.spec["storage"], **wanted})

    def gives_up_a_stuck_volume(self) -> bool:
        """`kubectl quorate unbind`, of a broker that does not run now."""
        stuck = [
            claim["metadata"]["uid"]
            for pod in self.cluster.objects("pods")
            if (claim := self.cluster.claim_of(pod)) and not is_ready(pod)
        ]
        if stuck:
            annotations = self.resource["metadata"]["annotations"]
            annotations[UNBIND_ANNOTATION] = self.random.choice(stuck)
            self.cluster.touch("brokerclusters", KEY.name)
        return bool(stuck)

    def changes_the_budget_of_disruptions(self) -> bool:
        return self.edit(disruption={"pdb": self.random.choice(("Auto", "None"))})

    def pauses_or_resumes(self) -> bool:
        return self.edit(paused=not self.spec.get("paused", False))

    def hibernates_or_wakes(self) -> bool:
        if self.spec["storage"]["type"] == "ephemeral":
            return False
        return self.edit(hibernate=not self.spec.get("hibernate", False))

    def asks_for_a_restart(self) -> bool:
        value = str(self.random.random())
        self.resource["metadata"]["annotations"]["quorate.dev/restart"] = value
        return self.edit()

    # --------------------------------------------------------------------------- the children

    def scales_the_set_by_hand(self) -> bool:
        """Upwards; what somebody takes away by hand is on them."""
        workload = self.cluster.find("statefulsets", "orders-broker")
        if workload is None:
            return False
        workload["spec"]["replicas"] += 1
        workload["metadata"]["generation"] += 1
        self.cluster.touch("statefulsets", "orders-broker")
        return True

    def edits_a_child(self) -> bool:
        """With a field manager of their own."""
        found = self.cluster.objects("services")
        if not found:
            return False
        name = self.random.choice(found)["metadata"]["name"]
        key = ("services", NAMESPACE, name)
        self.cluster.store.own(key, ("spec", "selector", "quorate.dev/cluster"), "elsewhere")
        return True

    def deletes_a_child(self) -> bool:
        plural = self.random.choice(CHILDREN)
        found = self.cluster.objects(plural)
        if found:
            name = self.random.choice(found)["metadata"]["name"]
            self.cluster.remove("somebody", (plural, NAMESPACE, name))
        return bool(found)

    def deletes_a_pod(self) -> bool:
        found = self.cluster.objects("pods")
        if not found or not self._may_lose_a_pod():
            return False
        name = self.random.choice(found)["metadata"]["name"]
        self.cluster.remove("somebody", ("pods", NAMESPACE, name))
        return True

    def loses_a_volume(self) -> bool:
        """One of which all is elsewhere too."""
        members = sorted(self.brokers.members)
        for node_id in self.random.sample(members, k=len(members)):
            name = f"data-orders-broker-{node_id - 1}"
            claim = self.cluster.find("persistentvolumeclaims", name)
            if claim and self.brokers.bears_the_loss_of(node_id):
                self.brokers.lose(node_id)
                self.cluster.store.delete(("persistentvolumeclaims", NAMESPACE, name))
                pod = f"orders-broker-{node_id - 1}"
                if self.cluster.find("pods", pod):
                    self.cluster.remove("somebody", ("pods", NAMESPACE, pod))
                return True
        return False

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
        """Where what is stored goes with the pod, only while all of it is elsewhere too."""
        if self.spec["storage"]["type"] != "ephemeral":
            return True
        return all(self.brokers.bears_the_loss_of(one) for one in self.brokers.members)

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
        open_ones = [one.watches for one in self.operators if one.watches]
        for one in open_ones:
            one.fall_silent(self.random.uniform(5, 60))
        return bool(open_ones)

    def ends_a_watch(self) -> bool:
        """410: what it wants to go on from is gone."""
        open_ones = [one.watches for one in self.operators if one.watches]
        for one in open_ones:
            one.gone()
        return bool(open_ones)


Deed = Callable[[People], bool]
DEEDS: Final[tuple[Deed, ...]] = (
    People.changes_the_image,
    People.changes_the_configuration,
    People.changes_what_is_logged,
    People.opens_or_closes_a_listener,
    People.asks_for_racks_or_not,
    People.wants_policies_or_not,
    People.leaves_the_flanking_to_an_autoscaler,
    People.has_more_or_less_to_do,
    People.changes_the_number,
    People.changes_the_number,
    People.changes_the_flanking,
    People.grows_the_volumes,
    People.wants_other_volumes,
    People.gives_up_a_stuck_volume,
    People.changes_the_budget_of_disruptions,
    People.pauses_or_resumes,
    People.hibernates_or_wakes,
    People.asks_for_a_restart,
    People.scales_the_set_by_hand,
    People.edits_a_child,
    People.deletes_a_child,
    People.deletes_a_pod,
    People.loses_a_volume,
    People.crashes_a_broker,
    People.crashes_a_broker,
    People.cuts_a_broker_off,
    People.loses_a_node,
    People.cuts_a_kubelet_off,
    People.drains_a_node,
    People.stops_an_operator_for_a_while,
    People.kills_an_operator,
    People.stops_the_api_for_a_while,
    People.silences_a_watch,
    People.ends_a_watch,
)


def _node_id(pod: Json) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2]) + 1
