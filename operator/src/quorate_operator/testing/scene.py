"""A cluster to reason about: wishes built from a few words.

For tests of the plan and of the status, and for whoever wants to see a status without a cluster.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
from typing import Any

from quorate_operator.facts import Claim, KeptSpec, Member, Observed, Pod, View, VolumeClaim
from quorate_operator.names import Key
from quorate_operator.plan.inputs import Wish

KEY = Key("shop", "orders")
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
SPEC: dict[str, Any] = {
    "replicas": 3,
    "storage": {"size": "1Gi"},
    "listeners": [{"name": "internal", "port": 9092, "authentication": {"type": "none"}}],
}


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """Makes facts about the cluster `orders` in the namespace `shop`."""

    key: Key = KEY
    now: datetime.datetime = NOW

    def pod(self, name: str, **other: Any) -> Pod:
        """`broker-0`, running and ready unless said otherwise."""
        role, _, ordinal = name.partition("-")
        facts: dict[str, Any] = {
            "name": f"orders-{name}",
            "uid": f"uid-{name}",
            "role": role,
            "ordinal": int(ordinal),
            "ip": "10.0.0.1",
            "ready": True,
            "terminating": False,
            "labelled_leader": False,
            "revision": "",
            "idle": False,
            "trouble": "",
            "resource_version": f"v-{name}",
            "image": "quorate-broker:0.1.0",
            "config_hash": "",
            "restart": "",
            "resources": "{}",
            "spared": "",
            "stranded_since": None,
        }
        return Pod(**(facts | other))

    def volume(self, number: int, **other: Any) -> VolumeClaim:
        """Of broker-`number`, bound and as large as asked for unless said otherwise."""
        facts: dict[str, Any] = {
            "name": f"data-orders-broker-{number}",
            "uid": f"uid-data-{number}",
            "ordinal": number,
            "size": "1Gi",
            "capacity": "1Gi",
            "resource_version": f"v-data-{number}",
            "terminating": False,
            "drained": False,
            "storage_class": "fast",
            "bound": True,
            "cluster_id": "id-1",
        }
        return VolumeClaim(**(facts | other))

    def view(self, leader: int | None, term: int = 0, **other: Any) -> View:
        facts: dict[str, Any] = {
            "version": 1,
            "cluster_id": "id-1",
            "leader": Claim(leader, term) if leader is not None else None,
            "transitions": term,
            "members": tuple(Member(n, f"inc-{n}", "0.1.0") for n in (1, 2, 3)),
            "flanking": (),
            "healthy": True,
            "unhealthy_reasons": (),
        }
        return View(**(facts | other))

    def cluster(self, spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
        return {
            "apiVersion": "quorate.dev/v1alpha1",
            "kind": "BrokerCluster",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-c", "generation": 1},
            "spec": copy.deepcopy(SPEC) | (spec or {}),
            "status": status,
        }

    def wish(
        self,
        *,
        spec: dict[str, Any] | None = None,
        status: dict[str, Any] | None = None,
        **observed: Any,
    ) -> Wish:
        facts: dict[str, Any] = {
            "key": self.key,
            "cluster": self.cluster(spec, **(status or {})),
            "children": {},
            "pods": tuple(self.pod(f"broker-{n}") for n in range(3)),
            "volumes": (),
            "views": {},
            "now": self.now,
        } | observed
        kept = KeptSpec("orders-spec", "uid-spec", "v-spec", 1, facts["cluster"]["spec"])
        return Wish.parse(Observed(**({"specs": (kept,)} | facts)))

    def views(self, *each: View) -> dict[str, View]:
        """Answers of broker-0, broker-1 and so on."""
        return {f"orders-broker-{n}": view for n, view in enumerate(each)}
