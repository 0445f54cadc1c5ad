"""The registry as people and machines read it: for `quorate-broker config` and the README."""

from __future__ import annotations

import json
import textwrap

from quorate_broker.config.setting import Setting
from quorate_broker.config.settings import SETTINGS


def table(width: int) -> str:
    """A block per setting: the name with its default, then facts, then the meaning."""
    return "\n\n".join(_block(row, max(width, 40)) for row in SETTINGS.values())


def markdown() -> str:
    """One row per setting."""
    lines = [
        "| setting | type | default | limits | scope | restart | meaning |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in SETTINGS.values():
        kind = f"{row.kind}, {row.unit}" if row.unit else str(row.kind)
        restart = "yes" if row.needs_restart else "no"
        default = f"`{_default(row)}`" if _default(row) else ""
        lines.append(
            f"| `{row.name}` | {kind} | {default} | {_limits(row)} | {row.scope} | {restart} "
            f"| {row.doc} |"
        )
    return "\n".join(lines)


def json_text() -> str:
    """A list of objects, in the order of the registry."""
    return json.dumps([_fields(row) for row in SETTINGS.values()], indent=2)


def _fields(row: Setting) -> dict[str, object]:
    return {
        "name": row.name,
        "environment": row.environment,
        "alias": row.alias,
        "topic_name": row.topic_name,
        "type": row.kind.value,
        "unit": row.unit,
        "default": row.default,
        "minimum": row.minimum,
        "maximum": row.maximum,
        "choices": list(row.choices),
        "scope": row.scope.value,
        "needs_restart": row.needs_restart,
        "doc": row.doc,
    }


def _block(row: Setting, width: int) -> str:
    facts = [str(row.kind), row.unit, _limits(row), f"scope {row.scope}", row.environment]
    if row.topic_name:
        facts.append(f"topics: {row.topic_name}")
    if row.alias:
        facts.append(f"Admin API: {row.alias}")
    body = [", ".join(fact for fact in facts if fact), row.doc]
    indented = [
        textwrap.fill(text, width, initial_indent="    ", subsequent_indent="    ") for text in body
    ]
    return "\n".join([f"{row.name} = {_default(row)}".rstrip(), *indented])


def _default(row: Setting) -> str:
    if isinstance(row.default, tuple):
        return ""
    return str(row.default).lower() if isinstance(row.default, bool) else str(row.default)


def _limits(row: Setting) -> str:
    if row.choices:
        return " or ".join(row.choices)
    if row.minimum is None or row.maximum is None:
        return f"≥ {row.minimum}" if row.minimum is not None else ""
    return f"{row.minimum} to {row.maximum}"
