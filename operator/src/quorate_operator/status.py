"""What the operator tells: `.status` of a `BrokerCluster`, as pydantic models.

The vocabulary is that of kstatus (Ready, Reconciling, Stalled), so that `kubectl wait`, Flux and
Argo CD understand it without code of their own. There is no phase. A field without a true value is
absent: no leader means no `leader`, never a stale or a zero one.

How the values come about is `plan/status.py`; the broker decides who leads, this only mirrors it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from quorate_operator.model import Model

Text = Annotated[str, Field(max_length=253)]
ConditionState = Literal["True", "False", "Unknown"]


def _list_map(*keys: str) -> dict[str, Any]:
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


class Condition(Model):
    """`metav1.Condition`: `lastTransitionTime` moves only when `status` does."""

    type: Annotated[str, Field(max_length=63)]
    status: ConditionState
    reason: Annotated[str, Field(max_length=128)]
    message: Annotated[str, Field(max_length=1024)]
    last_transition_time: str = Field(json_schema_extra={"format": "date-time"})
    observed_generation: int | None = None


class Leader(Model):
    """The leader of the brokers' metadata group, as the brokers tell it."""

    node_id: int
    pod: Text
    epoch: int = Field(description="The Raft term in which it leads; it only grows.")
    since: str = Field(json_schema_extra={"format": "date-time"})


class Node(Model):
    """One node and its role. Only a broker can have `leader: true`."""

    node_id: int
    pod: Text
    role: Literal["broker", "flanking"]
    state: Literal["active", "starting", "down", "draining"]
    ready: bool
    leader: bool = False
    incarnation: Text | None = None
    version: Text | None = None


class ListenerStatus(Model):
    """Where clients find a listener."""

    name: Text
    type: Text
    bootstrap_servers: Annotated[str, Field(max_length=512)] | None = None
    addresses: list[Annotated[str, Field(max_length=320)]] = Field(
        default=[],
        max_length=99,
        description="What brokers tell clients, in the order of their ids; some may be missing.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class Held(Model):
    """One gate that holds something back."""

    reason: Annotated[str, Field(max_length=63)]
    subject: Text = ""
    message: Annotated[str, Field(max_length=512)] = ""


class Pending(Model):
    """A broker that runs with something older, and what changed."""

    pod: Text
    reason: Annotated[str, Field(max_length=63)]


class RolloutStatus(Model):
    """Restarts that are under way; absent when there are none."""

    revision: Text | None = Field(
        default=None, description="What is rolled out; to be approved where that is asked for."
    )
    current: Text | None = Field(default=None, description="The pod whose turn it is.")
    remaining: list[Pending] = Field(default=[], max_length=99, json_schema_extra=_list_map("pod"))
    accepted_risks: list[Text] = Field(
        default=[],
        max_length=16,
        description="Partitions with a single replica that nobody serves during the restart.",
    )


class SeenImage(Model):
    """An image that brokers ran lately, and the highest feature level that it knows."""

    image: Annotated[str, Field(max_length=512)]
    feature_level: int


class FlankingStatus(Model):
    replicas: int = 0
    ready: int = 0


class BrokerClusterStatus(Model):
    """What is. Written only when it changes."""

    observed_generation: int | None = None
    conditions: list[Condition] = Field(
        default=[], max_length=32, json_schema_extra=_list_map("type")
    )
    cluster_id: Text | None = None
    version: Text | None = None
    metadata_version: int | None = Field(
        default=None,
        description="Feature level of the brokers' metadata; it only grows, and what knows less"
        " cannot be rolled out any more.",
    )
    images: list[SeenImage] = Field(default=[], max_length=8, json_schema_extra=_list_map("image"))
    leader: Leader | None = None
    previous_leader: Leader | None = Field(
        default=None,
        description="Who led before; its epoch fences older tellings while nobody leads.",
    )
    leader_transitions: int | None = Field(
        default=None, description="How often the lead was won, counted by the brokers."
    )
    nodes: list[Node] = Field(default=[], max_length=128, json_schema_extra=_list_map("nodeId"))
    replicas: int | None = None
    effective_replicas: int | None = Field(
        default=None,
        description="How many brokers the operator runs now, on its way to `spec.replicas`.",
    )
    ready_replicas: int | None = None
    updated_replicas: int | None = None
    updated_text: Text | None = None
    rollout: RolloutStatus | None = None
    blocked_by: list[Held] = Field(
        default=[], max_length=32, description="Every gate that holds something back."
    )
    ready_text: Text | None = None
    selector: Text | None = None
    flanking: FlankingStatus | None = None
    listeners: list[ListenerStatus] = Field(
        default=[], max_length=16, json_schema_extra=_list_map("name")
    )

    def dump(self) -> dict[str, Any]:
        """As the API server stores it: camelCase, nothing absent, plain JSON types."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def condition(self, kind: str) -> Condition | None:
        return next((one for one in self.conditions if one.type == kind), None)
