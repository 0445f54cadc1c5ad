"""What a plan can ask for. Frozen data: `reconcile` carries it out, tests compare it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from quorate_operator.facts import Json


@dataclasses.dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of one child."""

    manifest: Json
    why: str
    onto: str = ""
    """The version that was looked at, where nothing may have changed since."""

    def __str__(self) -> str:
        return f"apply {self.manifest['kind']} {self.manifest['metadata']['name']} ({self.why})"


@dataclasses.dataclass(frozen=True, slots=True)
class Remove:
    """Delete a child that is not wanted any more, as it was seen."""

    kind: str
    name: str
    uid: str
    resource_version: str

    def __str__(self) -> str:
        return f"remove {self.kind} {self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class LendReplicas:
    """Before an autoscaler sets the number of pods: somebody else has to hold the present one.

    A field that its only owner applies no more falls back to its default, which is one pod.
    """

    workload: str
    replicas: int

    def __str__(self) -> str:
        return f"leave {self.workload} to its autoscaler, beginning with {self.replicas} pods"


@dataclasses.dataclass(frozen=True, slots=True)
class TellPod:
    """Write annotations that the broker reads while it runs."""

    pod: str
    uid: str
    annotations: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        said = ", ".join(f"{key.partition('/')[2]} {value}" for key, value in self.annotations)
        return f"tell pod {self.pod}: {said}"


@dataclasses.dataclass(frozen=True, slots=True)
class MarkLeader:
    """Put the leader's label on a pod, or take it off."""

    pod: str
    uid: str
    leads: bool

    def __str__(self) -> str:
        return f"{'mark' if self.leads else 'unmark'} pod {self.pod} as leader"


@dataclasses.dataclass(frozen=True, slots=True)
class GrowVolume:
    """Ask for a larger volume; the storage class decides whether that works online."""

    name: str
    uid: str
    size: str

    def __str__(self) -> str:
        return f"grow volume {self.name} to {self.size}"


@dataclasses.dataclass(frozen=True, slots=True)
class MarkVolume:
    """Note on a claim whose data it holds: a cluster made anew knows its volumes by that."""

    name: str
    uid: str
    cluster_id: str

    def __str__(self) -> str:
        return f"note cluster {self.cluster_id} on volume {self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class Recreate:
    """Delete a StatefulSet and leave its pods: what it makes claims from cannot be edited."""

    workload: str
    uid: str
    resource_version: str

    def __str__(self) -> str:
        return f"make StatefulSet {self.workload} anew for other volumes"


@dataclasses.dataclass(frozen=True, slots=True)
class TakePermit:
    """Name the pod that may be taken down, onto the version of the StatefulSet that was seen."""

    workload: str
    resource_version: str
    permit: str
    pod: str

    def __str__(self) -> str:
        return f"take the permit for pod {self.pod}"


@dataclasses.dataclass(frozen=True, slots=True)
class Spare:
    """Give the permit up: from now on the pod has another version than the one that may go."""

    pod: str
    uid: str
    token: str

    def __str__(self) -> str:
        return f"spare pod {self.pod}"


@dataclasses.dataclass(frozen=True, slots=True)
class Restart:
    """Delete a pod as it was seen; its StatefulSet makes it anew."""

    pod: str
    uid: str
    resource_version: str
    why: str

    def __str__(self) -> str:
        return f"restart pod {self.pod} ({self.why})"


@dataclasses.dataclass(frozen=True, slots=True)
class Replace:
    """Delete a pod and then its claim, each as it was seen: it comes back with an empty volume."""

    restart: Restart
    claim: str
    claim_uid: str
    claim_version: str
    force: bool
    """Its Kubernetes node does not answer: nobody there would ever say that it has stopped."""

    def __str__(self) -> str:
        return f"restart pod {self.restart.pod} with a new volume ({self.restart.why})"


@dataclasses.dataclass(frozen=True, slots=True)
class Readmit:
    """Take a broker back that has left: its process begins anew, then its id may join again."""

    pod: str
    uid: str
    """Empty: it has no pod now, only the id is to be taken back."""
    resource_version: str
    node_id: int

    def __str__(self) -> str:
        return f"take broker {self.node_id} back"


@dataclasses.dataclass(frozen=True, slots=True)
class Transfer:
    """Ask the leader to hand the lead over."""

    pod: str
    to: int

    def __str__(self) -> str:
        return f"transfer the lead from pod {self.pod} to broker {self.to}"


@dataclasses.dataclass(frozen=True, slots=True)
class Decommission:
    """Move everything that a broker stores to others, and let it leave; or call that off."""

    node_id: int
    leave: bool

    def __str__(self) -> str:
        return f"{'decommission' if self.leave else 'recommission'} broker {self.node_id}"


@dataclasses.dataclass(frozen=True, slots=True)
class MarkDrained:
    """Note on a claim that its broker has left; or take the note off before one comes again."""

    name: str
    uid: str
    resource_version: str
    cluster_id: str
    """Empty: take it off."""

    def __str__(self) -> str:
        return f"{'mark' if self.cluster_id else 'unmark'} volume {self.name} as drained"


@dataclasses.dataclass(frozen=True, slots=True)
class DeleteVolume:
    """Delete a marked claim as it was seen."""

    name: str
    uid: str
    resource_version: str

    def __str__(self) -> str:
        return f"delete volume {self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class Configure:
    """Change settings of the running cluster."""

    put: Mapping[str, str]
    drop: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"configure {', '.join((*self.put, *self.drop))}"


@dataclasses.dataclass(frozen=True, slots=True)
class RaiseLevel:
    """Have the cluster's metadata go on to a higher feature level, for good."""

    level: int

    def __str__(self) -> str:
        return f"go on to feature level {self.level}"


Call = Transfer | Decommission | Readmit | Configure | RaiseLevel
"""What the brokers do themselves."""
Step = (
    TakePermit
    | Spare
    | Restart
    | Replace
    | Recreate
    | Readmit
    | Transfer
    | Decommission
    | MarkDrained
    | DeleteVolume
)
"""What takes something away, or leads to it."""
Action = (
    Apply
    | Remove
    | LendReplicas
    | TellPod
    | MarkLeader
    | MarkVolume
    | GrowVolume
    | Configure
    | RaiseLevel
    | Step
)
