"""What goes again, what is handed over, and what is written onto volumes."""

from __future__ import annotations

from typing import Any

from quorate_operator import render
from quorate_operator.facts import DefaultImage
from quorate_operator.plan import plan
from quorate_operator.plan.actions import Apply, LendReplicas, Remove
from quorate_operator.plan.subject import subject
from quorate_operator.testing.live import as_live

DEFAULT = DefaultImage("quorate-broker", "0.1.0")
OPEN = {"authentication": {"type": "none"}}
INTERNAL = {"name": "internal", "port": 9092, **OPEN}
LB = {"name": "lb", "port": 9094, "type": "loadbalancer", **OPEN}
AUTOSCALING = {"minReplicas": 2, "maxReplicas": 5, "targetCpuUtilization": 70}


def rendered(scene, **spec: Any):
    return render.render(subject(scene.wish(spec=spec), DEFAULT))


def removed(scene, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    live = as_live(rendered(scene, **before))
    wish = scene.wish(spec=after, children=live)
    actions = plan(wish, rendered(scene, **after))
    return [f"{one.kind} {one.name}" for one in actions if isinstance(one, Remove)]


def test_services_of_a_listener_go_with_it(scene):
    assert removed(scene, {"listeners": [INTERNAL, LB]}, {"listeners": [INTERNAL]}) == [
        "Service orders-lb-bootstrap",
        "Service orders-lb-0",
        "Service orders-lb-1",
        "Service orders-lb-2",
    ]


def test_policies_autoscaler_and_monitor_go_when_they_are_not_asked_for(scene):
    before = {
        "flanking": {"autoscaling": AUTOSCALING},
        "metrics": {"podMonitor": True},
    }
    assert removed(scene, before, {"networkPolicy": "None"}) == [
        "NetworkPolicy orders-broker",
        "NetworkPolicy orders-flanking",
        "HorizontalPodAutoscaler orders-flanking",
        "PodMonitor orders",
    ]


def test_what_somebody_else_made_stays(scene):
    live = as_live(rendered(scene))
    for number, change in enumerate(("annotations", "ownerReferences")):
        stranger = as_live(rendered(scene))["Service", "orders-admin"]
        stranger["metadata"]["name"] = f"other-{number}"
        del stranger["metadata"][change]
        live["Service", f"other-{number}"] = stranger
    assert plan(scene.wish(children=live, pods=()), rendered(scene)) == ()


def test_pods_and_data_are_never_leftovers(scene):
    live = as_live(rendered(scene))
    for kind in ("StatefulSet", "ConfigMap", "ServiceAccount", "PersistentVolumeClaim"):
        other = as_live(rendered(scene))["Service", "orders-admin"]
        other |= {"kind": kind}
        other["metadata"]["name"] = "old"
        live[kind, "old"] = other
    assert plan(scene.wish(children=live, pods=()), rendered(scene)) == ()


def test_an_autoscaler_begins_with_the_pods_that_are_there(scene):
    """A field that its only owner applies no more falls back to one: three would go at once."""
    live = as_live(rendered(scene, flanking={"replicas": 4}))
    spec = {"flanking": {"autoscaling": AUTOSCALING}}
    wish = scene.wish(spec=spec, children=live, pods=())
    actions = plan(wish, rendered(scene, **spec))
    assert actions[0] == LendReplicas("orders-flanking", 4)
    applied = [one.manifest for one in actions if isinstance(one, Apply)]
    kinds = [one["kind"] for one in applied]
    assert kinds == ["StatefulSet", "HorizontalPodAutoscaler"]
    assert "replicas" not in applied[0]["spec"]


def test_then_the_operator_leaves_the_number_alone(scene):
    spec = {"flanking": {"autoscaling": AUTOSCALING}}
    manifests = rendered(scene, **spec)
    live = as_live(manifests)
    for replicas in (2, 5):
        live["StatefulSet", "orders-flanking"]["spec"]["replicas"] = replicas
        assert plan(scene.wish(spec=spec, children=live, pods=()), manifests) == ()


def test_an_autoscaled_cluster_sleeps_and_wakes_with_its_least_number(scene):
    spec = {"flanking": {"autoscaling": AUTOSCALING}}
    asleep = rendered(scene, **spec, hibernate=True)
    assert [one["spec"]["replicas"] for one in asleep if one["kind"] == "StatefulSet"] == [0, 0]
    wish = scene.wish(spec=spec, children=as_live(asleep), pods=())
    assert plan(wish, rendered(scene, **spec))[0] == LendReplicas("orders-flanking", 2)


def test_volumes_are_marked_against_pruning_and_carry_what_is_asked_for(scene):
    spec = {"template": {"persistentVolumeClaim": {"metadata": {"labels": {"backup": "daily"}}}}}
    volumes = (scene.volume(0),)
    wish = scene.wish(spec=spec, volumes=volumes)
    (claim,) = render.claims(subject(wish, DEFAULT), [("data-orders-broker-0", "x")])
    notes = claim["metadata"]["annotations"]
    assert notes["argocd.argoproj.io/sync-options"] == "Prune=false"
    assert notes["argocd.argoproj.io/compare-options"] == "IgnoreExtraneous"
    assert claim["metadata"]["labels"]["backup"] == "daily"
    assert set(claim) == {"apiVersion", "kind", "metadata"}
    manifests = rendered(scene, **spec)
    live = as_live(manifests) | as_live([claim])
    wish = scene.wish(spec=spec, volumes=volumes, children=live, pods=())
    assert plan(wish, (*manifests, claim)) == ()


def test_labels_of_the_resource_are_never_copied(scene):
    """argo-cd#10974: a child with the tool's own label is taken for one of its own, and pruned."""
    wish = scene.wish()
    wish.observed.cluster["metadata"]["labels"] = {"argocd.argoproj.io/instance": "shop"}
    manifests = render.render(subject(wish, DEFAULT))
    made = (*manifests, *render.claims(subject(wish, DEFAULT), [("data-orders-broker-0", "x")]))
    assert "argocd.argoproj.io/instance" not in str(made)


def test_levels_and_formats_restart_nobody(scene):
    def templates(**spec: Any) -> list[Any]:
        made = rendered(scene, **spec)
        return [one["spec"]["template"] for one in made if one["kind"] == "StatefulSet"]

    raft = {"name": "quorate_broker.raft", "level": "info"}
    logging = {"level": "debug", "format": "json", "loggers": [raft]}
    assert templates() == templates(logging=logging)
    files = [
        one["data"]
        for one in rendered(scene, logging=logging, flanking={"replicas": 1})
        if one["kind"] == "ConfigMap"
    ]
    for file in files[0].values():
        assert '"log.level" = "debug"' in file
        assert '"log.loggers" = ["quorate_broker.raft=info"]' in file
