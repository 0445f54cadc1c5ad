"""What a person asks for and what they are told: `BrokerCluster`, as pydantic models.

These models are the only definition of the resource. `crds.py` turns them into the
CustomResourceDefinition (schema, defaults, CEL rules with their sentences), and the operator parses
every resource with them once, at the border; behind it there are no dicts of unknown shape.

Two rules for a new field: it appears here when something acts on it, never before, and whatever a
person can get wrong has a CEL rule with a sentence that says what to write instead.

Read next: `model_lifecycle.py` (volumes, restarts, disruptions), `model_listeners.py`,
`model_pods.py`, `status.py` (the other half of the resource), `crds.py`, `plan/`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from quorate_operator.model_base import (
    BY_NAME,
    Model,
    Name,
    Resources,
    rule,
    rules,
)
from quorate_operator.model_lifecycle import Disruption, Storage, UpdateStrategy
from quorate_operator.model_listeners import (
    ADMIN_PORT,
    METRICS_PORT,
    PROXY_PORT,
    RPC_PORT,
    Listener,
)
from quorate_operator.model_pods import (
    AddedContainer,
    Autoscaling,
    NodeTemplate,
    Scheduling,
    Template,
)

__all__ = [
    "ADMIN_PORT",
    "METRICS_PORT",
    "PROXY_PORT",
    "RPC_PORT",
    "Listener",
    "Model",
    "Resources",
    "rule",
    "rules",
]

GROUP: Final = "quorate.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "BrokerCluster"
PLURAL: Final = "brokerclusters"

FIRST_FLANKING_ID: Final = 101
"""Flanking node ids start here, so that they can never meet a broker's (1..99)."""


class Image(Model):
    """Which image the pods run. Whatever is left out comes from `version` and the operator."""

    repository: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        default=None, description="Image without tag. Default: the operator's."
    )
    tag: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None, description="Wins over `version`."
    )
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="When a node of Kubernetes fetches the image."
    )
    pull_secrets: list[Name] = Field(
        default=[],
        max_length=8,
        description="Names of Secrets with registry credentials, in the same namespace.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class Flanking(Model):
    """Nodes that serve the HTTP Proxy beside the brokers.

    They store nothing, never vote and never lead: any number of them may come and go at any time.
    """

    replicas: int = Field(default=0, ge=0, le=899, description="How many flanking nodes run.")
    autoscaling: Autoscaling | None = Field(
        default=None, description="Instead of `replicas`: as many as the work asks for."
    )
    resources: Resources | None = Field(
        default=None, description="Of the container that serves the HTTP Proxy."
    )
    scheduling: Scheduling = Field(
        default=Scheduling(), description="Where flanking nodes may run, as for brokers."
    )
    template: NodeTemplate = NodeTemplate()
    containers: list[AddedContainer] = Field(
        default=[],
        max_length=8,
        description=(
            "Containers beside the HTTP Proxy, for example clients of the brokers. They are told"
            " QUORATE_BOOTSTRAP_SERVERS and QUORATE_PROXY_URL."
        ),
        json_schema_extra=BY_NAME,
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.replicas) && has(self.autoscaling))",
                "flanking.replicas and flanking.autoscaling exclude each other: leave one out",
            ),
            rule(
                "!has(self.autoscaling) || (has(self.resources) && has(self.resources.requests)"
                " && 'cpu' in self.resources.requests)",
                "autoscaling compares the work with flanking.resources.requests.cpu: write how much"
                " a node requests",
            ),
        )
    )


Level = Literal["debug", "info", "warning", "error"]


class Logger(Model):
    """How much one logger lets through."""

    name: str = Field(
        min_length=1,
        max_length=128,
        description="A module, with all that is in it, for example quorate_broker.raft.",
        json_schema_extra=rules(
            rule(
                "self.matches('^[a-zA-Z_][a-zA-Z0-9_.]*$')",
                "a logger is called by its module, for example quorate_broker.raft",
            )
        ),
    )
    level: Level = Field(description="From here on it logs; below it does not.")


class Logging(Model):
    """What all nodes log. Heeded while they run, within about a minute."""

    level: Level = Field(default="info", description="Of all loggers without one of their own.")
    format: Literal["text", "json"] = Field(
        default="text", description="A line of text or a JSON object per event."
    )
    loggers: list[Logger] = Field(
        default=[],
        max_length=32,
        description="Levels of single loggers.",
        json_schema_extra=BY_NAME,
    )


class Metrics(Model):
    """Metrics of all nodes, on a port that takes no orders."""

    enabled: bool = Field(default=True, description=f"Whether there is port {METRICS_PORT}.")
    pod_monitor: bool = Field(
        default=False, description="Make a PodMonitor, where the Prometheus operator is installed."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.podMonitor) && self.podMonitor) || !has(self.enabled) || self.enabled",
                "metrics.podMonitor finds nothing while metrics.enabled is false",
            )
        )
    )


