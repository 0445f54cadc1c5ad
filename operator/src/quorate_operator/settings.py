"""What the operator itself is told, by environment variables that the chart sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

from quorate_operator.budget import DEFAULT_PLACES
from quorate_operator.facts import DefaultImage

LEVELS: Final = ("debug", "info", "warning", "error")


class SettingsError(Exception):
    """A variable that cannot be used; the message names it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    namespaces: tuple[str, ...]
    """Where clusters are looked after; empty: everywhere."""
    image: DefaultImage
    http_port: int
    log_level: str
    lease: tuple[str, str] | None
    """Namespace and name of the lease; None: this is the only operator, as from a shell."""
    identity: str
    """Of this process in the lease."""
    rollouts: int
    """How many clusters may be on a rollout at once."""


def load(environ: Mapping[str, str]) -> Settings:
    namespaces = environ.get("QUORATE_OPERATOR_NAMESPACES", "")
    port = environ.get("QUORATE_OPERATOR_HTTP_PORT", "8080")
    lease_namespace = environ.get("QUORATE_OPERATOR_LEASE_NAMESPACE", "")
    level = environ.get("QUORATE_OPERATOR_LOG_LEVEL", "info")
    if not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise SettingsError(f"QUORATE_OPERATOR_HTTP_PORT must be a port, not {port!r}")
    rollouts = environ.get("QUORATE_OPERATOR_ROLLOUTS", str(DEFAULT_PLACES))
    if not rollouts.isdecimal() or int(rollouts) < 1:
        raise SettingsError(
            f"QUORATE_OPERATOR_ROLLOUTS must be a number of clusters from 1, not {rollouts!r}"
        )
    if level not in LEVELS:
        raise SettingsError(
            f"QUORATE_OPERATOR_LOG_LEVEL must be one of {', '.join(LEVELS)}, not {level!r}"
        )
    return Settings(
        namespaces=tuple(name.strip() for name in namespaces.split(",") if name.strip()),
        image=DefaultImage(
            repository=environ.get("QUORATE_OPERATOR_BROKER_REPOSITORY", "quorate-broker"),
            tag=environ.get("QUORATE_OPERATOR_BROKER_TAG", "0.1.0"),
            namespace=lease_namespace,
        ),
        http_port=int(port),
        log_level=level,
        lease=(lease_namespace, "quorate-operator") if lease_namespace else None,
        rollouts=int(rollouts),
        identity=environ.get("QUORATE_OPERATOR_POD", "") or "one of several",
    )
