"""Writes the schema of the values of the chart `quorate-cluster` from the resource's own.

    python -m quorate_operator.values_schema FILE

The chart's values are the spec of one `BrokerCluster`, and beside it the name, labels and
annotations of the resource. Helm speaks JSON Schema, the definition a structural schema with rules
of its own; what Helm cannot say (the CEL rules) the API server says when the resource comes to it.
Closed everywhere: a misspelt value is refused before anything is sent.

Read next: `crds.py`, which makes the definition.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from quorate_operator import crds, model

Json = dict[str, Any]

_KUBERNETES: Final = "x-kubernetes-"
_OPEN: Final = f"{_KUBERNETES}preserve-unknown-fields"
_STRINGS: Final[Json] = {"type": "object", "additionalProperties": {"type": "string"}}
METADATA: Final[Json] = {
    "type": "object",
    "description": "Of the BrokerCluster.",
    "additionalProperties": False,
    "properties": {
        "name": {
            "type": "string",
            "maxLength": 40,
            "pattern": "^([a-z]([-a-z0-9]*[a-z0-9])?)?$",
            "description": "Empty: the name of the release.",
        },
        "labels": _STRINGS,
        "annotations": _STRINGS,
    },
}


def closed(schema: Json) -> Json:
    """One node of a structural schema as JSON Schema that takes nothing else."""
    out = {key: value for key, value in schema.items() if not key.startswith(_KUBERNETES)}
    out.pop("format", None)
    out.pop("default", None)
    if schema.get(f"{_KUBERNETES}int-or-string"):
        return {key: value for key, value in out.items() if key != "anyOf"} | {
            "type": ["integer", "string"]
        }
    if "properties" in out:
        out["properties"] = {name: closed(one) for name, one in out["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(out.get(key), dict):
            out[key] = closed(out[key])
    if out.get("type") == "object" and "additionalProperties" not in out:
        out["additionalProperties"] = bool(schema.get(_OPEN))
    return out


def values() -> Json:
    spec = closed(crds.schema_of(model.BrokerClusterSpec))
    own = {"metadata": METADATA, "global": {"type": "object"}}
    assert not set(own) & set(spec["properties"])
    return {
        "$schema": "https://json-schema.org/draft-07/schema#",
        **spec,
        "description": "Generated from the resource's own schema by `make generate`.",
        "properties": own | spec["properties"],
    }


def text() -> str:
    """The file as it is committed."""
    return json.dumps(values(), indent=2) + "\n"


def main() -> None:
    for path in sys.argv[1:]:
        Path(path).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
