"""The base image where there is no registry: a small Debian with Python, made by debootstrap.

It stands for `python:3.13-slim`, which a machine with Docker would use. It is kept in the test
bed's own buildah storage under a hash of this recipe, and made once.
"""

import os
import shutil
import tempfile
from pathlib import Path

from quorate_bed import paths
from quorate_bed.progress import step
from quorate_bed.shell import CommandError, run

SUITE = "trixie"  # brings Python 3.13
PACKAGES = ("python3", "python3-venv", "ca-certificates")
TRIMMED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "var/cache",
    "var/lib/apt/lists",
    "var/log",
)
RECIPE = 1  # raise it when the code below changes what comes out
MIRROR = "QUORATE_DEBIAN_MIRROR"


def image() -> str:
    """The name of the base image in our buildah storage; made when it is not there."""
    key = paths.hash_files([], paths.REPOSITORY, SUITE, *PACKAGES, *TRIMMED, str(RECIPE))
    name = f"localhost/quorate-base:{key}"
    try:
        buildah("inspect", "--type=image", name)
    except CommandError:
        with step(f"Base image: Debian {SUITE} with Python (once)"):
            _make(name)
    return name


def buildah(*words: str | Path) -> str:
    """Run buildah on a storage of our own in the cache."""
    storage = paths.cache() / "buildah"
    storage.mkdir(exist_ok=True)
    command: list[str | Path] = ["buildah", "--root", storage / "root"]
    command += ["--runroot", storage / "run", "--storage-driver=overlay"]
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot", "TMPDIR": str(storage)}
    return run([*command, *words], environment=environment, timeout_s=1800)


def _make(name: str) -> None:
    with tempfile.TemporaryDirectory(dir=paths.cache(), prefix="base-") as work:
        root = Path(work) / "root"
        mirror = [os.environ[MIRROR]] if MIRROR in os.environ else []
        include = f"--include={','.join(PACKAGES)}"
        run(["debootstrap", "--variant=minbase", include, SUITE, root, *mirror], timeout_s=1200)
        for trimmed in TRIMMED:
            shutil.rmtree(root / trimmed, ignore_errors=True)
            (root / trimmed).mkdir(parents=True)
        for device in (root / "dev").iterdir():
            if device.is_char_device():
                device.unlink()  # the runtime brings its own
        container = buildah("from", "scratch").strip()
        try:
            buildah("add", "-q", container, root, "/")
            buildah("config", "--cmd", "python3", container)
            buildah("commit", "-q", container, name)
        finally:
            buildah("rm", container)
