"""How the rows of the registry are written: a field of a frozen dataclass, with its row beside it.

Read next: `node_settings`, `storage_settings`, `settings`, one behind the other.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from quorate_broker.config.setting import Kind, Scope, Setting


def row(name: str, kind: Kind, default: object, doc: str, **more: Any) -> Any:
    scope = more.setdefault("scope", Scope.NODE)
    more.setdefault("needs_restart", scope is Scope.NODE)
    described = Setting(name=name, kind=kind, default=default, doc=doc, **more)
    return dataclasses.field(default=default, metadata={"setting": described})


def string(name: str, default: str, doc: str, **more: Any) -> Any:
    return row(name, Kind.STRING, default, doc, **more)


def broker(name: str, kind: Kind, default: object, doc: str, **more: Any) -> Any:
    """How brokers work: one value for all, from which a single one may differ."""
    return row(name, kind, default, doc, scope=Scope.BROKER, **more)


def port(name: str, default: int, doc: str) -> Any:
    return row(name, Kind.INTEGER, default, doc, minimum=1, maximum=65535)


def shared(name: str, default: int, doc: str, **more: Any) -> Any:
    """An integer of the whole cluster (or, with topic_name, the default of a topic's own)."""
    scope = Scope.TOPIC if "topic_name" in more else Scope.CLUSTER
    more.setdefault("minimum", 1)
    return row(name, Kind.INTEGER, default, doc, scope=scope, **more)
