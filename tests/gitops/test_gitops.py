"""What GitOps tools make of our objects, by their own code (main.go), fed by the operator's own.

Statuses are told by `plan/status.py` about scenes of a cluster; manifests are the rendered ones and
those in examples/. Argo CD judges by the health.lua that is shipped, Flux by kstatus.
"""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from quorate_bed import binaries, charts, paths
from quorate_operator import model
from quorate_operator.plan import status
from quorate_operator.plan.conditions import Passed
from quorate_operator.plan.inputs import Wish
from quorate_operator.status import BrokerClusterStatus
from quorate_operator.testing import golden
from quorate_operator.testing.scene import Scene

Json = dict[str, Any]

EXAMPLES = paths.REPOSITORY / "examples"
ARGO = EXAMPLES / "gitops/argo-cd"
FLUX = EXAMPLES / "gitops/flux"
KNOWN = {"clusterId": "id-1"}
GENERATION = 7


@cache
def program() -> Path:
    return binaries.program(Path(__file__).parent)


def ask(**question: Any) -> Json:
    text = json.dumps({"script": (ARGO / "health.lua").read_text(encoding="utf-8"), **question})
    done = subprocess.run([program()], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: Json = json.loads(done.stdout)
    return found


def documents(path: Path) -> list[Json]:
    return charts.documents(path.read_text(encoding="utf-8"))


# -- states of a cluster, as the operator tells them ----------------------------------------------


def wish(**other: Any) -> Wish:
    """A cluster that serves, unless said otherwise."""
    scene = Scene()
    views = scene.views(*[scene.view(2, 5)] * 3)
    return scene.wish(**{"status": KNOWN, "views": views, **other})


def told(seen: Wish, passed: Passed | None = None) -> BrokerClusterStatus:
    return status.tell(seen, passed or Passed(), "quorate-broker:0.1.0")


def of(seen: Wish, passed: Passed | None = None) -> Json:
    return resource(told(seen, passed), seen.observed.cluster["spec"])


def resource(found: BrokerClusterStatus, spec: Json | None = None) -> Json:
    cluster = Scene().cluster(spec)
    cluster["metadata"]["generation"] = GENERATION
    cluster["status"] = found.dump() | {"observedGeneration": GENERATION}
    return cluster


def outdated(**spec: Any) -> Json:
    """Brokers run with an older template."""
    scene = Scene()
    template = {"spec": {"containers": [{"image": "quorate-broker:0.2.0"}]}}
    workload = {
        "metadata": {"resourceVersion": "7"},
        "spec": {"replicas": 3, "template": template},
        "status": {"updateRevision": "new"},
    }
    pods = tuple(scene.pod(f"broker-{n}", revision="old") for n in range(3))
    children = {("StatefulSet", "orders-broker"): workload}
    return of(wish(spec=spec, pods=pods, children=children))


def unread() -> Json:
    found = Scene().cluster()
    del found["status"]
    found["metadata"]["generation"] = 1
    return found


def changed() -> Json:
    found = of(wish())
    found["metadata"]["generation"] = GENERATION + 1
    return found


def invalid() -> Json:
    before = told(wish())
    return resource(status.invalid(before, "2026-01-02T03:04:05Z", 2, "replicas: not a number"))


def hibernating() -> Wish:
    return wish(spec={"hibernate": True}, pods=(), views={})


def waking() -> Json:
    return of(wish(status=told(hibernating()).dump(), views={}))


def leaderless(answers: int) -> Json:
    """It has formed and served, and now only so many brokers answer."""
    scene = Scene()
    before = told(wish()).dump()
    return of(scene.wish(status=before, views=scene.views(*[scene.view(None)] * answers)))


def growing() -> Json:
    return of(wish(spec={"replicas": 5}, status=told(wish()).dump()))


STATES: dict[str, tuple[Callable[[], Json], str, str]] = {
    "not looked at yet": (unread, "Progressing", "Current"),
    "the spec has changed": (changed, "Progressing", "InProgress"),
    "looked at": (lambda: resource(status.first(wish())), "Progressing", "InProgress"),
    "brokers start": (lambda: of(wish(status={}, views={})), "Progressing", "InProgress"),
    "serves": (lambda: of(wish()), "Healthy", "Current"),
    "a broker is silent": (
        lambda: of(wish(views=Scene().views(*[Scene().view(2, 5, healthy=False)] * 2))),
        "Healthy",
        "Current",
    ),
    "grows": (growing, "Progressing", "InProgress"),
    "a roll that waits for a broker": (outdated, "Progressing", "InProgress"),
    "a roll that waits for a person": (
        lambda: outdated(updateStrategy={"type": "Supervised"}),
        "Suspended",
        "Current",
    ),
    "a roll that waits for its window": (
        lambda: outdated(updateStrategy={"windows": [{"start": "04:00", "minutes": 30}]}),
        "Suspended",
        "Current",
    ),
    "elects": (lambda: leaderless(3), "Progressing", "InProgress"),
    "no quorum": (lambda: leaderless(1), "Degraded", "InProgress"),
    "nobody answers": (lambda: leaderless(0), "Degraded", "InProgress"),
    "something is tried again": (
        lambda: of(wish(), Passed(failed=("cannot apply services/x: later",))),
        "Progressing",
        "InProgress",
    ),
    "something was refused": (
        lambda: of(wish(), Passed(refused=("cannot apply services/x: no",))),
        "Degraded",
        "Failed",
    ),
    "the spec cannot be read": (invalid, "Degraded", "Failed"),
    "paused": (lambda: of(wish(spec={"paused": True})), "Suspended", "Current"),
    "hibernates": (lambda: of(hibernating()), "Suspended", "InProgress"),
    "wakes": (waking, "Progressing", "InProgress"),
}


@cache
def verdicts() -> dict[str, Json]:
    (kustomization,) = documents(FLUX / "clusters.yaml")
    (expressions,) = kustomization["spec"]["healthCheckExprs"]
    assert (expressions["apiVersion"], expressions["kind"]) == (
        f"{model.GROUP}/{model.VERSION}",
        model.KIND,
    )
    objects = [make() for make, _, _ in STATES.values() if make is not unread]
    names = [name for name, (make, _, _) in STATES.items() if make is not unread]
    found = ask(health=objects, expressions=expressions)["health"]
    return dict(zip(names, found, strict=True)) | {
        "not looked at yet": ask(health=[unread()])["health"][0]
    }


@pytest.mark.parametrize("state", STATES)
def test_argo_cd_and_flux_see_a_state_for_what_it_is(state):
    _, argo, kstatus = STATES[state]
    found = verdicts()[state]
    assert (found["argo"]["status"], found["kstatus"]) == (argo, kstatus), found


@pytest.mark.parametrize("state", [state for state in STATES if state != "not looked at yet"])
def test_the_expressions_for_flux_differ_from_kstatus_only_for_a_cluster_that_hibernates(state):
    found = verdicts()[state]
    expected = "Current" if state == "hibernates" else found["kstatus"]
    assert found["evaluated"] == expected


def test_what_argo_cd_tells_is_the_operators_own_sentence():
    assert verdicts()["serves"]["argo"]["message"] == "A leader is elected and clients are served."
    assert verdicts()["no quorum"]["argo"]["message"].startswith("Too few brokers answer")
    assert "not a number" in verdicts()["the spec cannot be read"]["argo"]["message"]


def test_the_script_for_argo_cd_is_the_same_in_its_file_and_in_the_config_map():
    (config,) = documents(ARGO / "argocd-cm.yaml")
    key = f"resource.customizations.health.{model.GROUP}_{model.KIND}"
    assert config["data"] == {key: (ARGO / "health.lua").read_text(encoding="utf-8")}


# -- differences and pruning ----------------------------------------------------------------------


@pytest.mark.parametrize("path", [EXAMPLES / "quickstart.yaml", EXAMPLES / "everything.yaml"])
def test_argo_cd_finds_no_difference_between_an_example_and_what_became_of_it(path):
    (wanted,) = documents(path)
    live = copy.deepcopy(wanted)
    live["metadata"] |= {"uid": "x", "resourceVersion": "7", "generation": 1, "namespace": "shop"}
    live["status"] = told(wish()).dump()
    edited = copy.deepcopy(live)
    edited["spec"]["replicas"] = 9
    pairs = [{"wanted": wanted, "live": live}, {"wanted": wanted, "live": edited}]
    assert ask(differences=pairs)["differences"] == [False, True]


def made() -> list[Json]:
    """Everything that the operator makes."""
    return charts.documents(golden.text("everything"))


def test_nothing_that_the_operator_makes_is_pruned_or_shown_as_a_difference():
    """Argo CD looks at what has its label, has no owner and is not in Git."""
    objects = made()
    told = ask(prune=objects)["prune"]
    assert [
        (one["kind"], one["metadata"].get("name"))
        for one, found in zip(objects, told, strict=True)
        if any(found)
    ] == []
    bare = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    assert ask(prune=[bare])["prune"] == [[True, True]]


# -- manifests for the tools ----------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(FLUX.glob("*.yaml")), ids=lambda one: one.name)
def test_examples_for_flux_are_as_its_controllers_want_them(path):
    objects = documents(path)
    assert ask(strict=objects)["strict"] == [""] * len(objects)


def test_the_pod_monitor_of_the_chart_is_as_the_prometheus_operator_wants_it():
    text = charts.template(charts.OPERATOR, "--set=metrics.podMonitor.enabled=true").stdout
    monitors = [one for one in charts.documents(text) if one["kind"] == "PodMonitor"]
    assert ask(strict=monitors)["strict"] == [""]


def test_a_field_that_no_controller_knows_is_found():
    (kustomization,) = documents(FLUX / "clusters.yaml")
    wrong = copy.deepcopy(kustomization)
    wrong["spec"]["prunes"] = True
    (said,) = ask(strict=[wrong])["strict"]
    assert "prunes" in said


def test_paths_and_charts_in_the_examples_exist():
    for path in EXAMPLES.glob("gitops/*/*.yaml"):
        for one in documents(path):
            spec = one.get("spec", {})
            named = [spec.get("path"), spec.get("source", {}).get("path")]
            named.append(spec.get("chart", {}).get("spec", {}).get("chart"))
            for place in filter(None, named):
                assert (paths.REPOSITORY / place).is_dir(), place


def test_values_in_the_examples_are_taken_by_the_charts():
    found = []
    for path in EXAMPLES.glob("gitops/*/*.yaml"):
        for one in documents(path):
            spec = one.get("spec", {})
            source = spec.get("source", {})
            chart = source.get("path") or spec.get("chart", {}).get("spec", {}).get("chart")
            values = spec.get("values") or source.get("helm", {}).get("valuesObject")
            if chart and values:
                chosen = paths.REPOSITORY / chart
                result = charts.template(chosen, "--values=-", stdin=yaml.safe_dump(values))
                assert result.returncode == 0, result.stderr
                found.append(chosen.name)
    assert sorted(set(found)) == ["quorate-cluster", "quorate-operator"]


def test_the_folder_for_flux_is_one_that_kustomize_makes():
    (cluster,) = charts.documents(charts.kustomize(FLUX / "clusters"))
    assert (cluster["kind"], cluster["metadata"]["namespace"]) == (model.KIND, "shop")


def test_the_overlay_names_another_registry():
    found = charts.documents(charts.kustomize(EXAMPLES / "kustomize"))
    (deployment,) = [one for one in found if one["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/quorate-operator:0.1.0"
    environ = {one["name"]: one.get("value") for one in container["env"]}
    assert environ["QUORATE_OPERATOR_BROKER_REPOSITORY"] == "registry.example.com/quorate-broker"
