"""What every part of the plan looks at, in one value."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar

from quorate_operator.facts import Json, Observed, Survey
from quorate_operator.model import BrokerClusterSpec
from quorate_operator.names import Names, Role
from quorate_operator.status import BrokerClusterStatus

T = TypeVar("T")


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
    _answers: dict[Callable[..., Any], Any] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Of what is `asked_once`."""

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


def asked_once(question: Callable[[Wish], T]) -> Callable[[Wish], T]:
    """Many ask it within a pass, and a wish never changes: it is answered once for each."""

    @functools.wraps(question)
    def answer(wish: Wish) -> T:
        answers = wish._answers
        if question not in answers:
            answers[question] = question(wish)
        found: T = answers[question]
        return found

    return answer
