"""What a plan can ask for. Frozen data: `reconcile` carries it out, tests compare it."""

from __future__ import annotations

import dataclasses

from quorate_operator.facts import Json


@dataclasses.dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of one child."""

    manifest: Json
    why: str

    def __str__(self) -> str:
        return f"apply {self.manifest['kind']} {self.manifest['metadata']['name']} ({self.why})"


@dataclasses.dataclass(frozen=True, slots=True)
class MarkLeader:
    """Put the leader's label on a pod, or take it off."""

    pod: str
    uid: str
    leads: bool

    def __str__(self) -> str:
        return f"{'mark' if self.leads else 'unmark'} pod {self.pod} as leader"


@dataclasses.dataclass(frozen=True, slots=True)
class GrowVolume:
    """Ask for a larger volume; the storage class decides whether that works online."""

    name: str
    uid: str
    size: str

    def __str__(self) -> str:
        return f"grow volume {self.name} to {self.size}"


Action = Apply | MarkLeader | GrowVolume
