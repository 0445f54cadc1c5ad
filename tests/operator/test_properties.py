"""What holds for every spec, every change by others, and every story that brokers may tell."""

from __future__ import annotations

import copy
import tomllib
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quorate_operator import render
from quorate_operator.facts import DefaultImage
from quorate_operator.model import LOG_SETTINGS, RESERVED_SETTINGS
from quorate_operator.names import ASKED_ANNOTATION, RENDERED_BY_ANNOTATION
from quorate_operator.plan import plan, status
from quorate_operator.plan.actions import Apply, LendReplicas
from quorate_operator.plan.conditions import Passed
from quorate_operator.plan.subject import subject
from quorate_operator.testing.live import as_live

DEFAULT = DefaultImage("quorate-broker", "0.1.0")
IMAGE = "quorate-broker:0.1.0"

names = st.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True)
keys = names.filter(lambda name: name not in (*RESERVED_SETTINGS, *LOG_SETTINGS))
listeners = st.lists(
    st.fixed_dictionaries(
        {
            "name": names,
            "port": st.integers(20000, 30000),
            "authentication": st.just({"type": "none"}),
        }
    ),
    min_size=1,
    max_size=4,
    unique_by=(lambda one: one["name"], lambda one: one["port"]),
)
quantities = st.sampled_from(["1", "1000m", "0.5", "500m", "1Gi", "1024Mi", "2G"])
resources = st.fixed_dictionaries(
    {},
    optional={
        "requests": st.dictionaries(st.sampled_from(["cpu", "memory"]), quantities),
        "limits": st.dictionaries(st.sampled_from(["cpu", "memory"]), quantities),
    },
)
LB = "b{nodeId}.{cluster}.example.com"
external = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["lb", "np", "ci"]),
            "port": st.integers(10000, 10009),
            "type": st.sampled_from(["nodeport", "loadbalancer", "clusterIP"]),
            "authentication": st.just({"type": "none"}),
        },
        optional={
            "advertised": st.sampled_from([{"hostTemplate": LB}, {"portTemplate": "9{nodeId}"}]),
            "annotations": st.just({"a": LB, "b": "c"}),
            "networkPolicyPeers": st.just([{"ipBlock": {"cidr": "10.0.0.0/8"}}]),
        },
    ),
    max_size=2,
    unique_by=(lambda one: one["name"], lambda one: one["port"]),
)
metadata = st.fixed_dictionaries(
    {}, optional={"labels": st.just({"a": "b"}), "annotations": st.just({"c": "", "d": "e"})}
)
containers = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["one", "two"]), "image": st.just("mine")},
        optional={
            "env": st.just([{"name": "A", "value": ""}, {"name": "B", "value": "b"}]),
            "resources": resources,
            "securityContext": st.just({"runAsUser": 7}),
            "ports": st.just([{"containerPort": 80}, {"containerPort": 81}]),
        },
    ),
    max_size=2,
    unique_by=lambda one: one["name"],
)
pod_templates = st.fixed_dictionaries(
    {},
    optional={
        "metadata": metadata,
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "terminationGracePeriodSeconds": st.integers(30, 90),
                "containers": containers,
                "securityContext": st.just({"runAsUser": 5, "supplementalGroups": [6]}),
                "volumes": st.just([{"name": "v", "emptyDir": {}}]),
                "hostAliases": st.just([{"ip": "10.0.0.1", "hostnames": ["h"]}]),
            },
        ),
    },
)
mounts = [
    {"name": "v", "mountPath": "/v", "readOnly": False},
    {"name": "v", "mountPath": "/w", "readOnly": True},
]
node_templates = {
    "pod": pod_templates,
    "container": st.fixed_dictionaries(
        {},
        optional={
            "env": st.just([{"name": "TZ", "value": "UTC"}]),
            "volumeMounts": st.just(mounts),
        },
    ),
}
templates = st.fixed_dictionaries(
    {},
    optional=node_templates
    | {
        name: st.fixed_dictionaries({"metadata": metadata})
        for name in ("service", "podDisruptionBudget", "serviceAccount")
    },
)
schedulings = st.fixed_dictionaries(
    {},
    optional={
        "tolerations": st.just([{"operator": "Exists", "tolerationSeconds": 0}]),
        "topologySpreadConstraints": st.just(
            [{"maxSkew": 1, "topologyKey": "x", "whenUnsatisfiable": "DoNotSchedule"}]
        ),
        "nodeSelector": st.just({"a": ""}),
        "priorityClassName": st.just("high"),
    },
)
autoscaling = {"minReplicas": 1, "maxReplicas": 3, "targetCpuUtilization": 50}
flanking = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 5),
        "autoscaling": st.just(autoscaling),
        "containers": containers,
        "template": st.fixed_dictionaries({}, optional=node_templates),
        "scheduling": schedulings,
    },
)
specs = st.fixed_dictionaries(
    {
        "replicas": st.integers(1, 9),
        "flanking": flanking,
        "storage": st.fixed_dictionaries(
            {"size": quantities, "type": st.sampled_from(["persistent", "ephemeral"])}
        ),
        "listeners": st.builds(list.__add__, listeners, external),
        "config": st.dictionaries(keys, st.text(max_size=20), max_size=4),
    },
    optional={
        "resources": resources,
        "version": names,
        "networkPolicy": st.sampled_from(["Generate", "None"]),
        "scheduling": schedulings,
        "template": templates,
        "rack": st.just({"topologyKey": "zone"}),
        "metrics": st.fixed_dictionaries({"podMonitor": st.booleans()}),
        "logging": st.fixed_dictionaries({"level": st.sampled_from(["debug", "info"])}),
    },
)
RELAXED = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def rendered(wish) -> tuple[dict[str, Any], ...]:
    return render.render(subject(wish, DEFAULT))


