"""`kubectl apply -k deploy` is the charts with their default values, without Helm."""

from __future__ import annotations

from typing import Any

from quorate_bed import charts

Json = dict[str, Any]


def key(one: Json) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]


def without_manager(one: Json) -> Json:
    labels = one["metadata"].get("labels", {})
    kept = {name: value for name, value in labels.items() if name != "app.kubernetes.io/managed-by"}
    return {**one, "metadata": {**one["metadata"], "labels": kept}}


def test_kustomize_makes_what_helm_makes():
    found = {key(one): one for one in charts.documents(charts.kustomize(charts.KUSTOMIZATION))}
    namespace = found.pop(("Namespace", "quorate-system"))
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    wanted = [
        *charts.documents(charts.template(charts.CRDS, "--set=keep=false").stdout),
        *charts.documents(charts.template(charts.OPERATOR).stdout),
    ]
    assert {key(one): without_manager(one) for one in wanted} == {
        name: without_manager(one) for name, one in found.items()
    }
    managers = {one["metadata"]["labels"]["app.kubernetes.io/managed-by"] for one in found.values()}
    assert managers == {"kustomize"}
