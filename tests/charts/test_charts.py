"""The charts as Helm renders them: golden files, closed schemas, pod security.

To write the golden files anew after a wanted change: `python tests/charts/test_charts.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from quorate_bed import charts
from quorate_bed.charts import CLUSTER, CRDS, OPERATOR, template
from quorate_operator import model

ROOT = Path(__file__).parents[2]
DEFINITION = "quorate.dev_brokerclusters.yaml"

RELEASES: Mapping[str, tuple[str, ...]] = {
    "everywhere": (),
    "two-namespaces": (
        "--set=watchNamespaces={shop,stock}",
        "--set=replicas=1",
        "--set=image.tag=dev",
        "--set=brokerImage.tag=dev",
        "--set=logLevel=debug",
        "--set=readNodes=true",
        "--set=imagePullSecrets[0].name=registry",
        "--set-json=nodeSelector={\"disk\":\"fast\"}",
        "--set=podAnnotations.a=b",
        "--set=metrics.podMonitor.enabled=true",
        "--set=metrics.podMonitor.labels.release=prometheus",
        "--set=networkPolicy.enabled=true",
        "--set-json=networkPolicy.from=[{\"namespaceSelector\":{\"matchLabels\":{\"a\":\"b\"}}}]",
    ),
}  # fmt: skip
GOLDEN = {
    "everywhere": charts.KUSTOMIZATION / "operator.yaml",  # what `kubectl apply -k` takes
    "two-namespaces": Path(__file__).parent / "golden/two-namespaces.yaml",
}


@cache
def rendered(release: str) -> str:
    found = template(OPERATOR, *RELEASES[release])
    assert found.returncode == 0, found.stderr
    return found.stdout


def objects(release: str, kind: str) -> list[dict[str, Any]]:
    return [one for one in charts.documents(rendered(release)) if one["kind"] == kind]


@pytest.mark.parametrize("chart", charts.ALL, ids=lambda chart: chart.name)
def test_helm_finds_nothing_to_complain_about(chart):
    found = charts.helm("lint", "--strict", str(chart))
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("release", RELEASES)
def test_the_manifests_are_the_golden_ones(release):
    assert rendered(release) == GOLDEN[release].read_text(encoding="utf-8")


def test_the_definitions_outlive_their_release():
    committed = yaml.safe_load((ROOT / "crds" / DEFINITION).read_text(encoding="utf-8"))
    (kept,) = yaml.safe_load_all(template(CRDS).stdout)
    assert kept["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert kept == committed
    (unkept,) = yaml.safe_load_all(template(CRDS, "--set=keep=false").stdout)
    assert unkept == committed


@pytest.mark.parametrize(
    ("chart", "argument", "sentence"),
    [
        (OPERATOR, "--set=imag.tag=x", "imag"),
        (OPERATOR, "--set=image.tagg=x", "tagg"),
        (OPERATOR, "--set=image.repository=", "repository"),
        (OPERATOR, "--set=logLevel=loud", "logLevel"),
        (OPERATOR, "--set=replicas=-1", "replicas"),
        (OPERATOR, "--set=watchNamespaces={Shop}", "watchNamespaces"),
        (OPERATOR, "--set=image.pullPolicy=Sometimes", "pullPolicy"),
        (OPERATOR, "--set=metrics.podmonitor.enabled=true", "podmonitor"),
        (OPERATOR, "--set=metrics.podMonitor.interval=often", "interval"),
        (OPERATOR, "--set=networkPolicy.apiServerPorts={}", "apiServerPorts"),
        (CRDS, "--set=keepp=true", "keepp"),
        (CLUSTER, "--set=replica=3", "replica"),
        (CLUSTER, "--set=storage.sizes=1Gi", "sizes"),
        (CLUSTER, "--set=listeners[0].prot=9092", "prot"),
        (CLUSTER, "--set=replicas=0", "replicas"),
        (CLUSTER, "--set=metadata.name=Orders", "name"),
        (CLUSTER, "--set=metadata.label.a=b", "label"),
    ],
)
def test_a_value_that_means_nothing_is_refused(chart, argument, sentence):
    found = template(chart, argument)
    assert found.returncode != 0
    assert sentence in found.stderr


def test_every_value_is_in_the_schema_and_the_other_way_round():
    for chart in (OPERATOR, CRDS):
        schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
        values = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
        assert schema["additionalProperties"] is False
        assert set(values) == set(schema["properties"]) - {"global"}


def test_named_namespaces_need_no_rights_over_the_whole_cluster():
    assert [role["rules"] for role in objects("two-namespaces", "ClusterRole")] == [NODES]
    roles = [role for role in objects("two-namespaces", "Role") if not is_lease(role)]
    assert [role["metadata"]["namespace"] for role in roles] == ["shop", "stock"]
    (everywhere,) = objects("everywhere", "ClusterRole")
    for role in roles:
        assert role["rules"] == everywhere["rules"]
    for binding in objects("two-namespaces", "RoleBinding"):
        assert binding["subjects"][0]["namespace"] == "quorate-system"


NODES = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]


def test_nodes_are_read_only_where_that_was_asked_for():
    (everywhere,) = objects("everywhere", "ClusterRole")
    assert not any("nodes" in rule["resources"] for rule in everywhere["rules"])
    (binding,) = objects("two-namespaces", "ClusterRoleBinding")
    (role,) = objects("two-namespaces", "ClusterRole")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert role["rules"] == NODES


def is_lease(role: dict[str, Any]) -> bool:
    return bool(role["metadata"]["name"].endswith("-lease"))


@pytest.mark.parametrize("release", RELEASES)
def test_one_lease_in_its_own_namespace_says_which_operator_is_active(release):
    (role,) = [one for one in objects(release, "Role") if is_lease(one)]
    assert role["metadata"]["namespace"] == "quorate-system"
    granted = [(rule["verbs"], rule.get("resourceNames")) for rule in role["rules"]]
    assert granted == [(["create"], None), (["get", "patch"], ["quorate-operator"])]
    (deployment,) = objects(release, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environ = {one["name"]: one.get("value") for one in container["env"]}
    assert environ["QUORATE_OPERATOR_LEASE_NAMESPACE"] == "quorate-system"
    several = release == "everywhere"
    assert deployment["spec"]["replicas"] == (2 if several else 1)
    assert bool(objects(release, "PodDisruptionBudget")) is several


@pytest.mark.parametrize("release", RELEASES)
def test_the_operators_pod_is_restricted(release):
    (deployment,) = objects(release, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"livenessProbe", "readinessProbe", "resources"} <= set(container)


def test_images_are_the_charts_version_unless_said_otherwise():
    version = yaml.safe_load((OPERATOR / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"]
    for release, tag in (("everywhere", version), ("two-namespaces", "dev")):
        (deployment,) = objects(release, "Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        environ = {one["name"]: one.get("value") for one in container["env"]}
        assert container["image"] == f"quorate-operator:{tag}"
        assert environ["QUORATE_OPERATOR_BROKER_TAG"] == tag


def test_metrics_are_scraped_where_the_operator_serves_them():
    assert objects("everywhere", "PodMonitor") == []
    (monitor,) = objects("two-namespaces", "PodMonitor")
    (deployment,) = objects("two-namespaces", "Deployment")
    template = deployment["spec"]["template"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    assert wanted <= template["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (container,) = template["spec"]["containers"]
    assert endpoint["port"] in {port["name"] for port in container["ports"]}
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_the_operator_talks_to_names_the_api_server_and_brokers_and_to_nobody_else():
    assert objects("everywhere", "NetworkPolicy") == []
    (policy,) = objects("two-namespaces", "NetworkPolicy")
    spec = policy["spec"]
    (deployment,) = objects("two-namespaces", "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    (entry,) = spec["ingress"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert [port["port"] for port in entry["ports"]] == [
        port["containerPort"] for port in container["ports"]
    ]
    assert entry["from"] == [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]
    out = {port["port"]: rule.get("to") for rule in spec["egress"] for port in rule["ports"]}
    brokers = {"key": "quorate.dev/cluster", "operator": "Exists"}
    assert out == {
        53: None,
        443: None,
        6443: None,
        model.ADMIN_PORT: [
            {"namespaceSelector": {}, "podSelector": {"matchExpressions": [brokers]}}
        ],
    }


def write() -> None:
    for release, path in GOLDEN.items():
        path.write_text(rendered(release), encoding="utf-8")


if __name__ == "__main__":
    write()