@RELAXED
@given(spec=specs)
def test_whatever_was_applied_needs_nothing_more(scene, spec):
    manifests = rendered(scene.wish(spec=spec, pods=()))
    wish = scene.wish(spec=spec, pods=(), children=as_live(manifests))
    assert plan(wish, rendered(wish)) == ()


@RELAXED
@given(config=st.dictionaries(keys, st.text(max_size=40), max_size=4))
def test_every_setting_reaches_the_brokers_as_it_was_written(scene, config):
    wish = scene.wish(spec={"config": config})
    (manifest,) = [one for one in rendered(wish) if one["kind"] == "ConfigMap"]
    parsed = tomllib.loads(manifest["data"]["quorate.toml"])
    for key, value in config.items():
        assert str(parsed[key]).lower() == value.lower() or int(value) == parsed[key]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    if isinstance(value, list) and value:
        return [leaf for n, inner in enumerate(value) for leaf in leaves(inner, (*path, n))]
    return [] if value in ({}, []) else [path]


@RELAXED
@given(spec=specs, data=st.data())
def test_any_field_that_somebody_changes_is_put_right_in_that_child_alone(scene, spec, data):
    manifests = rendered(scene.wish(spec=spec, pods=()))
    live = as_live(manifests)
    chosen = data.draw(st.sampled_from(manifests))
    maker = ("metadata", "annotations", RENDERED_BY_ANNOTATION)  # another one's templates stay
    identity = {("kind",), ("metadata", "name"), ("apiVersion",), maker}
    path = data.draw(st.sampled_from([one for one in leaves(chosen) if one not in identity]))
    target = live[chosen["kind"], chosen["metadata"]["name"]]
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = "somebody was here"
    wish = scene.wish(spec=spec, pods=(), children=live)
    actions = plan(wish, manifests)
    assert [action.manifest for action in actions if isinstance(action, Apply)] == [chosen]
    # A number of flanking nodes that nobody owns any more is held before it is applied no more,
    # and what does not look like ours any more is not made ours again by force.
    assert {type(action) for action in actions} <= {Apply, LendReplicas}


@RELAXED
@given(spec=specs, data=st.data())
def test_fields_that_others_add_are_theirs(scene, spec, data):
    manifests = rendered(scene.wish(spec=spec, pods=()))
    live = as_live(manifests)
    added = data.draw(st.dictionaries(names.map(lambda n: f"others/{n}"), names))
    chosen = data.draw(st.sampled_from(["labels", "annotations"]))
    for child in live.values():
        child["metadata"].setdefault(chosen, {}).update(added)
        child.setdefault("spec", {})["somebodysField"] = len(added)
    wish = scene.wish(spec=spec, pods=(), children=live)
    assert plan(wish, rendered(wish)) == ()


@RELAXED
@given(spec=specs, other=specs, data=st.data())
def test_another_pod_template_is_always_asked_for_in_other_words(scene, spec, other, data):
    """Else a newer operator would take a wish for one that it has fulfilled."""
    field = data.draw(st.sampled_from(sorted(other)))
    before = rendered(scene.wish(spec=spec, pods=()))
    after = rendered(scene.wish(spec={**spec, field: other[field]}, pods=()))
    for kind in ("orders-broker", "orders-flanking"):
        old, new = (
            next(
                one
                for one in each
                if (one["kind"], one["metadata"]["name"]) == ("StatefulSet", kind)
            )
            for each in (before, after)
        )
        if old["spec"]["template"] != new["spec"]["template"]:
            marks = [one["metadata"]["annotations"][ASKED_ANNOTATION] for one in (old, new)]
            assert marks[0] != marks[1]


tellings = st.tuples(
    st.sampled_from([None, -1, 0, 1, 2, 3, 101]), st.integers(0, 6), st.sampled_from("ab")
)
moments = st.lists(st.one_of(st.none(), tellings), min_size=3, max_size=3)


@RELAXED
@given(story=st.lists(moments, max_size=12))
def test_whatever_brokers_tell_the_term_never_goes_back_and_only_brokers_lead(scene, story):
    """A fold over a story: each pass knows only what the one before it wrote."""
    known: dict[str, Any] = {}
    highest = transitions = 0
    cluster_id = None
    for moment in story:
        views = {
            f"orders-broker-{n}": scene.view(
                telling[0], telling[1], cluster_id=telling[2], transitions=telling[1]
            )
            for n, telling in enumerate(moment)
            if telling is not None
        }
        wish = scene.wish(status=copy.deepcopy(known), views=views)
        told = status.tell(wish, Passed(), IMAGE)
        cluster_id = cluster_id or told.cluster_id
        assert told.cluster_id == cluster_id
        if told.leader is not None:
            assert told.leader.node_id in (1, 2, 3)
            assert told.leader.epoch >= highest
            assert any(
                view.leader is not None
                and (view.leader.node_id, view.leader.term)
                == (told.leader.node_id, told.leader.epoch)
                and view.cluster_id == cluster_id
                for view in views.values()
            )
            highest = told.leader.epoch
        leading = [node.node_id for node in told.nodes if node.leader]
        assert leading == ([told.leader.node_id] if told.leader else [])
        ready = told.condition("Ready")
        assert ready is not None
        assert told.leader is not None or ready.status == "False"
        assert (told.leader_transitions or 0) >= transitions
        transitions = told.leader_transitions or 0
        known = told.dump()
        again = scene.wish(status=copy.deepcopy(known), views=views)
        assert status.tell(again, Passed(), IMAGE).dump() == known
