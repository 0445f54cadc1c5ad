"""A cluster in Docker, by kind: used where a Docker engine answers.

NOT RUN HERE: no machine of ours has an engine, so nobody has seen this file work yet (the local
provider is what the tests prove). It is a thin wrapper over the `kind` program, found on the path
or built from its Go module, with the interface of pytest-kind's KindCluster.

One difference from the local provider: a held pod is killed again and again, twenty times a second,
so its process may live for moments.
"""

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import yaml

from quorate_bed import access, binaries, containers, paths
from quorate_bed.polling import eventually
from quorate_bed.progress import BedError, step
from quorate_bed.shell import CommandError, run

MODULE = "sigs.k8s.io/kind@v0.30.0"
KILL_AGAIN_S = 0.05
ZONE = "topology.kubernetes.io/zone"
ZONES = 3
API_MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
API_MANIFEST_ASIDE = "/etc/kubernetes/kube-apiserver.yaml"


class LoopHold:
    """Kills a pod's containers for as long as it is held."""

    def __init__(self, cluster: "KindCluster", namespace: str, pod: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(cluster, namespace, pod), name=f"hold-{pod}", daemon=True
        )
        self._thread.start()

    def release(self) -> None:
        self._stop.set()
        self._thread.join()

    def __enter__(self) -> "LoopHold":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _run(self, cluster: "KindCluster", namespace: str, pod: str) -> None:
        while not self._stop.wait(KILL_AGAIN_S):
            cluster.signal(namespace, pod, signal.SIGKILL)


class NoHold:
    """What `kill` without a hold gives: nothing to release."""

    def release(self) -> None:
        return None

    def __enter__(self) -> "NoHold":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class KindCluster(access.Access):
    """See `quorate_bed.cluster.Cluster`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = paths.cluster_directory(f"kind-{name}")

    @property
    def kubeconfig_path(self) -> Path:
        return self.directory / "kubeconfig"

    def exists(self) -> bool:
        return self.name in run([_kind(), "get", "clusters"]).split()

    def create(self, *, nodes: int = 1) -> None:
        if self.exists():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        workers = [
            {"role": "worker", "labels": {ZONE: f"zone-{number % ZONES + 1}"}}
            for number in range(nodes if nodes > 1 else 0)  # beside one that runs no pods
        ]
        config = {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "nodes": [{"role": "control-plane"}, *workers],
        }
        with step("kind create cluster"):
            command: list[object] = [
                _kind(),
                "create",
                "cluster",
                "--name",
                self.name,
                "--wait",
                "180s",
            ]
            command += ["--kubeconfig", self.kubeconfig_path, "--config", "-"]
            run(command, stdin=yaml.safe_dump(config))

    def delete(self) -> None:
        run([_kind(), "delete", "cluster", "--name", self.name])
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def load_image(self, archive: Path, reference: str) -> bool:
        """`archive` is what `docker save` wrote."""
        with tarfile.open(archive) as tar:
            manifest = tar.extractfile("manifest.json")
            assert manifest is not None
            config = json.load(manifest)[0]["Config"].removesuffix(".json").rpartition("/")[2]
        nodes = self._nodes()
        if all(config in self._ctr(node, "content", "ls", "-q") for node in nodes):
            return False
        run([_kind(), "load", "image-archive", str(archive), "--name", self.name])
        return True

    def nodes(self) -> list[str]:
        control_plane = f"{self.name}-control-plane"
        return [name for name in super().nodes() if name != control_plane] or [control_plane]

    def tag_image(self, reference: str, another: str) -> None:
        for node in self._nodes():
            self._ctr(node, "images", "tag", "--force", reference, another)

    @contextlib.contextmanager
    def power_cut(self, node: str) -> Iterator[None]:
        run(["docker", "kill", node])
        try:
            yield
        finally:
            run(["docker", "start", node])
            self.kubectl("wait", f"node/{node}", "--for=condition=Ready", "--timeout=120s")

    @contextlib.contextmanager
    def api_stopped(self) -> Iterator[None]:
        """Its kubelet stops what has no manifest any more."""
        node = f"{self.name}-control-plane"
        run(["docker", "exec", node, "mv", API_MANIFEST, API_MANIFEST_ASIDE])
        try:
            yield
        finally:
            run(["docker", "exec", node, "mv", API_MANIFEST_ASIDE, API_MANIFEST])
            eventually(self._answers, deadline_s=120, what="the API server")

    def _answers(self) -> bool:
        try:
            return self.kubectl("get", "--raw=/readyz", timeout_s=5) == "ok"
        except (CommandError, subprocess.TimeoutExpired):
            return False

    def kill(
        self,
        pod: str,
        signal: signal.Signals = signal.SIGKILL,
        *,
        hold: bool = False,
        namespace: str = "default",
    ) -> LoopHold | NoHold:
        found = self.signal(namespace, pod, signal)
        if hold:
            return LoopHold(self, namespace, pod)
        if not found:
            raise BedError(f"no container of the pod {namespace}/{pod} runs")
        return NoHold()

    def signal(self, namespace: str, pod: str, which: signal.Signals) -> bool:
        """Once, on every node; whether there was anything to signal."""
        nodes = [functools.partial(self._ctr, node) for node in self._nodes()]
        found = [containers.kill(ctr, namespace, pod, which) for ctr in nodes]
        return any(found)

    def _nodes(self) -> list[str]:
        return run([_kind(), "get", "nodes", "--name", self.name]).split()

    def _ctr(self, node: str, *args: str) -> str:
        return run(["docker", "exec", node, "ctr", "--namespace", "k8s.io", *args])


def _kind() -> str:
    """The kind program: the machine's, or built from its Go module into the cache."""
    found = shutil.which("kind")
    if found is not None:
        return found
    target = paths.cache() / "kind" / MODULE.rpartition("@")[2] / "kind"
    if not target.exists():
        with step("kind, from its Go module"), tempfile.TemporaryDirectory() as work:
            environment = {**os.environ, "GOBIN": work, "CGO_ENABLED": "0", "GOFLAGS": ""}
            run([binaries.go(), "install", MODULE], environment=environment, timeout_s=1800)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(work) / "kind", target)
    return str(target)
