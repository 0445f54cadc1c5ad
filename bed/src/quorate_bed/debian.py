"""Debian packages, installed only when something is missing.

They are looked for by what they bring (a program or a file), so that a machine which has them from
elsewhere is left alone.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from quorate_bed import paths
from quorate_bed.progress import BedError, step
from quorate_bed.shell import run

SEARCH_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"

NETWORK = {
    "iproute2": "ip",
    "nftables": "nft",
    "iptables": "iptables",
    "util-linux": "nsenter",
}
CLUSTER = {
    **NETWORK,
    "containerd": "containerd",
    "runc": "runc",
    "conntrack": "conntrack",
    "containernetworking-plugins": "/usr/lib/cni/ptp|/opt/cni/bin/ptp",
    "mount": "losetup",
    "xfsprogs": "mkfs.xfs",
    "openssl": "openssl",
}
CHAOS = {**NETWORK, "mount": "mount", "e2fsprogs": "mkfs.ext4"}
IMAGES = {"buildah": "buildah", "debootstrap": "debootstrap"}
CLIENTS = {"kcat": "kcat"}
JAVA = {"maven": "mvn", "default-jdk-headless": "javac"}


def install(packages: Mapping[str, str]) -> None:
    """Install those whose program or file is missing; raises BedError where that cannot be done."""
    missing = [name for name, program in packages.items() if not _there(program)]
    if not missing:
        return
    command = f"apt-get install {' '.join(missing)}"
    if shutil.which("apt-get") is None:
        raise BedError(f"missing: {', '.join(missing)} (Debian's names); please install them")
    if os.geteuid() != 0:
        raise BedError(f"missing: {', '.join(missing)}; as root: {command}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"Debian packages: {', '.join(missing)}"):
        run(["apt-get", "update", "-q"], environment=environment)
        run(
            ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing],
            environment=environment,
        )


def unpacked(package: str, program: str) -> Path:
    """A program of a package that is fetched and unpacked in the cache, not installed: installed,
    it would start a service of its own, which nobody asked for."""
    found = shutil.which(Path(program).name, path=SEARCH_PATH)
    if found is not None:
        return Path(found)
    directory = paths.cache() / "debian" / package
    if not (directory / program).exists():
        if shutil.which("apt-get") is None:
            raise BedError(f"missing: {Path(program).name}, of {package} (Debian's name)")
        directory.parent.mkdir(parents=True, exist_ok=True)
        name = Path(program).name
        fresh = tempfile.TemporaryDirectory(dir=directory.parent)
        with step(f"{name}, out of the Debian package {package}"), fresh as made:
            run(["apt-get", "update", "-q"])
            run(["apt-get", "download", "-q", package], directory=Path(made))
            run(["dpkg-deb", "-x", *Path(made).glob("*.deb"), Path(made) / "whole"])
            (Path(made) / "whole").rename(directory)
    return directory / program


def _there(program: str) -> bool:
    return any(
        Path(one).exists() if one.startswith("/") else shutil.which(one, path=SEARCH_PATH)
        for one in program.split("|")
    )
