"""The chart `quorate-cluster`: values are the spec of one `BrokerCluster`, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from quorate_bed import charts, paths
from quorate_operator import crds, model, values_schema
from quorate_operator.model import BrokerClusterSpec

SCHEMA = charts.CLUSTER / "values.schema.json"
EXAMPLES = [
    (path, document)
    for path in sorted((paths.REPOSITORY / "examples").glob("*.yaml"))
    for document in charts.documents(path.read_text(encoding="utf-8"))
    if document["kind"] == model.KIND
]


def rendered(*arguments: str, stdin: str = "") -> dict[str, Any]:
    found = charts.template(charts.CLUSTER, *arguments, release="orders", stdin=stdin)
    assert found.returncode == 0, found.stderr
    (one,) = charts.documents(found.stdout)
    return one


def names(schema: dict[str, Any], path: str = "") -> set[str]:
    """Every field below a node."""
    found = set()
    for name, inner in schema.get("properties", {}).items():
        found |= {f"{path}.{name}"} | names(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found |= names(schema[key], f"{path}[]")
    return found


def test_the_committed_schema_is_the_generated_one():
    assert SCHEMA.read_text(encoding="utf-8") == values_schema.text(), "run `make generate`"


def opened(schema: dict[str, Any], path: str = "") -> set[str]:
    """Places of which Kubernetes knows the shape, and the definition only a part."""
    found = {path} if schema.get("x-kubernetes-preserve-unknown-fields") else set()
    for name, inner in schema.get("properties", {}).items():
        found |= opened(inner, f"{path}.{name}")
    return found | (opened(schema["items"], f"{path}[]") if "items" in schema else set())


def test_the_schema_has_every_field_of_the_spec_and_is_closed():
    ours, spec = values_schema.values(), crds.schema_of(BrokerClusterSpec)
    metadata = {name for name in names(ours) if f"{name}.".startswith(".metadata.")}
    assert names(ours) - metadata == names(spec) | {".global"}
    passed_on = opened(spec)

    def check(node: dict[str, Any], path: str) -> None:
        if "properties" in node:
            assert node["additionalProperties"] is (path in passed_on), path
        for name, inner in node.get("properties", {}).items():
            check(inner, f"{path}.{name}")
        if isinstance(node.get("items"), dict):
            check(node["items"], f"{path}[]")

    check(ours, "")


def test_without_values_it_is_a_cluster_of_three_named_after_the_release():
    one = rendered()
    assert (one["kind"], one["metadata"]) == (
        model.KIND,
        {"name": "orders", "namespace": "quorate-system"},
    )
    spec = BrokerClusterSpec.model_validate(one["spec"])
    assert (spec.replicas, spec.storage.size) == (3, "10Gi")


def test_name_labels_and_annotations_are_those_of_the_resource():
    arguments = ("--set=metadata.name=other", "--set=metadata.labels.team=x", "--set=replicas=5")
    one = rendered(*arguments, "--set=metadata.annotations.a=b", "--set=global.x=y")
    assert one["metadata"] == {
        "name": "other",
        "namespace": "quorate-system",
        "labels": {"team": "x"},
        "annotations": {"a": "b"},
    }
    assert one["spec"]["replicas"] == 5
    assert "metadata" not in one["spec"]
    assert "global" not in one["spec"]


@pytest.mark.parametrize(("path", "example"), EXAMPLES, ids=lambda one: getattr(one, "stem", ""))
def test_an_example_given_as_values_comes_out_as_it_stands(path, example):
    one = rendered("--values=-", stdin=yaml.safe_dump(example["spec"]))
    assert one["spec"] == example["spec"]
