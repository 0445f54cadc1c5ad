"""Names, labels and addresses of everything that belongs to a cluster. Pure.

They are promises: clients, dashboards and other people's manifests hold on to them.
"""

from __future__ import annotations

import dataclasses
from typing import Final, Literal

from quorate_operator import model

Role = Literal["broker", "flanking"]

CLUSTER_LABEL: Final = "quorate.dev/cluster"
ROLE_LABEL: Final = "quorate.dev/role"
"""`broker` or `flanking`; never changes in the life of a pod."""
LEADER_LABEL: Final = "quorate.dev/leader"
"""`true` on the pod of the leader, absent elsewhere; moves."""
APPLIED_ANNOTATION: Final = "quorate.dev/applied"
"""Digest of the manifest that was applied: how a field that is no longer wanted is noticed."""
CLUSTER_ID_ANNOTATION: Final = "quorate.dev/cluster-id"
BROKERS_ANNOTATION: Final = "quorate.dev/brokers"
"""On the brokers' StatefulSet: how many it stands for, also while it is scaled to none."""
CONFIG_HASH_ANNOTATION: Final = "quorate.dev/config-hash"
ASKED_ANNOTATION: Final = "quorate.dev/asked"
"""On a StatefulSet: digest of what its pod template was made from."""
RENDERED_BY_ANNOTATION: Final = "quorate.dev/rendered-by"
"""On a StatefulSet: the version of the operator that made its pod template."""
RESTART_ANNOTATION: Final = "quorate.dev/restart"
"""On a `BrokerCluster`: restart all brokers, once per value. On a pod: its value then."""
APPROVED_ANNOTATION: Final = "quorate.dev/approved"
"""On a `BrokerCluster`: the revision that may be rolled out, where that is supervised."""
PERMIT_ANNOTATION: Final = "quorate.dev/permit"
"""On the brokers' StatefulSet: the only pod that may be taken down (`plan/permit.py`)."""
SPARED_ANNOTATION: Final = "quorate.dev/spared"
"""On a pod: the permit that it was spared from."""
RACK_ANNOTATION: Final = "quorate.dev/rack"
RACK_FROM_ANNOTATION: Final = "quorate.dev/rack-from"
"""On a broker's pod: where its node is, and the label of nodes that says so."""
ADVERTISED_ANNOTATION: Final = "quorate.dev/advertised"
"""On a broker's pod: addresses by listener that Kubernetes chose, `name=host:port,...`."""
SCALED_BY_ANNOTATION: Final = "quorate.dev/scaled-by"
"""On the flanking StatefulSet: whether its replicas are the operator's or an autoscaler's."""
DRAINED_ANNOTATION: Final = "quorate.dev/drained"
"""On a volume claim: its broker has left the cluster, nothing of it is needed any more."""
KEPT_LABEL: Final = "quorate.dev/kept"
"""On a ControllerRevision: `spec`, one that could be read (`plan/kept.py`)."""
UNBIND_ANNOTATION: Final = "quorate.dev/unbind"
"""On a `BrokerCluster`: the uid of a volume claim that may be given up (`plan/volumes.py`)."""
MANAGER: Final = "quorate-operator"
SCALING_MANAGER: Final = "quorate-operator-scaling"
"""Holds the number of flanking nodes while an autoscaler takes over."""
OPERATOR_LABELS: Final = {"app.kubernetes.io/name": "quorate-operator"}
"""Of the operator's own pods, as the chart makes them."""
STATUS_MANAGER: Final = "quorate-operator-status"


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """Which cluster."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class Names:
    """Names of the children of one cluster."""

    key: Key

    @property
    def account(self) -> str:
        return f"{self.key.name}-nodes"

    @property
    def config(self) -> str:
        return f"{self.key.name}-config"

    @property
    def brokers(self) -> str:
        """The headless Service; also the domain of all pods."""
        return f"{self.key.name}-brokers"

    @property
    def bootstrap(self) -> str:
        return f"{self.key.name}-bootstrap"

    @property
    def admin(self) -> str:
        return f"{self.key.name}-admin"

    @property
    def proxy(self) -> str:
        return f"{self.key.name}-proxy"

    def listener_bootstrap(self, listener: str) -> str:
        """The Service to begin with; a listener with Services of its own has 11 characters."""
        return f"{self.key.name}-{listener}-bootstrap"

    def listener_service(self, listener: str, ordinal: int | str) -> str:
        """The Service of one broker."""
        return f"{self.key.name}-{listener}-{ordinal}"

    def workload(self, role: Role) -> str:
        """The StatefulSet of that role; its pods are this and an ordinal."""
        return f"{self.key.name}-{role}"

    def broker_pod(self, node_id: int) -> str:
        return f"{self.workload('broker')}-{node_id - 1}"

    def host(self, service: str) -> str:
        return f"{service}.{self.key.namespace}.svc"

    def pod_host(self, pod: str) -> str:
        """Resolves also while the pod is not ready."""
        return f"{pod}.{self.host(self.brokers)}"


def node_id(role: Role, ordinal: int) -> int:
    return ordinal + (1 if role == "broker" else model.FIRST_FLANKING_ID)


def labels(key: Key, role: Role | None = None) -> dict[str, str]:
    """On every child. Never those of the `BrokerCluster`: a GitOps tool would claim the child."""
    found = {
        "app.kubernetes.io/name": "quorate",
        "app.kubernetes.io/instance": key.name,
        "app.kubernetes.io/managed-by": MANAGER,
        CLUSTER_LABEL: key.name,
    }
    return found if role is None else {**found, ROLE_LABEL: role}


def selector(key: Key, role: Role | None = None) -> dict[str, str]:
    """The part of the labels by which a Service or a StatefulSet finds its pods."""
    found = {CLUSTER_LABEL: key.name}
    return found if role is None else {**found, ROLE_LABEL: role}


def selector_text(key: Key, role: Role | None = None) -> str:
    return ",".join(f"{label}={value}" for label, value in selector(key, role).items())
