"""How many brokers there are: growing at once, once they have formed; never fewer by a slip."""

from __future__ import annotations

import pytest

from quorate_operator import render
from quorate_operator.facts import DefaultImage
from quorate_operator.plan import size, status
from quorate_operator.plan.conditions import Passed
from quorate_operator.plan.subject import subject
from quorate_operator.testing.live import as_live

DEFAULT = DefaultImage("quorate-broker", "0.1.0")
FORMED = {"clusterId": "id-1"}
SET = ("StatefulSet", "orders-broker")


def live(scene, replicas: int, **status):
    wish = scene.wish(spec={"replicas": replicas}, status=status, pods=())
    return as_live(render.render(subject(wish, DEFAULT)))


def manifests(wish):
    return {
        (one["kind"], one["metadata"]["name"]): one for one in render.render(subject(wish, DEFAULT))
    }


def test_growing_changes_the_number_and_the_seeds_and_restarts_nobody(scene):
    before = live(scene, 3, **FORMED)
    wish = scene.wish(spec={"replicas": 5}, status=FORMED, children=before)
    after = manifests(wish)
    changed = {name for name, one in after.items() if one != before[name] and name in before}
    assert after[SET]["spec"]["replicas"] == 5
    assert after[SET]["spec"]["template"] == before[SET]["spec"]["template"] | {
        "spec": after[SET]["spec"]["template"]["spec"]
    }
    toml = after["ConfigMap", "orders-config"]["data"]["quorate.toml"]
    assert "5@orders-broker-4.orders-brokers.shop.svc:33145" in toml
    assert {SET, ("ConfigMap", "orders-config")} <= changed


def test_growing_waits_until_the_brokers_have_formed(scene):
    wish = scene.wish(spec={"replicas": 5}, children=live(scene, 3))
    assert size.effective(wish) == 3
    assert status.tell(wish, Passed(), "image:1").effective_replicas == 3


@pytest.mark.parametrize(
    ("annotation", "replicas", "told", "standing"),
    [
        ("5", 5, 5, 5),
        ("1", 5, 5, 5),
        ("5", 0, None, 5),
        ("somebody", 2, 5, 5),
        ("somebody", "was here", None, 0),
        ("1000", 3, None, 99),
    ],
)
def test_no_edit_of_one_record_makes_the_brokers_fewer(scene, annotation, replicas, told, standing):
    workload = {
        "metadata": {"annotations": {"quorate.dev/brokers": annotation}},
        "spec": {"replicas": replicas},
    }
    known = {**FORMED, **({"effectiveReplicas": told} if told else {})}
    wish = scene.wish(status=known, children={SET: workload})
    assert size.standing(wish) == standing


def test_the_status_lists_brokers_that_are_still_to_start(scene):
    wish = scene.wish(
        spec={"replicas": 5}, status=FORMED, views=scene.views(*[scene.view(2, 5)] * 3)
    )
    found = status.tell(wish, Passed(), "image:1")
    assert (found.effective_replicas, found.ready_text) == (5, "3/5")
    assert [node.node_id for node in found.nodes] == [1, 2, 3, 4, 5]
