"""Writes the CustomResourceDefinition from the pydantic models.

    python -m quorate_operator.crds [FILE]

pydantic speaks JSON Schema, Kubernetes wants a *structural* OpenAPI schema: no references, no
titles, no `anyOf` with null. This module is that translation and the parts of the definition that
are not schema (printer columns, subresources). A test holds the committed file equal to its output.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from quorate_operator import model, status
from quorate_operator.model_base import Model

Json = dict[str, Any]

_DROPPED: Final = ("title", "$defs", "additionalProperties")
_ORDER: Final = ("description", "type", "format", "default", "enum", "minimum", "maximum")
"""What stands first in a node, so that the generated file can be read."""

_CONDITION = '.status.conditions[?(@.type=="Ready")]'
PRINTER_COLUMNS: Final[tuple[tuple[str, str, str, int], ...]] = (
    ("Ready", "string", f"{_CONDITION}.status", 0),
    ("Reason", "string", f"{_CONDITION}.reason", 0),
    ("State", "string", ".status.summary", 0),
    ("Brokers", "string", ".status.readyText", 0),
    ("Updated", "string", ".status.updatedText", 0),
    ("Leader", "string", ".status.leader.pod", 0),
    ("Version", "string", ".status.version", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Flanking", "integer", ".status.flanking.ready", 1),
    ("Epoch", "integer", ".status.leader.epoch", 1),
    ("ClusterID", "string", ".status.clusterId", 1),
    ("Listeners", "string", ".status.listeners[*].bootstrapServers", 1),
)


def structural(schema: Json, definitions: Json) -> Json:
    """One JSON Schema node as Kubernetes accepts it. Recursion ends where the models do."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return structural({**definitions[name], **beside}, definitions)
    if schema.get("x-kubernetes-int-or-string"):
        # pydantic's type and lengths are those of the string alone
        return {key: value for key, value in schema.items() if key not in ("type", "maxLength")}
    alternatives = schema.get("anyOf")
    if alternatives is not None:
        (only,) = [one for one in alternatives if one.get("type") != "null"]
        beside = {key: value for key, value in schema.items() if key != "anyOf"}
        return structural({**only, **beside}, definitions)
    return _plain(schema, definitions)


def _plain(schema: Json, definitions: Json) -> Json:
    out = {key: value for key, value in schema.items() if key not in _DROPPED}
    if "const" in out:
        out["enum"] = [out.pop("const")]
    if out.get("type") != "integer" or not out.get("default"):
        # The API server would write it into everybody's resource, and GitOps tools would show a
        # difference that nobody made. Only `replicas` has to be there, for the scale subresource.
        out.pop("default", None)
    if out.get("type") == "integer" and "format" not in out:
        out["format"] = "int64"
    if "properties" in out:
        out["properties"] = {
            name: structural(one, definitions) for name, one in out["properties"].items()
        }
    if isinstance(schema.get("additionalProperties"), dict):
        out["additionalProperties"] = structural(schema["additionalProperties"], definitions)
    if "items" in out:
        out["items"] = structural(out["items"], definitions)
    if "description" in out:
        out["description"] = " ".join(out["description"].split())
    first = [key for key in _ORDER if key in out]
    return {key: out[key] for key in (*first, *(key for key in out if key not in first))}


def schema_of(kind: type[Model]) -> Json:
    raw = kind.model_json_schema(by_alias=True)
    return structural(raw, raw.get("$defs", {}))


def broker_clusters() -> Json:
    """The whole CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{model.PLURAL}.{model.GROUP}"},
        "spec": {
            "group": model.GROUP,
            "names": {
                "kind": model.KIND,
                "listKind": f"{model.KIND}List",
                "plural": model.PLURAL,
                "singular": "brokercluster",
                "shortNames": ["bc"],
                "categories": ["quorate"],
            },
            "scope": "Namespaced",
            "versions": [_version()],
        },
    }


def _version() -> Json:
    return {
        "name": model.VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, **({"priority": 1} if wide else {})}
            for name, kind, path, wide in PRINTER_COLUMNS
        ],
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "description": "A cluster of Quorate brokers.",
                "required": ["spec"],
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": {"type": "object"},
                    "spec": schema_of(model.BrokerClusterSpec),
                    "status": schema_of(status.BrokerClusterStatus),
                },
                "x-kubernetes-validations": list(model.NAME_RULES),
            }
        },
    }


def text() -> str:
    """The file as it is committed."""
    head = "# Generated from operator/src/quorate_operator/model.py by `make generate`.\n"
    without_anchors = json.loads(json.dumps(broker_clusters()))
    return head + yaml.safe_dump(without_anchors, sort_keys=False, width=100)


def main() -> None:
    if len(sys.argv) > 1:
        for path in sys.argv[1:]:
            Path(path).write_text(text(), encoding="utf-8")
    else:
        sys.stdout.write(text())


if __name__ == "__main__":
    main()
