"""`kubectl apply -k deploy`: an API server takes it, and finds no difference afterwards."""

import json
from pathlib import Path

import yaml

from quorate_bed import charts, kube
from quorate_bed import cluster as clusters
from quorate_bed.kube import Json


def test_a_server_takes_what_kustomize_makes(cluster: clusters.Cluster) -> None:
    said = cluster.kubectl("apply", "--dry-run=server", "-k", str(charts.KUSTOMIZATION))
    for name in ("brokerclusters.quorate.dev", "deployment.apps/quorate-operator"):
        assert name in said


def test_the_definition_reads_back_as_it_was_applied(cluster: clusters.Cluster) -> None:
    path = charts.CRDS / "files/quorate.dev_brokerclusters.yaml"
    kubectl = kube.Kubectl(cluster, "default")
    written: Json = yaml.safe_load(path.read_text(encoding="utf-8"))
    stored = kubectl.get("crd", written["metadata"]["name"])
    assert stored is not None
    assert missing(written["spec"], stored["spec"]) == []
    again = apply(kubectl, path)
    assert again["metadata"]["generation"] == stored["metadata"]["generation"]
    assert again["spec"] == stored["spec"]


def apply(kubectl: kube.Kubectl, path: Path) -> Json:
    """Server-side, as GitOps tools do it; without a change of what is there."""
    words = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--output=json")
    found: Json = json.loads(kubectl(*words, f"--filename={path}"))
    return found


def missing(wanted: object, found: object, path: str = "") -> list[str]:
    """Fields that were written, and are there with another value or not at all."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            line
            for name, value in wanted.items()
            for line in (
                missing(value, found[name], f"{path}.{name}")
                if name in found
                else [f"{path}.{name}"]
            )
        ]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [
            line
            for at, (one, other) in enumerate(zip(wanted, found, strict=True))
            for line in missing(one, other, f"{path}[{at}]")
        ]
    return [] if wanted == found else [f"{path}: {wanted!r} became {found!r}"]