class Rack(Model):
    """The failure domain that a broker is in."""

    topology_key: str = Field(
        min_length=1,
        max_length=317,
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        description="Label of the nodes, for example topology.kubernetes.io/zone.",
    )


RESERVED_SETTINGS: Final = (
    "node.id", "node.role", "data.dir", "rack", "cluster.id", "seeds", "listeners", "rpc.host",
    "rpc.port", "admin.host", "admin.port", "proxy.host", "proxy.port", "bootstrap.servers",
    "admin.urls", "feature.level.known", "feature.level.raise", "pod.info.dir", "pod.name",
    "rpc.advertised.address", "metrics.host", "metrics.port",
)  # fmt: skip
LOG_SETTINGS: Final = ("log.level", "log.format", "log.loggers")


def _quoted(keys: tuple[str, ...]) -> str:
    return ", ".join(f"'{key}'" for key in keys)


class BrokerClusterSpec(Model):
    """The cluster that is wanted."""

    version: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        pattern=r"^[A-Za-z0-9_][-A-Za-z0-9_.]*$",
        description=(
            "Version of the brokers = tag of their image. Default: the operator's at the time the"
            " cluster is made; a newer operator does not change it."
        ),
    )
    metadata_version: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description=(
            "The highest feature level that the brokers' metadata goes to: while it is held below"
            " what a new version knows, the way back to the old one is open. Default: as high as"
            " all brokers know, once all run the same version."
        ),
    )
    image: Image = Image()
    replicas: int = Field(
        default=3,
        ge=1,
        le=99,
        description="How many brokers. They store, replicate, vote and lead.",
        json_schema_extra=rules(
            rule(
                "self >= 1 && self <= 99",
                "a cluster has 1 to 99 brokers: without a broker nobody can lead, however many"
                " flanking nodes there are",
            ),
        ),
    )
    flanking: Flanking = Flanking()
    config: dict[str, Annotated[str, Field(max_length=1024)]] = Field(
        default={},
        max_length=128,
        description="Settings of the brokers by their Kafka names, for example num.partitions.",
        json_schema_extra=rules(
            rule(
                f"self.all(k, !(k in [{_quoted(RESERVED_SETTINGS)}]))",
                "identity, addresses, seeds and listeners are set by the operator and cannot stand"
                " in config",
            ),
            rule(
                f"self.all(k, !(k in [{_quoted(LOG_SETTINGS)}]))",
                "what is logged is set by logging (level, format, loggers), not in config",
            ),
        ),
    )
    storage: Storage
    listeners: list[Listener] = Field(
        min_length=1,
        max_length=8,
        description="Ports on which every broker speaks the Kafka protocol.",
        json_schema_extra={
            **BY_NAME,
            **rules(
                rule(
                    "self.exists(a, !has(a.type) || a.type == 'internal')",
                    "at least one listener has to be internal: flanking nodes and whatever else"
                    " runs beside the brokers reach them by it",
                ),
                rule(
                    "self.all(a, self.exists_one(b, b.name == a.name))",
                    "two listeners have the same name: each needs its own",
                ),
                rule(
                    "self.all(a, self.exists_one(b, b.port == a.port))",
                    "two listeners have the same port: each needs its own",
                ),
            ),
        },
    )
    network_policy: Literal["Generate", "None"] = Field(
        default="Generate",
        description=(
            "`Generate`: NetworkPolicies that keep the brokers' own traffic and the Admin API to"
            " themselves and the operator. `None`: none."
        ),
    )
    resources: Resources | None = Field(default=None, description="Of the brokers' container.")
    rack: Rack | None = Field(
        default=None,
        description=(
            "Replicas of a partition go to different racks. Needs the operator's right to read"
            " nodes (`readNodes` of its chart)."
        ),
    )
    scheduling: Scheduling = Field(
        default=Scheduling(), description="Of brokers. Flanking nodes have `flanking.scheduling`."
    )
    template: Template = Template()
    logging: Logging = Logging()
    metrics: Metrics = Metrics()
    update_strategy: UpdateStrategy = UpdateStrategy()
    disruption: Disruption = Disruption()
    hibernate: bool = Field(
        default=False,
        description="While true no pod runs; the volumes, and with them all data, are kept.",
    )
    paused: bool = Field(
        default=False,
        description="While true the operator changes nothing and only reports status.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.hibernate) && self.hibernate)"
                " || !(has(self.storage.type) && self.storage.type == 'ephemeral')",
                "a cluster with ephemeral storage cannot hibernate: all that it holds would be"
                " gone with the pods",
            )
        )
    )


NAME_RULES: Final = (
    rule(
        "self.metadata.name.size() <= 40",
        "the name of a BrokerCluster has at most 40 characters: names of pods and services are"
        " made from it",
    ),
    rule(
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "the name of a BrokerCluster starts with a letter and holds only lower case letters,"
        " digits and '-': it becomes part of host names",
    ),
)
