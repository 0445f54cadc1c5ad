"""The plan as a table: a converged cluster needs nothing, and each departure its own action."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from quorate_operator import render
from quorate_operator.facts import DefaultImage
from quorate_operator.plan import inputs, plan
from quorate_operator.plan.actions import Apply
from quorate_operator.plan.children import departure
from quorate_operator.plan.subject import image, subject
from quorate_operator.testing.live import as_live

DEFAULT = DefaultImage("quorate-broker", "0.1.0")
KNOWN = {"clusterId": "id-1"}
Edit = Callable[[dict[tuple[str, str], Any]], None]


@pytest.fixture
def converged(scene):
    """(wish, manifests) of a cluster at which nothing is left to do."""

    def make(**other: Any):
        pods = tuple(scene.pod(f"broker-{n}", labelled_leader=n == 1) for n in range(3))
        facts = {"status": KNOWN, "pods": pods, "views": scene.views(*[scene.view(2, 5)] * 3)}
        wish = scene.wish(**(facts | other))
        manifests = render.render(subject(wish, DEFAULT))
        return wish, manifests

    return make


def test_a_converged_cluster_needs_nothing(scene, converged):
    wish, manifests = converged()
    wish, manifests = converged(children=as_live(manifests))
    assert plan(wish, manifests) == ()


def test_an_empty_namespace_needs_every_child_in_order(converged):
    wish, manifests = converged()
    actions = plan(wish, manifests)
    assert [action.manifest for action in actions] == list(manifests)
    assert {action.why for action in actions} == {"missing"}


def test_the_number_of_brokers_is_decided_for_what_was_seen_and_nothing_newer(scene, converged):
    wish, manifests = converged()
    live = as_live(manifests)
    for name in ("orders-broker", "orders-flanking"):
        live["StatefulSet", name]["spec"]["serviceName"] = "another"
    wish, manifests = converged(children=live)
    onto = {
        action.manifest["metadata"]["name"]: action.onto
        for action in plan(wish, manifests)
        if isinstance(action, Apply)
    }
    assert onto == {"orders-broker": "7", "orders-flanking": ""}


def drop(kind: str, name: str) -> Edit:
    return lambda live: live.pop((kind, name)) and None


def put(kind: str, name: str, path: str, value: object) -> Edit:
    def edit(live: dict[tuple[str, str], Any]) -> None:
        target = live[kind, name]
        *parents, last = [step.replace("~", "/") for step in path.split("/")]
        for step in parents:
            target = target[int(step) if step.isdecimal() else step]
        target[last] = value

    return edit


SET = ("StatefulSet", "orders-broker")
BOOT = ("Service", "orders-bootstrap")


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (drop(*BOOT), "apply Service orders-bootstrap (missing)"),
        (
            put(*SET, "spec/replicas", 2),
            "apply StatefulSet orders-broker (someone changed .spec.replicas)",
        ),
        (
            put(*BOOT, "spec/ports/0/port", 1),
            "apply Service orders-bootstrap (someone changed .spec.ports[0].port)",
        ),
        (
            put(*BOOT, "metadata/labels/quorate.dev~cluster", "x"),
            "apply Service orders-bootstrap (someone changed .metadata.labels.quorate.dev/cluster)",
        ),
        (
            put("ConfigMap", "orders-config", "data/quorate.toml", ""),
            "apply ConfigMap orders-config (someone changed .data.quorate.toml)",
        ),
        (
            put(*BOOT, "metadata/annotations/quorate.dev~applied", "old"),
            "apply Service orders-bootstrap (changed)",
        ),
        (put(*BOOT, "metadata/annotations", {}), "apply Service orders-bootstrap (changed)"),
        (put(*BOOT, "spec/externalTrafficPolicy", "Local"), None),
        (
            put(
                *SET,
                "spec/volumeClaimTemplates/0/spec/resources",
                {"requests": {"storage": "1024Mi"}},
            ),
            None,
        ),
    ],
)
def test_each_departure_is_put_right_and_nothing_else(converged, edit, expected):
    wish, manifests = converged()
    live = as_live(manifests)
    edit(live)
    wish, manifests = converged(children=live)
    assert [str(action) for action in plan(wish, manifests)] == ([expected] if expected else [])


def test_a_field_that_is_no_longer_wanted_changes_the_digest(converged):
    _, before = converged(spec={"config": {"num.partitions": "8"}})
    wish, after = converged(children=as_live(before))
    assert "ConfigMap orders-config (changed)" in str(plan(wish, after)[0])


def test_paused_and_deleted_clusters_are_left_alone(converged, scene):
    wish, manifests = converged(spec={"paused": True})
    assert plan(wish, manifests) == ()
    going = scene.cluster()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    wish, manifests = converged(cluster=going)
    assert plan(wish, manifests) == ()


@pytest.mark.parametrize(
    ("labelled", "told", "expected"),
    [
        ([], (2, 5), ["mark pod orders-broker-1 as leader"]),
        ([1], (2, 5), []),
        (
            [0],
            (2, 5),
            ["unmark pod orders-broker-0 as leader", "mark pod orders-broker-1 as leader"],
        ),
        (
            [0],
            (None, 0),
            [
                "apply PodDisruptionBudget orders-broker (changed)",  # nobody may go now
                "unmark pod orders-broker-0 as leader",
            ],
        ),
    ],
)
def test_the_label_follows_the_lead(scene, converged, labelled, told, expected):
    _, manifests = converged()
    pods = tuple(scene.pod(f"broker-{n}", labelled_leader=n in labelled) for n in range(3))
    views = scene.views(*[scene.view(*told)] * 3)
    wish, manifests = converged(children=as_live(manifests), pods=pods, views=views)
    assert [str(action) for action in plan(wish, manifests)] == expected


@pytest.mark.parametrize(
    ("wanted", "found", "grows"),
    [("2Gi", "1Gi", True), ("2Gi", "2048Mi", False), ("1Gi", "5Gi", False)],
)
def test_volumes_grow_and_never_shrink(scene, converged, wanted, found, grows):
    _, manifests = converged()
    wish, manifests = converged(
        spec={"storage": {"size": wanted}},
        children=as_live(manifests),
        volumes=(scene.volume(0, size=found, capacity=found),),
    )
    actions = [str(action) for action in plan(wish, manifests)]
    assert actions == ([f"grow volume data-orders-broker-0 to {wanted}"] if grows else [])


def test_flanking_nodes_come_and_go_without_a_trace_on_the_brokers(converged):
    _, none = converged()
    _, many = converged(spec={"flanking": {"replicas": 5}})
    changed = [
        one["metadata"]["name"] for one, other in zip(none, many, strict=True) if one != other
    ]
    assert changed == ["orders-flanking"]


def test_another_order_of_the_listeners_changes_nothing(converged):
    internal, second = (
        {"name": name, "port": port, "authentication": {"type": "none"}}
        for name, port in (("internal", 9092), ("second", 9093))
    )
    _, before = converged(spec={"listeners": [internal, second]})
    _, after = converged(spec={"listeners": [second, internal]})
    assert before == after


def test_learning_the_cluster_id_changes_no_stateful_set(scene, converged):
    _, before = converged(status={}, views={})
    _, after = converged()
    changed = [one["kind"] for one, other in zip(before, after, strict=True) if one != other]
    assert changed == ["ConfigMap", "PodDisruptionBudget"], "and one broker may go from now on"


@pytest.mark.parametrize(
    ("spec", "live", "formed", "expected"),
    [
        ({}, None, False, "quorate-broker:0.1.0"),
        ({"version": "2.0.0"}, None, False, "quorate-broker:2.0.0"),
        ({"image": {"repository": "mine", "tag": "x"}}, None, False, "mine:x"),
        ({"image": {"tag": "x"}, "version": "2.0.0"}, None, False, "quorate-broker:x"),
        ({}, "quorate-broker:0.0.9", True, "quorate-broker:0.0.9"),
        ({}, "quorate-broker:broken", False, "quorate-broker:0.1.0"),
        ({"version": "2.0.0"}, "quorate-broker:0.0.9", True, "quorate-broker:2.0.0"),
        ({"image": {"repository": "mine"}}, "other:0.0.9", True, "mine:0.1.0"),
        ({"image": {"repository": "mine"}}, "mine:0.0.9", True, "mine:0.0.9"),
    ],
)
def test_a_newer_operator_does_not_change_the_version_of_a_cluster(
    scene, spec, live, formed, expected
):
    children = {}
    if live:
        pod = {"spec": {"containers": [{"image": live}]}}
        children = {SET: {"spec": {"template": pod}}}
    wish = scene.wish(spec=spec, status=KNOWN if formed else {}, children=children)
    assert image(wish, DEFAULT) == expected


@pytest.mark.parametrize(
    ("wanted", "found", "path"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, ""),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ".a.b"),
        ({"a": []}, {}, ""),
        ({"a": {}}, {}, ""),
        ({"a": []}, {"a": [1]}, ".a"),
        ({"a": [1, 2]}, {"a": [1]}, ".a"),
        ([{"name": "x", "v": 1}], [{"name": "y"}, {"name": "x", "v": 1}], ""),
        ([{"name": "x", "v": 1}], [{"name": "y"}], "[0]"),
        ({"cpu": "1000m"}, {"cpu": "1"}, ""),
        ({"cpu": "1000m"}, {"cpu": "2"}, ".cpu"),
        ({"a": "x"}, None, "."),
    ],
)
def test_departure_names_the_first_field_that_is_not_held(wanted, found, path):
    assert departure(wanted, found) == path


def test_what_is_asked_once_is_asked_anew_of_another_wish(scene):
    asked = []
    look = inputs.asked_once(lambda wish: asked.append(wish) or len(asked))
    wish = scene.wish()
    other = dataclasses.replace(wish, waits_for="another")
    assert [look(wish), look(wish), look(other), look(other)] == [1, 1, 2, 2]
    assert wish == dataclasses.replace(wish), "what was answered is no part of it"
