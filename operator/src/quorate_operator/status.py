"""What the operator tells: `.status` of a `BrokerCluster`, as pydantic models.

The vocabulary is that of kstatus (Ready, Reconciling, Stalled), so that `kubectl wait`, Flux and
Argo CD understand it without code of their own. There is no phase. A field without a true value is
absent: no leader means no `leader`, never a stale or a zero one.

How the values come about is `plan/status.py`; the broker decides who leads, this only mirrors it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from quorate_operator.model_base import Model

Text = Annotated[str, Field(max_length=253)]
ConditionState = Literal["True", "False", "Unknown"]


def _list_map(*keys: str) -> dict[str, Any]:
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


class Condition(Model):
    """`metav1.Condition`: `lastTransitionTime` moves only when `status` does."""

    type: str = Field(max_length=63, description="What is judged, for example Ready.")
    status: ConditionState = Field(description="Whether it is so.")
    reason: str = Field(max_length=128, description="Why, in one word for programs.")
    message: str = Field(max_length=1024, description="Why, in a sentence for people.")
    last_transition_time: str = Field(
        description="When `status` last became another one.",
        json_schema_extra={"format": "date-time"},
    )
    observed_generation: int | None = Field(
        default=None, description="The `metadata.generation` that was judged."
    )


class Leader(Model):
    """The leader of the brokers' metadata group, as the brokers tell it."""

    node_id: int = Field(description="Which broker.")
    pod: Text = Field(description="In which it runs.")
    epoch: int = Field(description="The Raft term in which it leads; it only grows.")
    since: str = Field(
        description="When the operator first heard of it.",
        json_schema_extra={"format": "date-time"},
    )


class Node(Model):
    """One node and its role. Only a broker can have `leader: true`."""

    node_id: int = Field(description="Brokers are 1 to 99, flanking nodes from 101.")
    pod: Text = Field(description="In which it runs.")
    role: Literal["broker", "flanking"] = Field(
        description="`broker`: it stores, votes and may lead. `flanking`: it does none of these."
    )
    state: Literal["active", "starting", "down", "draining"] = Field(
        description="`draining`: what it stores is being moved, so that it can go."
    )
    ready: bool = Field(description="Whether Kubernetes takes its pod for ready.")
    leader: bool = Field(default=False, description="Whether it leads the brokers' metadata.")
    incarnation: Text | None = Field(
        default=None, description="Of its disk: another one after the disk was replaced."
    )
    version: Text | None = Field(default=None, description="Of the software that it runs.")
    rack: Text | None = Field(default=None, description="The failure domain that it says it is in.")
    revision: Text | None = Field(default=None, description="Of the template it was made from.")
    needs_restart: bool = Field(
        default=False, description="Whether it runs with something older than what is wanted."
    )
    restart_reason: str | None = Field(
        default=None, max_length=63, description="What changed; one word of a closed list."
    )


