"""Where pods may run, and what a person adds to them and to the other objects.

Added means beside what the operator sets: containers, volumes and variables of other names, values
of fields that it does not need for itself. What it does need (who the pod is, its probes, ports and
restrictions) has no field here, so that it cannot be asked for. What is made of it: `pods.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from quorate_operator.model_base import (
    ATOMIC,
    BY_NAME,
    Free,
    Metadata,
    Model,
    rule,
    rules,
)

_FREE: Final[dict[str, Any]] = {"x-kubernetes-preserve-unknown-fields": True}
_DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_ContainerName = Annotated[str, Field(min_length=1, max_length=63, pattern=_DNS_LABEL)]
_Id = Annotated[int, Field(ge=1, le=2_147_483_647)]


class Scheduling(Model):
    """Where pods may run. Default: spread over zones and hosts as far as there are any."""

    affinity: Free | None = Field(
        default=None, description="To nodes and to other pods, as in a pod's spec."
    )
    tolerations: list[Free] = Field(
        default=[],
        max_length=32,
        description="Taints of nodes on which the pods may run all the same.",
        json_schema_extra=ATOMIC,
    )
    topology_spread_constraints: list[Free] = Field(
        default=[],
        max_length=8,
        description="Instead of the default ones. A constraint without labelSelector gets ours.",
        json_schema_extra=ATOMIC,
    )
    priority_class_name: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None, description="PriorityClass of the pods."
    )
    node_selector: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default={}, max_length=16, description="Labels of the nodes on which the pods may run."
    )


class AddedContainer(Model):
    """A container beside ours, as Kubernetes takes it; restricted unless it says otherwise."""

    name: _ContainerName = Field(description="Of the container, within its pod.")
    image: str = Field(min_length=1, max_length=512, description="What it runs.")

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra=_FREE
        | rules(
            rule(
                "!(self.name in ['broker', 'flanking'])",
                "containers called broker and flanking are the operator's: choose another name",
            )
        ),
    )


class AddedVolume(Model):
    """A volume beside ours, as Kubernetes takes it."""

    name: _ContainerName = Field(description="By which volumeMounts refer to it.")

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra=_FREE
        | rules(
            rule(
                "!(self.name in ['data', 'config', 'tmp', 'told'])",
                "volumes called data, config, tmp and told are the operator's: choose another name",
            )
        ),
    )


class AddedVariable(Model):
    """An environment variable, with a value or with valueFrom."""

    name: str = Field(min_length=1, max_length=253, description="Of the variable.")

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra=_FREE
        | rules(
            rule(
                "!self.name.startsWith('QUORATE_')",
                "variables that begin with QUORATE_ are settings of the node: write them into"
                " config",
            )
        ),
    )


class PodSecurity(Model):
    """Whom the pod runs as: anybody but root."""

    run_as_user: _Id | None = Field(default=None, description="Default: 10001.")
    run_as_group: _Id | None = Field(default=None, description="Default: 10001.")
    fs_group: _Id | None = Field(default=None, description="Owns the volumes. Default: 10001.")
    supplemental_groups: list[_Id] = Field(
        default=[], max_length=32, description="More groups.", json_schema_extra=ATOMIC
    )
    se_linux_options: Free | None = Field(default=None, description="SELinux context.")


class AddedPodSpec(Model):
    """What may be added to the spec of a pod."""

    termination_grace_period_seconds: int | None = Field(
        default=None,
        ge=30,
        le=3600,
        description="A broker hands over what it leads before it ends: give it time.",
    )
    runtime_class_name: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None, description="RuntimeClass of the pods."
    )
    scheduler_name: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None, description="Who places the pods. Default: the scheduler of Kubernetes."
    )
    dns_config: Free | None = Field(
        default=None, description="How names are resolved in the pods, as in a pod's spec."
    )
    host_aliases: list[Free] = Field(
        default=[],
        max_length=32,
        description="Names and addresses that go into /etc/hosts.",
        json_schema_extra=ATOMIC,
    )
    security_context: PodSecurity | None = None
    init_containers: list[AddedContainer] = Field(
        default=[],
        max_length=8,
        description="They run before the node starts.",
        json_schema_extra=BY_NAME,
    )
    containers: list[AddedContainer] = Field(
        default=[], max_length=8, description="They run beside the node.", json_schema_extra=BY_NAME
    )
    volumes: list[AddedVolume] = Field(
        default=[],
        max_length=16,
        description="For these containers, and for template.container.volumeMounts.",
        json_schema_extra=BY_NAME,
    )


class PodTemplate(Model):
    """What is added to pods."""

    metadata: Metadata = Metadata()
    spec: AddedPodSpec = AddedPodSpec()


class ContainerTemplate(Model):
    """What is added to the container of a node."""

    env: list[AddedVariable] = Field(
        default=[],
        max_length=64,
        description="Variables beside those of the operator.",
        json_schema_extra=BY_NAME,
    )
    volume_mounts: list[Free] = Field(
        default=[],
        max_length=16,
        description="Of volumes that template.pod.spec adds.",
        json_schema_extra=ATOMIC,
    )


class ObjectTemplate(Model):
    """What is added to objects of one kind."""

    metadata: Metadata = Metadata()


class NodeTemplate(Model):
    """What is added to flanking nodes; beside what `template` adds to all, and before it."""

    pod: PodTemplate = PodTemplate()
    container: ContainerTemplate = ContainerTemplate()


class Template(NodeTemplate):
    """What is added to the objects that the operator makes."""

    service: ObjectTemplate = ObjectTemplate()
    pod_disruption_budget: ObjectTemplate = ObjectTemplate()
    service_account: ObjectTemplate = ObjectTemplate()
    persistent_volume_claim: ObjectTemplate = ObjectTemplate()


class Autoscaling(Model):
    """A HorizontalPodAutoscaler for the flanking nodes."""

    min_replicas: int = Field(ge=1, le=899, description="So many run at least.")
    max_replicas: int = Field(ge=1, le=899, description="So many run at most.")
    target_cpu_utilization: int = Field(
        ge=1, le=1000, description="Percent of what the containers of a node request together."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.minReplicas <= self.maxReplicas",
                "autoscaling.minReplicas is to be at most autoscaling.maxReplicas: lower it",
            )
        )
    )
