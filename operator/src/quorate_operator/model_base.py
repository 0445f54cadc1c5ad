"""What the models of `BrokerCluster` are made of: the base, CEL rules, values of known shape.

Read next: `model.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


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

    def __hash__(self) -> int:
        """Lists and mappings within are never changed: what is a default need not be copied."""
        return hash(self.model_dump_json())

    def written(self) -> dict[str, Any]:
        """As a person would write it: camelCase, and nothing that was left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


ATOMIC: Final[dict[str, Any]] = {"x-kubernetes-list-type": "atomic"}
BY_NAME: Final[dict[str, Any]] = {
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
}
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

DURATION_PATTERN: Final = r"^[1-9][0-9]{0,5}(s|m|h|d)$"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
Duration = Annotated[str, Field(max_length=7, pattern=DURATION_PATTERN)]
"""`90s`, `10m`, `2h`, `3d`"""


def seconds(duration: str) -> int:
    return int(duration[:-1]) * _UNITS[duration[-1]]


Free = Annotated[
    dict[str, Any],
    Field(max_length=64, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}),
]
"""Passed on as it is: Kubernetes knows its shape, and refuses what has another one."""


class Resources(Model):
    """Requests and limits of the one container in a pod."""

    requests: dict[str, Quantity] = Field(
        default={}, max_length=16, description="What is set aside for it, for example cpu: 500m."
    )
    limits: dict[str, Quantity] = Field(
        default={}, max_length=16, description="What it gets at most, for example memory: 1Gi."
    )


TAKEN_KEYS: Final = rules(
    rule(
        "self.all(k, !(k.startsWith('quorate.dev/') || k.startsWith('app.kubernetes.io/')))",
        "keys under quorate.dev/ and app.kubernetes.io/ belong to the operator",
    )
)
MetadataValue = Annotated[str, Field(max_length=4096)]


class Metadata(Model):
    """Labels and annotations that are added to an object."""

    labels: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default={},
        max_length=32,
        description="Beside those of the operator.",
        json_schema_extra=TAKEN_KEYS,
    )
    annotations: dict[str, MetadataValue] = Field(
        default={},
        max_length=32,
        description="Beside those of the operator.",
        json_schema_extra=TAKEN_KEYS,
    )

    def under(self, other: Metadata) -> Metadata:
        """Both; the other one wins."""
        return Metadata(
            labels={**self.labels, **other.labels},
            annotations={**self.annotations, **other.annotations},
        )
