"""The part of a spec that says how brokers live: their volumes, restarts and disruptions.

Read next: `model.py`, the whole spec; `plan/rollout.py` and `plan/volumes.py`, which act on it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from quorate_operator.model_base import ATOMIC, QUANTITY_PATTERN, Duration, Model, rule, rules


class Retention(Model):
    """What becomes of volumes that no broker needs any more."""

    when_scaled: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description=(
            "Of brokers that `replicas` was lowered below. `Delete`: after all that they stored"
            " has been moved and they have left the cluster."
        ),
    )
    when_deleted: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description=(
            "Of all brokers, when the BrokerCluster is deleted. `Retain`: one of the same name"
            " takes them up again, with all that they hold."
        ),
    )


_GUIDED: Final = "(has(self.replace) && self.replace == 'Guided')"


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
        description=(
            "Size of each volume, for example 10Gi. It may grow; smaller only with"
            " `replace: Guided`."
        ),
    )
    storage_class: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None,
        alias="class",
        description=(
            "StorageClass. Default: that of the Kubernetes cluster. Another one only with"
            " `replace: Guided`."
        ),
    )
    replace: Literal["Never", "Guided"] = Field(
        default="Never",
        description=(
            "`Guided`: volumes of another class, or larger than `size`, are given up for new ones:"
            " one broker at a time, each only while all that it holds is in sync elsewhere, and the"
            " next one only after that broker has been filled again by the others."
        ),
    )
    unbind_after: Duration | None = Field(
        default=None,
        description=(
            "When the volume of a broker keeps it from running (its Kubernetes node is gone), give"
            " the volume up after this time, for example 30m: the broker begins on an empty one and"
            " is filled by the others. Default: never by itself; see `kubectl quorate unbind`."
        ),
    )
    retention: Retention = Retention()

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0 || {_GUIDED}",
                "storage.size may grow but never shrink: a volume cannot be made smaller. To have"
                " the volumes replaced one by one, write storage.replace: Guided",
            ),
            rule(
                "has(self.class) == has(oldSelf.class)"
                " && (!has(self.class) || self.class == oldSelf.class)"
                f" || {_GUIDED}",
                "storage.class cannot be changed under running brokers. To have their volumes"
                " replaced one by one, write storage.replace: Guided",
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


class Window(Model):
    """A stretch of time, every day or on some days, in UTC."""

    days: list[Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]] = Field(
        default=[],
        max_length=7,
        description="On which it begins. Default: every day.",
        json_schema_extra=ATOMIC,
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
        json_schema_extra=ATOMIC,
    )
    timeout_per_node: Duration | None = Field(
        default=None,
        description=(
            "A broker whose restart has been held up for longer makes the cluster Stalled."
            " Default: 10m."
        ),
    )


DEFAULT_TIMEOUT_PER_NODE: Final = "10m"


class Disruption(Model):
    """What others, a drain of a Kubernetes node first of all, may do to brokers."""

    pdb: Literal["Auto", "None"] = Field(
        default="Auto",
        description=(
            "`Auto`: a PodDisruptionBudget that lets one broker go while all of them are up and"
            " every partition is whole, and none otherwise. `None`: no budget."
        ),
    )
