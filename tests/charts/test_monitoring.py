"""Alerts and dashboards: by Prometheus' own promtool, and of metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from quorate_bed import charts, debian, pages, paths
from quorate_bed.charts import OPERATOR, template

HERE = Path(__file__).parent
ALERTS = OPERATOR / "monitoring" / "alerts.yaml"
DASHBOARDS = sorted((OPERATOR / "monitoring").glob("*.json"))
READMES = (paths.REPOSITORY / "broker/README.md", paths.REPOSITORY / "operator/README.md")
METRIC = re.compile(r"\b(?:quorate|redpanda)_\w+")
LABELS = {"quorate_dev_cluster", "quorate_dev_role"}
"""What the PodMonitor adds; the others stand in the tables of the READMEs."""


def promtool(*arguments: str | Path) -> None:
    program = debian.unpacked("prometheus", "usr/bin/promtool")
    found = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def told() -> set[str]:
    """Every name in the first columns of the tables of metrics, and their labels."""
    rows = "\n".join(
        line.rsplit("|", 2)[0]
        for page in READMES
        for line in page.read_text(encoding="utf-8").splitlines()
        if re.match(r"\| `(quorate|redpanda)_", line)
    )
    names = set(METRIC.findall(rows))
    return names | LABELS | {f"{name}_bucket" for name in names if name.endswith("_seconds")}


def panels(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["panels"]
    return found


def queries(path: Path) -> list[str]:
    return [target["expr"] for panel in panels(path) for target in panel["targets"]]


def test_each_alert_fires_when_it_should_and_only_then(tmp_path):
    rules = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    cases = yaml.safe_load((HERE / "alerts_test.yaml").read_text(encoding="utf-8"))["tests"]
    named = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    looked_at = [one for case in cases for one in case["alert_rule_test"]]
    assert {one["alertname"] for one in looked_at if one.get("exp_alerts")} == named
    assert {one["alertname"] for one in looked_at if not one.get("exp_alerts")} == named
    for path in (ALERTS, HERE / "alerts_test.yaml"):
        shutil.copy(path, tmp_path)
    promtool("test", "rules", tmp_path / "alerts_test.yaml")


def test_each_alert_is_explained():
    rules = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    named = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    page = pages.path("monitor").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| (Quorate\w+) \|", page, re.M)) == sorted(named)


@pytest.mark.parametrize("path", [ALERTS, *DASHBOARDS], ids=lambda path: path.name)
def test_nothing_is_asked_for_that_nobody_counts(path):
    assert set(METRIC.findall(path.read_text(encoding="utf-8"))) <= told()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_prometheus_can_read_every_query_of_a_dashboard(path, tmp_path):
    rules = [
        {"record": f"panel_{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries(path))
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", file)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_lie_side_by_side_and_say_what_they_show(path):
    taken: set[tuple[int, int]] = set()
    for panel in panels(path):
        at = panel["gridPos"]
        cells = {
            (at["x"] + column, at["y"] + row) for column in range(at["w"]) for row in range(at["h"])
        }
        assert not cells & taken
        assert max(column for column, _ in cells) < 24, "as wide as Grafana's grid"
        taken |= cells
        assert panel["title"]
        assert panel["description"].endswith(".")


def test_the_chart_brings_both_where_they_are_asked_for():
    def found(*arguments: str) -> dict[str, dict[str, Any]]:
        objects = charts.documents(template(OPERATOR, *arguments).stdout)
        return {
            one["kind"]: one
            for one in objects
            if one["kind"] == "PrometheusRule" or one["metadata"]["name"].endswith("-dashboards")
        }

    assert found() == {}
    asked = found(
        "--set=metrics.rules.enabled=true",
        "--set=metrics.rules.labels.release=prometheus",
        "--set=metrics.dashboards.enabled=true",
        "--set=metrics.dashboards.annotations.folder=Kafka",
    )
    assert asked["PrometheusRule"]["spec"] == yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    assert asked["PrometheusRule"]["metadata"]["labels"]["release"] == "prometheus"
    boards = asked["ConfigMap"]
    assert boards["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert boards["metadata"]["annotations"] == {"folder": "Kafka"}
    assert {name: json.loads(text)["panels"] for name, text in boards["data"].items()} == {
        f"quorate-{path.name}": panels(path) for path in DASHBOARDS
    }
