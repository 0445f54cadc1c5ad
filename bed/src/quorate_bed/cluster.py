"""The one interface to a Kubernetes cluster, whoever provides it.

Tests, demo and make targets speak to `Cluster` only. `connect` chooses the provider: kind where a
Docker engine answers, the local one (`local/provider.py`) otherwise; `QUORATE_PROVIDER` overrides.
The shape is pytest-kind's `KindCluster` with what a test needs to break things: `kill` works from
the node's side, since the first process of a pod ignores signals from inside and a deletion is only
a SIGTERM; its `hold` keeps the pod dead, since the kubelet would restart it at once; `power_cut`
and `api_stopped` take away a node or the API server for a while.
"""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

from quorate_bed.progress import BedError

DEFAULT_NAME = os.environ.get("QUORATE_CLUSTER", "quorate")


class Hold(Protocol):
    """A pod that is kept dead. Also a context manager that lets go at its end."""

    def release(self) -> None: ...

    def __enter__(self) -> "Hold": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Cluster(Protocol):
    """A Kubernetes cluster of one name. All paths are of this machine."""

    name: str

    @property
    def kubeconfig_path(self) -> Path: ...

    def exists(self) -> bool:
        """Whether it runs and answers."""
        ...

    def create(self, *, nodes: int = 1) -> None:
        """Bring it up; a running one is kept as it is, the rest of a dead one is removed first."""
        ...

    def delete(self) -> None:
        """Remove everything that `create` made, and nothing else."""
        ...

    def load_image(self, archive: Path, reference: str) -> bool:
        """Put an image in every node. False when that very image was there already."""
        ...

    def kubectl(self, *args: str, stdin: str | None = None, timeout_s: float = 120) -> str:
        """What kubectl printed; raises CommandError."""
        ...

    def helm(self, *args: str, timeout_s: float = 300) -> str:
        """What helm printed; raises CommandError."""
        ...

    def nodes(self) -> list[str]:
        """The nodes' names, in order."""
        ...

    def port_forward(
        self, target: str, port: int, *, namespace: str
    ) -> contextlib.AbstractContextManager[int]:
        """A port on 127.0.0.1 that leads to `target` ("pod/x", "service/y") while it is open."""
        ...

    def kill(
        self,
        pod: str,
        signal: signal.Signals = signal.SIGKILL,
        *,
        hold: bool = False,
        namespace: str = "default",
    ) -> Hold:
        """Signal the first process of every container of the pod, as the kernel would.

        With `hold` no container of a pod of that name runs again until the hold is released, even
        when the pod is deleted and made anew.
        """
        ...

    def tag_image(self, reference: str, another: str) -> None:
        """Give an image that every node has a second name there."""
        ...

    def power_cut(self, node: str) -> contextlib.AbstractContextManager[None]:
        """Kubelet, runtime and all processes of the pods of a node are gone while it is open.

        To all others the node is silent. It is Ready again afterwards.
        """
        ...

    def api_stopped(self) -> contextlib.AbstractContextManager[None]:
        """No API server runs while it is open; it answers again afterwards."""
        ...


@functools.cache
def docker_answers() -> bool:
    """Whether a Docker engine answers (a client alone is not enough)."""
    if shutil.which("docker") is None:
        return False
    try:
        command = ["docker", "version", "--format", "{{.Server.Version}}"]
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def provider_name() -> str:
    """ "kind" or "local"; raises BedError where neither is possible, saying what is missing."""
    chosen = os.environ.get("QUORATE_PROVIDER")
    if chosen not in (None, "", "kind", "local"):
        raise BedError(f"QUORATE_PROVIDER is {chosen!r}; it can be kind or local")
    if chosen != "local" and docker_answers():
        return "kind"
    if chosen == "kind":
        raise BedError("QUORATE_PROVIDER is kind, but no Docker engine answers")
    if os.geteuid() != 0:
        raise BedError(
            "a cluster needs either a Docker engine (none answers here) or root (this is user id "
            f"{os.geteuid()}): start Docker, or run the same command with sudo"
        )
    return "local"


def connect(name: str = DEFAULT_NAME) -> Cluster:
    """The cluster of that name, from the provider that this machine can have. Creates nothing."""
    if provider_name() == "kind":
        from quorate_bed.kind import KindCluster

        return KindCluster(name)
    from quorate_bed.local.provider import LocalCluster

    return LocalCluster(name)


@contextlib.contextmanager
def borrowed(name: str = DEFAULT_NAME, *, nodes: int = 1) -> Iterator[Cluster]:
    """A running cluster for tests: one that ran before is kept, one that was made is removed.

    QUORATE_KEEP_CLUSTER keeps that one too, which saves the next run its creation. One that ran
    before may have another number of nodes.
    """
    cluster = connect(name)
    kept = cluster.exists() or bool(os.environ.get("QUORATE_KEEP_CLUSTER"))
    cluster.create(nodes=nodes)
    try:
        yield cluster
    finally:
        if not kept:
            cluster.delete()
