"""A newer operator by itself changes nobody's pods."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from quorate_operator import render
from quorate_operator.facts import DefaultImage
from quorate_operator.names import RENDERED_BY_ANNOTATION
from quorate_operator.plan import plan
from quorate_operator.plan.subject import subject
from quorate_operator.testing.live import as_live

OLD, NEW = DefaultImage("quorate-broker", "0.1.0"), DefaultImage("quorate-broker", "0.2.0")
SETS = {"orders-broker", "orders-flanking"}
FORMED = {"clusterId": "id-1"}
OF_NO_POD: dict[str, dict[str, Any]] = {
    "nothing": {},
    "replicas": {"replicas": 5},
    "strategy": {"updateStrategy": {"type": "Supervised"}},
    "disruption": {"disruption": {"pdb": "None"}},
    "growth": {"storage": {"size": "9Gi"}},
    "retention": {"storage": {"size": "1Gi", "retention": {"whenDeleted": "Delete"}}},
    "flanking": {"flanking": {"replicas": 4}},
}
OF_PODS: dict[str, dict[str, Any]] = {
    "version": {"version": "9"},
    "resources": {"resources": {"limits": {"cpu": "3"}}},
    "labels": {"template": {"pod": {"metadata": {"labels": {"a": "b"}}}}},
}


def made_by(scene, default: DefaultImage, spec, live, newer: bool = False):
    """What an operator wants of a cluster; a newer one makes its pods otherwise."""
    wish = scene.wish(spec=spec, status=FORMED, pods=(), children=live)
    manifests = copy.deepcopy(render.render(subject(wish, default)))
    for one in manifests if newer else ():
        if one["kind"] == "StatefulSet":
            one["metadata"]["annotations"][RENDERED_BY_ANNOTATION] = "9.9.9"
            one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 7
    return wish, manifests


def templates_to_be(scene, base, change) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of the pods: before the change of operators, and as the newer one would apply them."""
    _, before = made_by(scene, OLD, base, {})
    live = as_live(before)
    wish, wanted = made_by(scene, NEW, base | change, live, newer=True)
    old = {name: live["StatefulSet", name]["spec"]["template"] for name in SETS}
    new = {
        one.manifest["metadata"]["name"]: one.manifest["spec"]["template"]
        for one in plan(wish, wanted)
        if getattr(one, "manifest", {}).get("kind") == "StatefulSet"
    }
    return old, old | new


@pytest.mark.parametrize("base", OF_PODS.values(), ids=OF_PODS)
@pytest.mark.parametrize("change", OF_NO_POD.values(), ids=OF_NO_POD)
def test_an_operator_with_other_defaults_changes_no_pod_template_by_itself(scene, base, change):
    before, after = templates_to_be(scene, base, change)
    assert after == before


@pytest.mark.parametrize("change", OF_PODS.values(), ids=OF_PODS)
def test_a_change_that_concerns_the_pods_brings_the_newer_defaults_too(scene, change):
    _, after = templates_to_be(scene, {}, change)
    assert after["orders-broker"]["spec"]["terminationGracePeriodSeconds"] == 7


def test_a_newer_operator_finds_nothing_to_do(scene):
    _, before = made_by(scene, OLD, {}, {})
    wish, wanted = made_by(scene, NEW, {}, as_live(before), newer=True)
    assert plan(wish, wanted) == ()