class ListenerStatus(Model):
    """Where clients find a listener."""

    name: Text = Field(description="As in `spec.listeners`.")
    type: Text = Field(description="As in `spec.listeners`.")
    bootstrap_servers: Annotated[str, Field(max_length=512)] | None = Field(
        default=None, description="Where clients begin; absent while no address is known."
    )
    addresses: list[Annotated[str, Field(max_length=320)]] = Field(
        default=[],
        max_length=99,
        description="What brokers tell clients, in the order of their ids; some may be missing.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class Held(Model):
    """One gate that holds something back."""

    reason: str = Field(max_length=63, description="One word of a closed list.")
    subject: Text = Field(default="", description="Whom or what it is about.")
    message: str = Field(default="", max_length=512, description="The same in a sentence.")


class Pending(Model):
    """A broker that runs with something older, and what changed."""

    pod: Text = Field(description="In which it runs.")
    reason: str = Field(max_length=63, description="What changed, for example ImageChanged.")


class RolloutStatus(Model):
    """Restarts that are under way; absent when there are none."""

    reason: Annotated[str, Field(max_length=63)] | None = Field(
        default=None, description="What changed for the broker whose turn it is, or is next."
    )
    started_at: str | None = Field(
        default=None,
        description="Since when it has a place in the operator's budget of rolling clusters.",
        json_schema_extra={"format": "date-time"},
    )
    revision: Text | None = Field(
        default=None, description="What is rolled out; to be approved where that is asked for."
    )
    current: Text | None = Field(default=None, description="The pod whose turn it is.")
    current_since: str | None = Field(
        default=None,
        description="Since when it is that pod's turn.",
        json_schema_extra={"format": "date-time"},
    )
    blocked_by: list[Annotated[str, Field(max_length=63)]] = Field(
        default=[], max_length=16, description="Reasons, each once; `status.blockedBy` has more."
    )
    remaining: list[Pending] = Field(
        default=[],
        max_length=99,
        description="Brokers that are still to be restarted.",
        json_schema_extra=_list_map("pod"),
    )
    accepted_risks: list[Text] = Field(
        default=[],
        max_length=16,
        description="Partitions with a single replica that nobody serves during the restart.",
    )


class SeenImage(Model):
    """An image that brokers ran lately, and the highest feature level that it knows."""

    image: str = Field(max_length=512, description="With its tag.")
    feature_level: int = Field(description="The highest that it knows.")


class StorageStatus(Model):
    """Volume claims of the brokers."""

    volumes: int = Field(default=0, description="How many there are.")
    resizing: list[Text] = Field(default=[], max_length=99, description="Not yet as large.")
    replacing: list[Text] = Field(default=[], max_length=99, description="To be others.")
    orphaned: list[Text] = Field(
        default=[], max_length=99, description="Kept, and of no broker that there is."
    )


class FlankingStatus(Model):
    """How many flanking nodes there are."""

    replicas: int = Field(default=0, description="How many pods.")
    ready: int = Field(default=0, description="How many of them are ready.")


class BrokerClusterStatus(Model):
    """What is. Written only when it changes."""

    observed_generation: int | None = Field(
        default=None, description="The `metadata.generation` that all this is about."
    )
    conditions: list[Condition] = Field(
        default=[],
        max_length=32,
        description="In words: Ready, Reconciling and Stalled first of all.",
        json_schema_extra=_list_map("type"),
    )
    summary: Text | None = Field(
        default=None,
        description=(
            "The conditions in one word: healthy, changing, degraded, stalled, down or asleep."
        ),
    )
    cluster_id: Text | None = Field(
        default=None, description="What the brokers call their cluster, from its forming on."
    )
    operator_version: Text | None = Field(
        default=None, description="Of the operator that wrote this."
    )
    version: Text | None = Field(default=None, description="Tag of the image that is wanted.")
    metadata_version: int | None = Field(
        default=None,
        description="Feature level of the brokers' metadata; it only grows, and what knows less"
        " cannot be rolled out any more.",
    )
    images: list[SeenImage] = Field(
        default=[],
        max_length=8,
        description="Images that brokers ran lately; which of them can be gone back to.",
        json_schema_extra=_list_map("image"),
    )
    leader: Leader | None = None
    previous_leader: Leader | None = Field(
        default=None,
        description="Who led before; its epoch fences older tellings while nobody leads.",
    )
    leader_transitions: int | None = Field(
        default=None, description="How often the lead was won, counted by the brokers."
    )
    nodes: list[Node] = Field(
        default=[],
        max_length=128,
        description="Every node and its role.",
        json_schema_extra=_list_map("nodeId"),
    )
    replicas: int | None = Field(default=None, description="How many pods of brokers there are.")
    effective_replicas: int | None = Field(
        default=None,
        description="How many brokers the operator runs now, on its way to `spec.replicas`.",
    )
    ready_replicas: int | None = Field(default=None, description="How many of them are ready.")
    updated_replicas: int | None = Field(
        default=None, description="How many of them are as the spec wants them."
    )
    updated_text: Text | None = Field(default=None, description="For people, for example 2/3.")
    rollout: RolloutStatus | None = None
    storage: StorageStatus | None = None
    blocked_by: list[Held] = Field(
        default=[], max_length=32, description="Every gate that holds something back."
    )
    ready_text: Text | None = Field(default=None, description="For people, for example 2/3.")
    selector: Text | None = Field(
        default=None, description="Labels of the brokers' pods, for the scale subresource."
    )
    flanking: FlankingStatus | None = None
    listeners: list[ListenerStatus] = Field(
        default=[],
        max_length=16,
        description="Where clients find each listener.",
        json_schema_extra=_list_map("name"),
    )

    def dump(self) -> dict[str, Any]:
        """As the API server stores it: camelCase, nothing absent, plain JSON types."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def condition(self, kind: str) -> Condition | None:
        return next((one for one in self.conditions if one.type == kind), None)
