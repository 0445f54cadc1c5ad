"""The charts of this repository, and what Helm and kustomize make of them.

Next: `install.py`, which puts them into a cluster.
"""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from quorate_bed import binaries, paths

FOLDER = paths.REPOSITORY / "charts"
CRDS = FOLDER / "quorate-crds"
OPERATOR = FOLDER / "quorate-operator"
CLUSTER = FOLDER / "quorate-cluster"
ALL = (CRDS, OPERATOR, CLUSTER)
KUSTOMIZATION = paths.REPOSITORY / "deploy"

Json = dict[str, Any]


def helm(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(binaries.tool("helm")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, input=stdin)


def template(
    chart: Path, *arguments: str, release: str = "quorate-operator", stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Without a cluster. `--values=-` among the arguments reads the values from `stdin`."""
    words = ("template", release, str(chart), "--namespace=quorate-system", *arguments)
    return helm(*words, stdin=stdin)


def documents(text: str) -> list[Json]:
    return [one for one in yaml.safe_load_all(text) if one]


def kustomize(folder: Path) -> str:
    command = [str(binaries.tool("kubectl")), "kustomize", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
