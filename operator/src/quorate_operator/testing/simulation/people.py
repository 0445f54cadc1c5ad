"""What people do: they edit the spec and the children, and pull volumes from under pods.

Read next: `fate.py`, for what befalls machines, and when a deed is not done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from quorate_operator.names import UNBIND_ANNOTATION
from quorate_operator.testing.objects import Json
from quorate_operator.testing.simulation import options
from quorate_operator.testing.simulation.cluster import NAMESPACE, ZONE, is_ready
from quorate_operator.testing.simulation.fate import KEY, Fate
from quorate_operator.testing.simulation.sharing import NEEDS_RESTART

OUTSIDE: Final[dict[str, Json]] = {
    "nodes": {"port": 9093, "type": "nodeport"},
    "lb": {"port": 9094, "type": "loadbalancer"},
    "names": {"port": 9095, "type": "clusterIP"},
}
SPECS: Final = "controllerrevisions"
CHILDREN: Final = (
    "services",
    "configmaps",
    "poddisruptionbudgets",
    "networkpolicies",
    "horizontalpodautoscalers",
)


class People(Fate):
    """Everybody but the operators."""

    def edit(self, **fields: Any) -> bool:
        self.spec.update(fields)
        self.resource["metadata"]["generation"] += 1
        self.cluster.touch("brokerclusters", KEY.name)
        return True

    def calm_down(self) -> None:
        """They mend what they broke, too. Where nothing is, nobody is told anything."""
        self.relents()
        if self.spec.get("paused") or self.spec.get("hibernate"):
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
        """Upwards, and not while it sleeps; what somebody takes away by hand is on them."""
        workload = self.cluster.find("statefulsets", "orders-broker")
        if workload is None or not workload["spec"]["replicas"]:
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

    def forgets_the_kept_specs(self) -> None:
        """No watch and no list of metadata tells of these."""
        for one in self.cluster.objects(SPECS):
            self.cluster.remove("somebody", (SPECS, NAMESPACE, one["metadata"]["name"]))

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
    People.hides_a_zone,
    People.stops_an_operator_for_a_while,
    People.kills_an_operator,
    People.stops_the_api_for_a_while,
    People.silences_a_watch,
    People.ends_a_watch,
    People.loses_a_watch,
)
