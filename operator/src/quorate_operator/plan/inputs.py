"""What every part of the plan looks at, in one value."""

from __future__ import annotations

import dataclasses

from quorate_operator.facts import Json, Observed, Survey
from quorate_operator.model import BrokerClusterSpec
from quorate_operator.names import Names, Role
from quorate_operator.status import BrokerClusterStatus


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """The spec, what was seen, and what was last told."""

    spec: BrokerClusterSpec
    observed: Observed
    previous: BrokerClusterStatus
    survey: Survey | None = None
    """Only in a pass that may take something away; None also when the leader did not answer."""
    waits_for: str = ""
    """The cluster that has to be through with its rollout first; empty: none."""
    rolling: bool = False
    """It has a place in the operator's budget of clusters that roll at once."""
    unreadable: str = ""
    """Why its present spec cannot be read; `spec` is then the last one that could."""

    @property
    def names(self) -> Names:
        return Names(self.observed.key)

    def annotation(self, name: str) -> str:
        """Of the `BrokerCluster`; empty when it has none."""
        annotations = self.observed.cluster["metadata"].get("annotations") or {}
        return str(annotations.get(name, ""))

    def workload(self, role: Role) -> Json:
        """The live StatefulSet of that role; empty when there is none."""
        return self.observed.children.get(("StatefulSet", self.names.workload(role)), {})

    def image(self, role: Role) -> str:
        """Of the live StatefulSet's template; empty when there is none."""
        workload = self.workload(role)
        if not workload:
            return ""
        return str(workload["spec"]["template"]["spec"]["containers"][0]["image"])

    @classmethod
    def parse(cls, observed: Observed) -> Wish:
        """Raises pydantic.ValidationError for a spec or status of an unknown shape."""
        return cls(
            BrokerClusterSpec.model_validate(observed.cluster.get("spec", {})),
            observed,
            BrokerClusterStatus.model_validate(observed.cluster.get("status") or {}),
        )
