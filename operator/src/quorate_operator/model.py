"""What a person asks for and what they are told: `BrokerCluster`, as pydantic models.

These models are the only definition of the resource. `crds.py` turns them into the
CustomResourceDefinition (schema, defaults, CEL rules with their sentences), and the operator parses
every resource with them once, at the border; behind it there are no dicts of unknown shape.

Two rules for a new field: it appears here when something acts on it, never before, and whatever a
person can get wrong has a CEL rule with a sentence that says what to write instead.

Read next: `status.py` (the other half of the resource), `crds.py`, `plan/`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP: Final = "quorate.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "BrokerCluster"
PLURAL: Final = "brokerclusters"

ADMIN_PORT: Final = 9644
PROXY_PORT: Final = 8082
RPC_PORT: Final = 33145
FIRST_FLANKING_ID: Final = 101
"""Flanking node ids start here, so that they can never meet a broker's (1..99)."""


def rule(expression: str, sentence: str) -> dict[str, str]:
    """One CEL rule of the API server, and what a person reads when it refuses."""
    return {"rule": expression, "message": sentence}


def rules(*several: dict[str, str]) -> dict[str, Any]:
    return {"x-kubernetes-validations": list(several)}


class Model(BaseModel):
    """Frozen, camelCase outside; a field of a newer CRD that we do not know is ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore"
    )


QUANTITY_PATTERN: Final = (
    r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"  # Kubernetes' own, without signs
)
Quantity = Annotated[
    str,
    Field(
        max_length=32,
        json_schema_extra={
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": QUANTITY_PATTERN,
        },
        coerce_numbers_to_str=True,
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=253)]


class Image(Model):
    """Which image the pods run. Whatever is left out comes from `version` and the operator."""

    repository: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        default=None, description="Image without tag. Default: the operator's."
    )
    tag: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None, description="Wins over `version`."
    )
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: list[Name] = Field(
        default=[],
        max_length=8,
        description="Names of Secrets with registry credentials, in the same namespace.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class Resources(Model):
    """Requests and limits of the one container in a pod."""

    requests: dict[str, Quantity] = Field(default={}, max_length=16)
    limits: dict[str, Quantity] = Field(default={}, max_length=16)


class Flanking(Model):
    """Nodes that serve the HTTP Proxy beside the brokers.

    They store nothing, never vote and never lead: any number of them may come and go at any time.
    """

    replicas: int = Field(default=0, ge=0, le=899, description="How many flanking nodes run.")
    resources: Resources | None = None


class Retention(Model):
    """What becomes of volumes that no broker needs any more."""

    when_scaled: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description=(
            "Of brokers that `replicas` was lowered below. `Delete`: after all that they stored"
            " has been moved and they have left the cluster."
        ),
    )


class Storage(Model):
    """One volume per broker."""

    type: Literal["persistent", "ephemeral"] = Field(
        default="persistent",
        description=(
            "`persistent`: a PersistentVolumeClaim, kept when the cluster is deleted."
            " `ephemeral`: gone with its pod, for tests only."
        ),
    )
    size: str = Field(
        min_length=1,
        max_length=32,
        pattern=QUANTITY_PATTERN,
        description="Size of each volume, for example 10Gi. It may grow, never shrink.",
    )
    storage_class: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None,
        alias="class",
        description="StorageClass. Default: that of the Kubernetes cluster.",
    )
    retention: Retention = Retention()

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0",
                "storage.size may grow but never shrink: a volume cannot be made smaller",
            ),
            rule(
                "has(self.class) == has(oldSelf.class)"
                " && (!has(self.class) || self.class == oldSelf.class)",
                "storage.class cannot be changed: the volumes of the running brokers stay where"
                " they are; make a new cluster and move the topics",
            ),
            rule(
                "(has(self.type) ? self.type : 'persistent')"
                " == (has(oldSelf.type) ? oldSelf.type : 'persistent')",
                "storage.type cannot be changed: make a new cluster and move the topics",
            ),
            rule(
                "!has(self.type) || self.type != 'ephemeral' || !has(self.class)",
                "storage.class means nothing for ephemeral storage: leave it out",
            ),
        )
    )


class Authentication(Model):
    type: Literal["none"] = Field(description="`none`: whoever reaches the port may do everything.")


class Listener(Model):
    """One port on which every broker speaks the Kafka protocol."""

    name: str = Field(
        min_length=1,
        max_length=15,
        pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        json_schema_extra=rules(
            rule(
                "!(self in ['admin', 'proxy', 'rpc'])",
                "a listener cannot be called admin, proxy or rpc: these are the brokers' own ports",
            )
        ),
    )
    port: int = Field(
        ge=1024,
        le=65535,
        json_schema_extra=rules(
            rule(
                f"!(self in [{ADMIN_PORT}, {PROXY_PORT}, {RPC_PORT}])",
                f"ports {ADMIN_PORT}, {PROXY_PORT} and {RPC_PORT} are taken by the Admin API,"
                " the HTTP Proxy and the brokers' own traffic: choose another one",
            )
        ),
    )
    type: Literal["internal"] = Field(
        default="internal", description="`internal`: reachable inside the Kubernetes cluster."
    )
    authentication: Authentication | None = Field(
        default=None,
        description="How clients prove who they are. It has to be named, also when open.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.authentication)",
                "a listener has to name its authentication: write `authentication: {type: none}`"
                " for one that is open to everybody who reaches it",
            )
        )
    )


TAKEN_KEYS: Final = rules(
    rule(
        "self.all(k, !(k.startsWith('quorate.dev/') || k.startsWith('app.kubernetes.io/')))",
        "keys under quorate.dev/ and app.kubernetes.io/ belong to the operator",
    )
)
MetadataValue = Annotated[str, Field(max_length=4096)]


class PodMetadata(Model):
    labels: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default={}, max_length=32, json_schema_extra=TAKEN_KEYS
    )
    annotations: dict[str, MetadataValue] = Field(
        default={}, max_length=32, json_schema_extra=TAKEN_KEYS
    )


class PodTemplate(Model):
    metadata: PodMetadata = PodMetadata()


class Template(Model):
    """What is added to the objects that the operator makes."""

    pod: PodTemplate = PodTemplate()


class Window(Model):
    """A stretch of time, every day or on some days, in UTC."""

    days: list[Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]] = Field(
        default=[],
        max_length=7,
        description="On which it begins. Default: every day.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    start: str = Field(
        max_length=5, pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="For example 22:00."
    )
    minutes: int = Field(ge=1, le=1440, description="How long it lasts.")


class UpdateStrategy(Model):
    """How brokers are restarted for a change that needs it."""

    type: Literal["RollingUpdate", "Supervised", "OnDelete"] = Field(
        default="RollingUpdate",
        description=(
            "`RollingUpdate`: by the operator, one at a time. `Supervised`: the same, each revision"
            " after `kubectl quorate roll --approve`. `OnDelete`: when somebody deletes the pod."
        ),
    )
    leader: Literal["Transfer", "Restart"] = Field(
        default="Transfer",
        description="Whether the last broker hands the lead over before its own restart.",
    )
    windows: list[Window] = Field(
        default=[],
        max_length=16,
        description=(
            "Maintenance windows: brokers that serve are restarted only in them. Default: always."
        ),
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


RESERVED_SETTINGS: Final = (
    "node.id", "node.role", "data.dir", "rack", "cluster.id", "seeds", "listeners", "rpc.host",
    "rpc.port", "admin.host", "admin.port", "proxy.host", "proxy.port", "bootstrap.servers",
    "admin.urls", "feature.level.known", "feature.level.raise", "pod.name",
    "rpc.advertised.address",
)  # fmt: skip


def _reserved_rule() -> dict[str, str]:
    keys = ", ".join(f"'{key}'" for key in RESERVED_SETTINGS)
    return rule(
        f"self.all(k, !(k in [{keys}]))",
        "identity, addresses, seeds and listeners are set by the operator and cannot stand in"
        " config",
    )


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
        json_schema_extra=rules(_reserved_rule()),
    )
    storage: Storage
    listeners: list[Listener] = Field(
        min_length=1,
        max_length=8,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            **rules(
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
    resources: Resources | None = None
    template: Template = Template()
    update_strategy: UpdateStrategy = UpdateStrategy()
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
