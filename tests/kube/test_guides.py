"""The guides under docs/, done by somebody who follows them, and what Helm leaves behind.

Each page's commands are run as they stand, from the root of the repository, in a namespace of their
own. What is passed over is named in NOT_HERE, with the reason.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from quorate_bed import binaries, images, install, kube, pages, paths, product
from quorate_bed.polling import eventually

READY_S = 30
NOT_HERE = (
    "kubectl apply -k",  # would take the operator over from Helm: tests/kube/test_kustomize.py
    "uv tool install",  # brings what the test's own environment has
    "kubectl-quorate --install-completion",  # writes into the home directory
    "curl",  # from inside the cluster only: tests/broker/dev/test_round_trip.py
    "kubectl get brokercluster quickstart --watch",  # does not end
    "kubectl quorate approve quickstart",  # nothing waits: tests/operator/test_cli.py
    "helm upgrade quorate-operator charts/quorate-operator --namespace quorate-system --set",
    "helm uninstall",  # has tests of its own, below
    "kubectl apply -f examples/gitops",  # needs Argo CD or Flux: tests/gitops
    "kubectl apply --server-side -f examples/gitops",
)
VERSION = "0.1.0"
"""What the charts install: every node has this build under that name, too."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A shell as a person has it: kubectl, helm and the plugin on the PATH, one namespace."""

    kubectl: kube.Kubectl
    kubeconfig: Path

    def run(self, command: str) -> str:
        tools = [binaries.tool("kubectl").parent, Path(sys.executable).parent]
        path = os.pathsep.join([*map(str, tools), "/usr/bin", "/bin"])
        home = str(self.kubeconfig.parent)
        done = subprocess.run(
            ["bash", "-euc", command],
            cwd=paths.REPOSITORY,
            env={"PATH": path, "KUBECONFIG": str(self.kubeconfig), "HOME": home},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def follow(self, page: str) -> None:
        for command in pages.commands(page):
            if not command.startswith(NOT_HERE):
                self.run(command)
                if " brokercluster" in command or " quorate " in command:
                    self.settle()

    def settle(self) -> None:
        """A person looks whether it has worked before going on."""
        found = product.BrokerCluster(self.kubectl, _NO_API, "quickstart")

        def settled() -> bool:
            resource = self.kubectl.get("brokercluster", "quickstart")
            assert resource is not None
            status = resource.get("status", {})
            assert status.get("observedGeneration") == resource["metadata"]["generation"]
            hibernates = resource["spec"].get("hibernate", False)
            ready = product.condition(status, "Ready")
            assert hibernates or ready["status"] == "True", ready
            busy = product.condition(status, "Reconciling")
            assert busy["status"] == "False", busy
            return True

        eventually(settled, deadline_s=240, what=f"{found.name} settled")


_NO_API = product.Api("http://127.0.0.1:9")


@pytest.fixture
def reader(kubectl: kube.Kubectl, tmp_path: Path) -> Iterator[Reader]:
    """Whoever begins with a cluster that has no operator. Afterwards the tests' own is back."""
    target = kubectl.cluster
    for name in ("broker", "operator"):
        reference = images.IMAGES[name].reference
        target.tag_image(reference, f"{reference.rpartition(':')[0]}:{VERSION}")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_bytes(target.kubeconfig_path.read_bytes())
    kubeconfig.chmod(0o600)
    found = Reader(kubectl, kubeconfig)
    found.run(f"kubectl config set-context --current --namespace={kubectl.namespace}")
    for release in ("quorate-operator", "quorate-crds"):
        target.helm("uninstall", release, "--namespace", install.NAMESPACE, "--wait")
    try:
        yield found
    finally:
        for release, where in (("quorate-operator", install.NAMESPACE), ("orders", "shop")):
            target.helm("uninstall", release, "--namespace", where, "--ignore-not-found", "--wait")
        target.kubectl("delete", "namespace", "shop", "--ignore-not-found", "--wait=false")
        images.build_and_load(target)
        install.install(target)


@pytest.mark.full
def test_from_helm_install_to_a_cluster_that_serves_in_thirty_seconds_and_the_guides_work(
    reader: Reader, figure: Callable[[str, float], None]
) -> None:
    started_s = time.monotonic()
    lines = list(pages.commands("install"))
    first = [line for line in lines if not line.startswith(NOT_HERE)]
    ready = next(at for at, line in enumerate(first) if line.startswith("kubectl wait"))
    for line in first[: ready + 1]:
        reader.run(line)
    took_s = time.monotonic() - started_s
    figure("ready_s", took_s)
    for line in first[ready + 1 :]:
        reader.run(line)
    for page in ("connect", "scale", "roll-and-upgrade", "storage-and-loss", "troubleshoot"):
        reader.follow(page)
    assert took_s <= READY_S


@pytest.mark.full
def test_helm_upgrade_and_uninstall_keep_definitions_clusters_volumes_and_what_is_in_them(
    reader: Reader, client_pod: kube.ClientPod
) -> None:
    kubectl = reader.kubectl
    assert "brokerclusters.quorate.dev" in kubectl("get", "crd", "--output=name")
    reader.run("helm install quorate-crds charts/quorate-crds --namespace quorate-system")
    reader.run(
        "helm install quorate-operator charts/quorate-operator --namespace quorate-system --wait"
    )
    chart = "charts/quorate-cluster --set storage.size=256Mi --set metadata.name=quickstart"
    reader.run(f"helm install mine {chart}")
    reader.settle()
    kept = ("quickstart-bootstrap:9092", "kept")
    client_pod.python(kube.script("produce.py"), *kept, "0", "500")
    before = volumes(kubectl)
    reader.run(f"helm upgrade mine {chart} --set flanking.replicas=1")
    reader.settle()
    assert volumes(kubectl) == before

    for release in ("mine", "quorate-operator --namespace quorate-system"):
        reader.run(f"helm uninstall --wait {release}")
    reader.run("helm uninstall quorate-crds --namespace quorate-system")
    assert "brokerclusters.quorate.dev" in kubectl("get", "crd", "--output=name")
    assert volumes(kubectl) == before

    reader.run("helm install quorate-crds charts/quorate-crds --namespace quorate-system")
    reader.run(
        "helm install quorate-operator charts/quorate-operator --namespace quorate-system --wait"
    )
    reader.run(f"helm install mine {chart}")
    reader.settle()
    assert volumes(kubectl) == before
    read = client_pod.python(kube.script("consume.py"), *kept, "500")
    assert (read["read"], read["different"]) == (500, 500)


def volumes(kubectl: kube.Kubectl) -> dict[str, str]:
    """Claims by name and uid."""
    found = kubectl.list("pvc")
    return {one["metadata"]["name"]: one["metadata"]["uid"] for one in found}
