"""Three brokers, led by broker 2, before a rollout: what it would do next, and what holds it up.

Read next: `scene.py`, of which it is made.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any

from quorate_operator.plan import leadership, rollout
from quorate_operator.plan.inputs import Wish
from quorate_operator.testing.fake_admin import survey
from quorate_operator.testing.scene import Scene


class Story(abc.ABC):
    """`wish` says what else is observed."""

    def __init__(self, scene: Scene, revisions: Sequence[str]) -> None:
        self.scene = scene
        self.spec: dict[str, Any] = {}
        self.annotations: dict[str, str] = {}
        self.pods = [
            scene.pod(f"broker-{n}", revision=revision) for n, revision in enumerate(revisions)
        ]
        self.views = scene.views(*[scene.view(2, 5)] * len(self.pods))
        self.survey = survey()

    @property
    @abc.abstractmethod
    def wish(self) -> Wish: ...

    def change(self, number: int, **facts: Any) -> None:
        self.pods[number] = dataclasses.replace(self.pods[number], **facts)

    @property
    def look(self) -> rollout.Rollout:
        return rollout.look(self.wish, leadership.read(self.wish))

    @property
    def steps(self) -> list[str]:
        return [str(step) for step in self.look.steps]

    @property
    def blocked(self) -> list[tuple[str, str]]:
        return [(one.reason.value, one.subject) for one in self.look.blocked]
