"""The committed definition is the one that the models make, and is as Kubernetes wants it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from quorate_operator import crds
from quorate_operator.model import BrokerClusterSpec

ROOT = Path(__file__).parents[2]
FILE = "quorate.dev_brokerclusters.yaml"
SCHEMA = crds.broker_clusters()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema node with its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


@pytest.mark.parametrize("place", ["crds", "charts/quorate-crds/files"])
def test_the_committed_definition_is_the_generated_one(place):
    committed = (ROOT / place / FILE).read_text(encoding="utf-8")
    assert committed == crds.text(), "run `make generate`"


def test_the_schema_is_structural():
    for path, node in nodes(SCHEMA):
        assert not {"$ref", "$defs", "title", "allOf", "oneOf", "const"} & set(node), path
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        if isinstance(node.get("additionalProperties"), dict):
            assert "properties" not in node, path


def test_everything_a_person_writes_has_a_bound():
    for path, node in nodes(SCHEMA["properties"]["spec"], "spec"):
        match node.get("type"):
            case "array":
                assert "maxItems" in node, path
            case "string":
                assert "maxLength" in node or "enum" in node, path
            case "object" if "additionalProperties" in node:
                assert "maxProperties" in node, path
            case "integer":
                assert "maximum" in node, path


def test_every_field_says_what_it_is():
    for path, node in nodes(SCHEMA):
        if path.startswith((".spec", ".status")) and not path.endswith("[]"):
            assert len(node.get("description", "").split()) > 1, path


def test_only_replicas_has_a_default():
    defaults = {path for path, node in nodes(SCHEMA) if "default" in node}
    assert defaults == {".spec.replicas"}


def test_every_rule_has_a_sentence():
    rules = [rule for _, node in nodes(SCHEMA) for rule in node.get("x-kubernetes-validations", [])]
    assert len(rules) > 10
    for rule in rules:
        assert len(rule["message"].split()) > 6, rule


def test_lists_merge_by_key():
    keyed = {
        path: node["x-kubernetes-list-map-keys"]
        for path, node in nodes(SCHEMA)
        if node.get("x-kubernetes-list-type") == "map"
    }
    assert keyed == {
        ".spec.flanking.containers": ["name"],
        ".spec.flanking.template.container.env": ["name"],
        ".spec.flanking.template.pod.spec.containers": ["name"],
        ".spec.flanking.template.pod.spec.initContainers": ["name"],
        ".spec.flanking.template.pod.spec.volumes": ["name"],
        ".spec.listeners": ["name"],
        ".spec.logging.loggers": ["name"],
        ".spec.template.container.env": ["name"],
        ".spec.template.pod.spec.containers": ["name"],
        ".spec.template.pod.spec.initContainers": ["name"],
        ".spec.template.pod.spec.volumes": ["name"],
        ".status.conditions": ["type"],
        ".status.images": ["image"],
        ".status.listeners": ["name"],
        ".status.nodes": ["nodeId"],
        ".status.rollout.remaining": ["pod"],
    }


def test_the_definition_is_small_enough_for_client_side_apply():
    assert len(crds.text()) < 256 * 1024 / 2


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_each_example_is_a_spec_that_the_operator_reads(path):
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        spec = BrokerClusterSpec.model_validate(document["spec"])
        assert spec.replicas >= 1


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples/invalid").glob("*.yaml")), ids=lambda p: p.stem
)
def test_each_refused_example_says_in_its_head_what_to_expect(path):
    heads = [text.lstrip().splitlines()[0] for text in path.read_text().split("---\n")]
    assert heads[-1].startswith("# refused: ")
    assert all(head == "# accepted" for head in heads[:-1])
    ours = [
        rule["message"]
        for _, node in nodes(SCHEMA)
        for rule in node.get("x-kubernetes-validations", [])
    ]
    expected = heads[-1].removeprefix("# refused: ")
    builtin = ("spec.", "should have", "Unsupported value")
    assert expected.startswith(builtin) or any(expected in message for message in ours)
